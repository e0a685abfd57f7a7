//! What the gateway decides against, made ready once per revision.

use std::collections::HashMap;
use std::sync::Arc;

use aims_crypto::PublicKey;
use aims_decision::{ChainKeys, CutOffs};
use aims_jose::{Jwk, KeySource};
use aims_json::Limits;
use aims_links::ControlState;
use aims_model::{
    Approval, EnrolledKey, KeyOwner, KeyPurpose, PolicyVersion, ServerSpec, ToolPin, ToolServer,
    Upstream,
};
use aims_policy::PolicySet;
use aims_proof::Tools;
use aims_types::{self as types, Digest, Id, Name, Person, Revision, Timestamp};

/// One consistent state at one revision.
pub(crate) struct State {
    pub(crate) revision: Revision,
    pub(crate) issuer: String,
    pub(crate) policy: Arc<PolicyVersion>,
    pub(crate) policies: PolicySet,
    /// Digest of the tools that they were compiled against.
    pub(crate) tools: Digest,
    pub(crate) cutoffs: CutOffs,
    /// The approvals that were given and not used, by what they answer.
    approvals: HashMap<Digest, Vec<Approval>>,
    servers: HashMap<Name, RegisteredServer>,
    upstreams: HashMap<Name, Arc<Upstream>>,
    keys: Keys,
    /// What the policies were compiled from.
    source: Arc<Vec<ToolServer>>,
}

/// A registered tool server with its pins by name.
pub(crate) struct RegisteredServer {
    pub(crate) spec: ServerSpec,
    pins: HashMap<String, ToolPin>,
}

/// The keys whose signatures count, by purpose.
#[derive(Default)]
pub(crate) struct Keys(HashMap<(&'static str, String), Vec<ParsedKey>>);

struct ParsedKey {
    key: PublicKey,
    owner: KeyOwner,
    enrolled_at: Timestamp,
    retired_at: Option<Timestamp>,
}

/// The token keys that count at one instant. A retired one counts no more, whatever it signed.
pub(crate) struct TokenKeys<'a> {
    keys: &'a Keys,
    now: Timestamp,
}

impl State {
    /// Makes a state ready; `before` lends its compiled policies if nothing about them changed.
    pub(crate) fn compile(control: &ControlState, before: Option<&Self>) -> Result<Self, String> {
        let unchanged = before.filter(|state| {
            state.policy.digest == control.policy.digest
                && state.policy.text == control.policy.text
                && *state.source == *control.servers
        });
        let (policies, tools) = if let Some(state) = unchanged {
            (state.policies.clone(), state.tools)
        } else {
            let tools = Tools::of(&control.servers);
            let policies = tools.compile(&control.policy.text);
            (
                policies.map_err(|error| error.to_string())?,
                tools.digest().map_err(|error| error.to_string())?,
            )
        };
        let mut servers = HashMap::new();
        for server in control.servers.iter() {
            let pins = server
                .tools
                .iter()
                .map(|pin| (pin.name.clone(), pin.clone()))
                .collect();
            let registered = RegisteredServer {
                spec: server.spec.clone(),
                pins,
            };
            servers.insert(server.name.clone(), registered);
        }
        let upstreams = control.upstreams.iter();
        let upstreams = upstreams.map(|one| (one.name.clone(), Arc::new(one.clone())));
        let mut approvals: HashMap<Digest, Vec<Approval>> = HashMap::new();
        for approval in control.approvals.iter() {
            let same = approvals.entry(approval.digest).or_default();
            same.push(approval.clone());
        }
        Ok(Self {
            revision: control.revision,
            approvals,
            issuer: control.issuer.clone(),
            policy: Arc::clone(&control.policy),
            policies,
            tools,
            cutoffs: CutOffs::new(control.cutoffs.iter()),
            servers,
            upstreams: upstreams.collect(),
            keys: Keys::parse(&control.keys)?,
            source: Arc::clone(&control.servers),
        })
    }

    /// The registered server with this name.
    pub(crate) fn server(&self, name: &Name) -> Option<&RegisteredServer> {
        self.servers.get(name)
    }

    /// The upstream with this name.
    pub(crate) fn upstream(&self, name: &Name) -> Option<&Arc<Upstream>> {
        self.upstreams.get(name)
    }

    /// Whether this version of the upstream's credential is in force.
    pub(crate) fn is_current(&self, (id, version): (Id<types::Upstream>, u32)) -> bool {
        let is_it = |one: &Arc<Upstream>| one.id == id && one.version == version;
        self.upstreams.values().any(is_it)
    }

    /// The approvals that are said to answer the question with this digest.
    pub(crate) fn approvals(&self, digest: &Digest) -> &[Approval] {
        self.approvals.get(digest).map_or(&[], Vec::as_slice)
    }

    /// The keys that may sign access tokens at `now`.
    pub(crate) const fn token_keys(&self, now: Timestamp) -> TokenKeys<'_> {
        TokenKeys {
            keys: &self.keys,
            now,
        }
    }

    /// The keys that may sign grants and consents.
    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }
}

impl RegisteredServer {
    /// The pin of a tool.
    pub(crate) fn pin(&self, tool: &str) -> Option<&ToolPin> {
        self.pins.get(tool)
    }

    /// The names of all pinned tools.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &str> {
        self.pins.keys().map(String::as_str)
    }
}

impl Keys {
    fn parse(enrolled: &[EnrolledKey]) -> Result<Self, String> {
        let mut keys = Self::default();
        for key in enrolled {
            let unreadable = |why: String| format!("key `{}` can't be read: {why}", key.kid);
            let value = aims_json::parse(key.jwk.as_bytes(), &Limits::TOKEN)
                .map_err(|error| unreadable(error.to_string()))?;
            let jwk = Jwk::parse(&value).map_err(|error| unreadable(error.to_string()))?;
            if jwk.thumbprint().to_string() != key.kid {
                return Err(unreadable("its thumbprint is another".to_owned()));
            }
            let parsed = ParsedKey {
                key: *jwk.key(),
                owner: key.owner,
                enrolled_at: key.enrolled_at,
                retired_at: key.retired_at,
            };
            keys.0
                .entry((key.purpose.as_str(), key.kid.clone()))
                .or_default()
                .push(parsed);
        }
        Ok(keys)
    }

    fn find(
        &self,
        purpose: KeyPurpose,
        kid: &str,
        at: Timestamp,
        owner: impl Fn(&KeyOwner) -> bool,
    ) -> Option<PublicKey> {
        let keys = self.0.get(&(purpose.as_str(), kid.to_owned()))?;
        let good = |key: &&ParsedKey| {
            let enrolled = key.enrolled_at <= at.plus(aims_decision::CLOCK_SKEW_MAX);
            enrolled && key.retired_at.is_none_or(|end| at < end) && owner(&key.owner)
        };
        keys.iter().find(good).map(|key| key.key)
    }
}

impl ChainKeys for Keys {
    fn grant_key(&self, kid: &str, at: Timestamp) -> Option<PublicKey> {
        self.find(KeyPurpose::Grant, kid, at, |owner| {
            *owner == KeyOwner::Server
        })
    }

    fn person_key(&self, person: Id<Person>, kid: &str, at: Timestamp) -> Option<PublicKey> {
        self.find(KeyPurpose::Person, kid, at, |owner| {
            *owner == KeyOwner::Person(person)
        })
    }

    fn token_key(&self, kid: &str, at: Timestamp) -> Option<PublicKey> {
        self.find(KeyPurpose::Token, kid, at, |owner| {
            *owner == KeyOwner::Server
        })
    }
}

impl KeySource for TokenKeys<'_> {
    fn key(&self, kid: &str) -> Option<PublicKey> {
        self.keys.token_key(kid, self.now)
    }
}
