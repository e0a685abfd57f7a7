//! What the records of one permit say of each other, beyond what each claims on its own.

use aims_crypto::PublicKey;
use aims_decision::{CLOCK_SKEW_MAX, ChainKeys};
use aims_jose::{Jwk, Thumbprint};
use aims_json::{Limits, Object, Value};
use aims_model::grant::{Delegator, Grant};
use aims_model::{EventKind, Expected, KeyPurpose, Posture};
use aims_types::{Id, Person, Timestamp};

use crate::file::Included;
use crate::part::Part;
use crate::select::Selected;

/// Two records that have to agree and don't.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactError {
    /// A member is missing or malformed.
    #[error("`{member}` of a `{kind}` is missing or malformed")]
    Member {
        /// Of which kind of record.
        kind: EventKind,
        /// Which.
        member: &'static str,
    },
    /// Something is recorded after what rests on it.
    #[error("the `{0}` is recorded after what rests on it")]
    Order(EventKind),
    /// What was seen of an instance is not what was registered.
    #[error("the evidence of instance `{instance}` is not as registered: {gap}")]
    Evidence {
        /// The instance.
        instance: String,
        /// The first difference.
        gap: String,
    },
    /// Something of the permit does not hold.
    #[error("the permit does not hold: {0}")]
    Permit(&'static str),
    /// Something of an instance does not hold.
    #[error("the attestation does not hold: {0}")]
    Attestation(&'static str),
    /// Something of the token does not hold.
    #[error("the token does not hold: {0}")]
    Token(&'static str),
}

/// The records of a proof, and what each is there for.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) records: &'a [Included],
    pub(crate) selected: &'a Selected,
}

/// The keys that the records enrol.
pub(crate) struct Enrolled<'a>(&'a [Included]);

impl<'a> Facts<'a> {
    pub(crate) fn part(&self, place: usize) -> Result<Part<'a>, FactError> {
        let record = self.record(place)?;
        Ok(Part {
            kind: record.record.event.kind,
            members: &record.record.event.body,
        })
    }

    pub(crate) fn record(&self, place: usize) -> Result<&'a Included, FactError> {
        let missing = FactError::Permit("a record is missing");
        self.records.get(place).ok_or(missing)
    }

    pub(crate) fn intent(&self) -> Result<Part<'a>, FactError> {
        self.part(self.selected.intent)
    }

    /// The trust domain's name.
    pub(crate) fn domain(&self) -> Result<&'a str, FactError> {
        self.part(self.selected.domain)?.text("trust_domain")
    }

    pub(crate) fn keys(&self) -> Enrolled<'a> {
        Enrolled(self.records)
    }

    /// Checks everything that two records have to agree in, as it was `at` the decision.
    pub(crate) fn check(&self, at: Timestamp) -> Result<(), FactError> {
        self.in_order()?;
        self.permitted()?;
        self.agents()?;
        self.instances()?;
        self.token(at)?;
        self.policy()?;
        self.tool()?;
        self.tree()?;
        self.revisions(at)
    }

    /// What a permit rests on comes before it in the log, its outcome after it; who acts is
    /// registered before anything is handed to them.
    fn in_order(&self) -> Result<(), FactError> {
        let selected = self.selected;
        for (place, included) in self.records.iter().enumerate() {
            let kind = included.record.event.kind;
            let after = place > selected.intent;
            if after != (Some(place) == selected.outcome) {
                return Err(FactError::Order(kind));
            }
        }
        let hops = selected.hops.iter().map(|(place, _)| place);
        match hops.zip(&selected.agents).find(|(hop, agent)| agent > hop) {
            Some(_) => Err(FactError::Order(EventKind::AgentRegistered)),
            None => Ok(()),
        }
    }

    /// The record says of itself that everybody permits it.
    fn permitted(&self) -> Result<(), FactError> {
        let intent = self.intent()?;
        let says = |name: &'static str, member: &'static str, wanted: Option<Value>| {
            let items = intent.array(name)?;
            let good = |item: &Value| match &wanted {
                Some(value) => item.get(member) == Some(value),
                None => item.get(member).is_some(),
            };
            Ok::<_, FactError>((items.len(), items.iter().all(good)))
        };
        let (principals, permit) = says("principals", "decision", Some("permit".into()))?;
        let (hops, allowed) = says("authority", "detail", None)?;
        let (_, met) = says("requirements", "met", Some(true.into()))?;
        let reserved = intent.array("reserved")?;
        let charged = reserved.iter().map(|hop| hop.get("delegation"));
        let ids = || self.hops().map(|grant| Value::from(grant.id.to_string()));
        let agents: Vec<Value> = self.hops().map(agent).collect();
        let person = self.hops().next().and_then(|root| match &root.delegator {
            Delegator::Person { name, .. } => Some(name.as_str()),
            Delegator::Agent { .. } => None,
        });
        let named = intent.part("subject")?.text("name")?;
        let checks = [
            (intent.text("decision")? == "permit", "it is no permit"),
            (
                person == Some(named),
                "it names its person otherwise than the chain does",
            ),
            (principals > 1 && permit, "a principal is not permitted"),
            (
                hops == self.selected.hops.len() && allowed,
                "a hop does not allow it",
            ),
            (met, "a requirement is not met"),
            (
                charged.eq(ids().collect::<Vec<_>>().iter().map(Some)),
                "a hop is not charged",
            ),
            (
                intent.array("agents")? == agents.as_slice(),
                "its agents are not the chain's",
            ),
        ];
        first_false(&checks).map_err(FactError::Permit)
    }

    /// Each delegate is registered under the identifier that its grant names.
    fn agents(&self) -> Result<(), FactError> {
        for ((_, grant), place) in self.selected.hops.iter().zip(&self.selected.agents) {
            let registered = self.part(*place)?;
            if registered.text("spiffe_id")? != grant.delegate_spiffe_id.as_str() {
                return Err(FactError::Permit("an agent is registered as another"));
            }
        }
        Ok(())
    }

    /// Each instance was seen as its agent is registered, and got its identity after all checks.
    fn instances(&self) -> Result<(), FactError> {
        let last = self.selected.hops.len().saturating_sub(1);
        let acting = (self.selected.acting, last);
        let above = self.selected.delegating.iter().copied().zip(0..);
        for (place, hop) in above.chain([acting]) {
            let agent = self.selected.agents.get(hop);
            let agent = self.part(*agent.ok_or(FactError::Attestation("no agent"))?)?;
            as_registered(self.part(place)?, agent)?;
        }
        Ok(())
    }

    /// The token was issued for this chain, to the key of the instance, and had not expired.
    fn token(&self, at: Timestamp) -> Result<(), FactError> {
        let (token, intent) = (self.part(self.selected.token)?, self.intent()?);
        let attested = self.part(self.selected.acting)?;
        let posture: Posture = attested.read("posture")?;
        let said = intent.part("posture")?.text("assurance")?;
        let checks = [
            (
                token.array("chain")? == intent.array("chain")?,
                "it is for another chain",
            ),
            (
                token.text("agent")? == intent.text("agent")?,
                "it is for another agent",
            ),
            (
                token.text("subject")? == intent.part("subject")?.text("id")?,
                "it speaks for another person",
            ),
            (
                token.number("revision")? == intent.number("minted")?,
                "it was minted at another revision",
            ),
            (
                token.text("jkt")? == attested.text("jkt")?,
                "it is bound to another key",
            ),
            (
                token.text("node")? == attested.text("node")?,
                "another node asked for it",
            ),
            (
                at < Timestamp::from_unix_millis(token.number("expires_at")?).plus(CLOCK_SKEW_MAX),
                "it had expired",
            ),
            (
                posture.assurance.as_str() == said,
                "the posture is another than attested",
            ),
        ];
        first_false(&checks).map_err(FactError::Token)
    }

    /// The policy version is the one that was activated under this id.
    fn policy(&self) -> Result<(), FactError> {
        let activated = self.part(self.selected.policy)?;
        let named = self.intent()?.part("policy")?.text("digest")?;
        let same = activated.text("digest")? == named;
        first_false(&[(same, "its policy is not the one activated")]).map_err(FactError::Permit)
    }

    /// The tool is the one that was pinned when its server was registered.
    fn tool(&self) -> Result<(), FactError> {
        let Some(place) = self.selected.server else {
            return Ok(());
        };
        let resource = self.intent()?.part("resource")?;
        let (tool, pin) = (resource.text("tool")?, resource.text("pin")?);
        let text = |item: &'a Value, name| item.get(name).and_then(Value::as_str);
        let mut pinned = self.part(place)?.array("tools")?.iter();
        let same = pinned
            .any(|item| text(item, "name") == Some(tool) && text(item, "digest") == Some(pin));
        first_false(&[(same, "the tool is not as it was pinned")]).map_err(FactError::Permit)
    }

    /// The gateway owned the task's tree then.
    fn tree(&self) -> Result<(), FactError> {
        let owned = self.part(self.selected.tree)?;
        let intent = self.record(self.selected.intent)?;
        let same = owned.text("gateway")? == intent.record.source.to_string();
        let held = owned.value("released")?.as_bool() == Some(false);
        first_false(&[(same && held, "its gateway did not own the task")])
            .map_err(FactError::Permit)
    }

    /// Nothing was minted after what rests on it, and every grant was valid.
    fn revisions(&self, at: Timestamp) -> Result<(), FactError> {
        let intent = self.intent()?;
        let (minted, decided) = (intent.number("minted")?, intent.number("revision")?);
        let attested = self.part(self.selected.acting)?.number("revision")?;
        let before = self.hops().all(|grant| grant.revision.number() <= attested);
        let late = at.plus(CLOCK_SKEW_MAX);
        let valid = self
            .hops()
            .all(|grant| grant.issued_at <= late && at < grant.expires_at.plus(CLOCK_SKEW_MAX));
        let checks = [
            (
                before && attested <= minted && minted <= decided,
                "its revisions contradict each other",
            ),
            (valid, "a grant of its chain was not valid then"),
        ];
        first_false(&checks).map_err(FactError::Permit)
    }

    pub(crate) fn hops(&self) -> impl Iterator<Item = &'a Grant> + use<'a> {
        self.selected.hops.iter().map(|(_, grant)| grant)
    }
}

impl Enrolled<'_> {
    fn find(
        &self,
        kid: &str,
        (purpose, owner): (KeyPurpose, &str),
        at: Timestamp,
    ) -> Option<PublicKey> {
        let named = self.0.iter().find(|included| {
            let event = &included.record.event;
            let text = |name| event.body.get(name).and_then(Value::as_str);
            event.kind == EventKind::KeyEnrolled
                && event.at <= at.plus(CLOCK_SKEW_MAX)
                && text("kid") == Some(kid)
                && text("purpose") == Some(purpose.as_str())
                && text("owner") == Some(owner)
        })?;
        key_of(named.record.event.body.get("jwk")?.as_str()?)
    }
}

/// A file can't show that a key was never retired; it shows that it was enrolled before.
impl ChainKeys for Enrolled<'_> {
    fn grant_key(&self, kid: &str, at: Timestamp) -> Option<PublicKey> {
        self.find(kid, (KeyPurpose::Grant, "server"), at)
    }

    fn person_key(&self, person: Id<Person>, kid: &str, at: Timestamp) -> Option<PublicKey> {
        self.find(kid, (KeyPurpose::Person, &person.to_string()), at)
    }

    fn token_key(&self, kid: &str, at: Timestamp) -> Option<PublicKey> {
        self.find(kid, (KeyPurpose::Token, "server"), at)
    }
}

/// The instance was seen as its agent is registered, and passed every check of the server.
fn as_registered(attested: Part<'_>, agent: Part<'_>) -> Result<(), FactError> {
    let posture: Posture = attested.read("posture")?;
    let expected: Expected = agent.read("evidence")?;
    if let Some(gap) = expected.gaps(&posture.evidence).first() {
        return Err(FactError::Evidence {
            instance: attested.text("instance")?.to_owned(),
            gap: gap.to_string(),
        });
    }
    let ok = |name| Ok::<_, FactError>(attested.part(name)?.text("result")? == "ok");
    let key = key_of(attested.text("jwk")?).ok_or_else(|| attested.member("jwk"))?;
    let checks = [
        (
            ok("attestation")? && ok("environment")? && ok("policy")?,
            "a check of the server failed",
        ),
        (
            posture.assurance.as_str() == agent.text("assurance")?,
            "its assurance is not as registered",
        ),
        (posture.host_uid != 0, "the program runs as root"),
        (
            attested.text("agent")? == agent.text("spiffe_id")?,
            "it is of another agent",
        ),
        (
            attested.text("jkt")? == Thumbprint::of(&key).to_string(),
            "its key is not the one it names",
        ),
    ];
    first_false(&checks).map_err(FactError::Attestation)
}

/// One agent of the chain as the record of a decision writes it.
fn agent(grant: &Grant) -> Value {
    let from = match &grant.delegator {
        Delegator::Person { .. } => Value::Null,
        Delegator::Agent { instance, .. } => Value::from(instance.to_string()),
    };
    let agent = Object::new()
        .with("delegation", grant.id.to_string())
        .with("agent", grant.delegate_spiffe_id.as_str());
    Value::from(agent.with("from", from))
}

fn key_of(jwk: &str) -> Option<PublicKey> {
    let value = aims_json::parse(jwk.as_bytes(), &Limits::TOKEN).ok()?;
    Some(*Jwk::parse(&value).ok()?.key())
}

fn first_false(checks: &[(bool, &'static str)]) -> Result<(), &'static str> {
    match checks.iter().find(|(holds, _)| !holds) {
        Some((_, wrong)) => Err(wrong),
        None => Ok(()),
    }
}
