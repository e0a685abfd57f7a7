//! Who calls: token, proof of its key, and the chain behind it. The node is not believed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aims_authority::{Authority, Call, Detail, Limits as AuthorityLimits, Refusal, allows};
use aims_crypto::{base64url, sha256};
use aims_decision::{ChainError, Presented as PresentedChain, VerifiedChain, verify_chain};
use aims_jose::KeySource;
use aims_json::{Limits, Value};
use aims_links::{Control, LinkError, PrincipalFacts};
use aims_model::grant::Delegator;
use aims_model::{Assurance, MaterialKey, Subject};
use aims_oauth::{
    AccessToken, HttpUri, InstanceToken, PresentationError, Presented, ReplayCache, TokenExpect,
    authenticate,
};
use aims_policy::AgentFacts;
use aims_types::{Digest, Id, Name, Person, Revision, Timestamp, TrustDomain};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::state::State;
use crate::trees::Tree;

/// An authenticated caller with its verified chain.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) token: InstanceToken,
    pub(crate) person: Id<Person>,
    /// Digest of the token's text; the token itself is kept nowhere.
    pub(crate) token_digest: Digest,
    /// How strongly evidence binds the instance to its identity, as the server says.
    pub(crate) assurance: Assurance,
    /// The part of its grant's authority that the token carries, if that is not the whole.
    pub(crate) part: Option<Arc<Authority>>,
    /// Thumbprint of the key that signed the token.
    signer: String,
    pub(crate) chain: Arc<ResolvedChain>,
    /// What the credential was issued under.
    pub(crate) subjects: Arc<[Subject]>,
    /// What is used of the task's tree. At first that of nobody, under which nothing can begin.
    pub(crate) tree: Arc<Tree>,
}

/// A verified chain with the facts about its agents.
#[derive(Debug)]
pub(crate) struct ResolvedChain {
    pub(crate) verified: VerifiedChain,
    pub(crate) agents: Vec<PrincipalFacts>,
    /// The authority of the last grant, as a token carries it.
    whole: Value,
    /// Seals what decisions under it use.
    pub(crate) materials: MaterialKey,
    revision: Revision,
}

/// Why a caller is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthnError {
    /// Token or proof are missing or refused.
    #[error(transparent)]
    Presentation(#[from] PresentationError),
    /// A header is not text.
    #[error("the header `{0}` is malformed")]
    Header(&'static str),
    /// The token ended while something waited.
    #[error("the token is not valid any more: get a new one and make the call again")]
    Expired,
    /// The token is a person's: it administers, it does not act.
    #[error("the token is not an instance's")]
    NotAnInstance,
    /// Something it was issued under is cut off.
    #[error("the credential is cut off: {}", aims_decision::describe(.0))]
    CutOff(Subject),
    /// The chain does not hold.
    #[error("the delegation chain does not hold: {0}")]
    Chain(#[from] ChainError),
    /// There is no such chain, or it is not the token's.
    #[error("the delegation chain is not known: {0}")]
    NoChain(&'static str),
    /// The server could not be asked. Why is nothing that an agent is told.
    #[error("the {} did not answer; try again", .0.peer)]
    Link(#[from] LinkError),
}

/// Verified chains, by their hash, for one revision of the state.
pub(crate) struct Chains {
    capacity: usize,
    by_hash: Mutex<HashMap<Digest, Arc<ResolvedChain>>>,
}

/// What checks callers.
pub(crate) struct Authn {
    pub(crate) resource: String,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) chains: Chains,
    pub(crate) replays: Mutex<ReplayCache>,
}

impl Authn {
    /// Checks token and proof as a stranger's, cut-offs, and the chain.
    pub(crate) async fn caller(
        &self,
        headers: &HeaderMap,
        target: (&str, &HttpUri),
        state: &State,
        control: &dyn Control,
        now: Timestamp,
    ) -> Result<Caller, AuthnError> {
        let authorization = values(headers, AUTHORIZATION.as_str())?;
        let (token, token_digest, signer) =
            self.token(headers, &authorization, target, state, now)?;
        self.standing((token, token_digest, signer), state, control, now)
            .await
    }

    /// Checks a caller anew who was believed a while ago, against the state in force now.
    pub(crate) async fn again(
        &self,
        caller: &Caller,
        state: &State,
        control: &dyn Control,
        now: Timestamp,
    ) -> Result<Caller, AuthnError> {
        let known = state.token_keys(now).key(&caller.signer).is_some();
        if now >= caller.token.common.expires_at || !known {
            return Err(AuthnError::Expired);
        }
        let Caller {
            token,
            token_digest,
            signer,
            ..
        } = caller.clone();
        let again = self
            .standing((token, token_digest, signer), state, control, now)
            .await?;
        Ok(again.under(Arc::clone(&caller.tree)))
    }

    /// What a verified token stands on: nothing of it is cut off, and its chain holds.
    async fn standing(
        &self,
        (token, token_digest, signer): (InstanceToken, Digest, String),
        state: &State,
        control: &dyn Control,
        now: Timestamp,
    ) -> Result<Caller, AuthnError> {
        let unknown = |_| AuthnError::NoChain("the token's assurance is not known here");
        let assurance = token.assurance.parse().map_err(unknown)?;
        let mut subjects = subjects(&token, signer.clone())?;
        find_cut(state, &subjects, token.revision)?;
        let chain = self.chain(&token, state, control, now).await?;
        let part = chain.part(&token)?;
        for hop in chain.verified.hops() {
            subjects.push(Subject::Delegation(hop.grant().id));
            subjects.push(Subject::Agent(hop.grant().delegate));
        }
        let instances = chain.verified.instances().iter().copied();
        subjects.extend(instances.map(Subject::Instance));
        subjects.extend(chain.verified.keys().iter().cloned().map(Subject::Key));
        subjects.push(Subject::Policy(state.policy.id));
        let caller = Caller {
            person: chain.verified.person(),
            token,
            token_digest,
            assurance,
            part,
            signer,
            chain,
            subjects: Arc::from(subjects),
            tree: Arc::default(),
        };
        caller.check_cut_offs(state)?;
        Ok(caller)
    }

    fn token(
        &self,
        headers: &HeaderMap,
        authorization: &[&str],
        (method, uri): (&str, &HttpUri),
        state: &State,
        now: Timestamp,
    ) -> Result<(InstanceToken, Digest, String), AuthnError> {
        let dpop = values(headers, "dpop")?;
        let presented = Presented {
            authorization,
            dpop: &dpop,
            method,
            uri,
        };
        let expect = TokenExpect {
            issuer: &state.issuer,
            audience: &self.resource,
            now,
        };
        let good = authenticate(&presented, &state.token_keys(now), &expect, &self.replays)?;
        let AccessToken::Instance(token) = good.token() else {
            return Err(AuthnError::NotAnInstance);
        };
        let text = authorization
            .first()
            .and_then(|value| value.split_once(' '));
        let text = text.map_or("", |(_, text)| text.trim_matches(' '));
        Ok((token.clone(), sha256(text.as_bytes()), kid(text)))
    }

    async fn chain(
        &self,
        token: &InstanceToken,
        state: &State,
        control: &dyn Control,
        now: Timestamp,
    ) -> Result<Arc<ResolvedChain>, AuthnError> {
        let claimed = token.chain.grants();
        let hash = token.chain.commitment();
        let chain = match self.chains.get(hash, state.revision) {
            Some(chain) => chain,
            None => {
                self.resolve(token, claimed, hash, (state, control, now))
                    .await?
            }
        };
        let verified = &chain.verified;
        verified.check_time(now)?;
        let leaf = verified.leaf().map(aims_decision::Hop::grant);
        let actor = token.act.as_ref().map(|act| act.current().sub.as_str());
        let agent = leaf.map(|grant| grant.delegate_spiffe_id.as_str());
        if verified.person().to_string() != token.subject
            || leaf.map(|grant| grant.task) != Some(token.task)
            || actor != agent
            || agent != Some(token.common.client_id.as_str())
        {
            return Err(AuthnError::NoChain("the token speaks for somebody else"));
        }
        Ok(chain)
    }

    async fn resolve(
        &self,
        token: &InstanceToken,
        claimed: &[Digest],
        hash: Digest,
        (state, control, now): (&State, &dyn Control, Timestamp),
    ) -> Result<Arc<ResolvedChain>, AuthnError> {
        let leaf = claimed
            .last()
            .ok_or(AuthnError::NoChain("the token names none"))?;
        let found = control.chain(*leaf).await?;
        let found = found.ok_or(AuthnError::NoChain("its leaf was never granted"))?;
        let grants: Vec<String> = found.hops.iter().map(|hop| hop.jws.clone()).collect();
        let presented = PresentedChain {
            grants: &grants,
            claimed,
            claimed_hash: hash,
            task: token.task,
            person: found.person.id,
            trust_domain: &self.trust_domain,
        };
        let verified = verify_chain(&presented, state.keys(), now)?;
        let agents: Vec<_> = found.hops.into_iter().map(|hop| hop.delegate).collect();
        let same = verified.hops().iter().zip(&agents).all(|(hop, facts)| {
            let grant = hop.grant();
            grant.delegate == facts.id && grant.delegate_spiffe_id == facts.spiffe_id
        });
        if !same || found.person.name != *verified.person_name() {
            return Err(AuthnError::NoChain("the facts are about somebody else"));
        }
        if found.person.removed_at.is_some_and(|at| at <= now) {
            return Err(AuthnError::CutOff(Subject::Person(found.person.id)));
        }
        let leaf = verified.leaf().map(aims_decision::Hop::grant);
        let whole = leaf.map_or(&[][..], |grant| grant.authority.details());
        let chain = Arc::new(ResolvedChain {
            whole: Value::Array(whole.iter().map(Detail::to_value).collect()),
            verified,
            agents,
            materials: found.materials,
            revision: state.revision,
        });
        self.chains.put(hash, Arc::clone(&chain));
        Ok(chain)
    }
}

impl Chains {
    /// At most `capacity` chains.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            by_hash: Mutex::default(),
        }
    }

    /// A chain that was verified against this very revision.
    fn get(&self, hash: Digest, revision: Revision) -> Option<Arc<ResolvedChain>> {
        let chains = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        chains
            .get(&hash)
            .filter(|chain| chain.revision == revision)
            .cloned()
    }

    /// Forgets all of them, with the keys of tasks that ended.
    pub(crate) fn forget(&self) {
        let mut chains = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        chains.clear();
    }

    fn put(&self, hash: Digest, chain: Arc<ResolvedChain>) {
        let mut chains = self.by_hash.lock().unwrap_or_else(PoisonError::into_inner);
        if chains.len() >= self.capacity {
            chains.retain(|_, other| other.revision == chain.revision);
        }
        if chains.len() < self.capacity {
            chains.insert(hash, chain);
        }
    }
}

impl ResolvedChain {
    /// The part of the last grant's authority that a token carries; `None` if it is the whole.
    fn part(&self, token: &InstanceToken) -> Result<Option<Arc<Authority>>, AuthnError> {
        let unreadable = || AuthnError::NoChain("the token's authority can't be read");
        let carried = &token.authorization_details;
        if *carried == self.whole {
            return Ok(None);
        }
        let details = carried.as_array().ok_or_else(unreadable)?;
        let details: Result<Vec<Detail>, _> = details.iter().map(Detail::from_value).collect();
        // Limits are those of the grants, which every call is held against as well.
        let part = Authority::new(
            details.map_err(|_| unreadable())?,
            AuthorityLimits::default(),
        );
        Ok(Some(Arc::new(part.map_err(|_| unreadable())?)))
    }

    /// What policies know of the agents, root first. The last one acts, at `acting`; the others
    /// handed on what they held, which only an instance inside walls can do.
    pub(crate) fn agent_facts(&self, acting: Assurance) -> Vec<AgentFacts<'_>> {
        let last = self.agents.len().saturating_sub(1);
        let facts = self.agents.iter().enumerate();
        let facts = facts.map(|(place, agent)| AgentFacts {
            name: &agent.name,
            owner: &agent.owner,
            environment: agent.environment.as_str(),
            assurance: if place == last {
                acting.as_str()
            } else {
                Assurance::Confined.as_str()
            },
        });
        facts.collect()
    }
}

impl Caller {
    /// The caller with what is used of its task's tree.
    pub(crate) fn under(self, tree: Arc<Tree>) -> Self {
        Self { tree, ..self }
    }

    /// Refuses what the token does not carry, whatever its grant would allow.
    pub(crate) fn carries(&self, call: &Call<'_>, now: Timestamp) -> Result<(), Refusal> {
        match &self.part {
            None => Ok(()),
            Some(part) => allows(part, call, now).map(drop),
        }
    }

    /// Whether the caller may know of a tool: every hop names it, and the token.
    pub(crate) fn may_see(&self, server: &Name, tool: &str) -> bool {
        let hops = self.chain.verified.hops().iter();
        let authorities = hops.map(|hop| &hop.grant().authority);
        authorities
            .chain(self.part.as_deref())
            .all(|authority| aims_authority::may_see(authority, server, tool))
    }

    /// Whether the policy in force is the one that this caller's actions are decided by.
    pub(crate) fn is_under(&self, state: &State) -> bool {
        self.subjects.contains(&Subject::Policy(state.policy.id))
    }

    /// Refuses what is cut off. An instance that delegated never comes back, so neither does what
    /// it handed on, however new the token: its grant counts as of when it was made.
    pub(crate) fn check_cut_offs(&self, state: &State) -> Result<(), AuthnError> {
        find_cut(state, &self.subjects, self.token.revision)?;
        for hop in self.chain.verified.hops() {
            if let Delegator::Agent { instance, .. } = &hop.grant().delegator {
                find_cut(state, &[Subject::Instance(*instance)], hop.grant().revision)?;
            }
        }
        Ok(())
    }
}

fn find_cut(state: &State, subjects: &[Subject], minted: Revision) -> Result<(), AuthnError> {
    match state.cutoffs.find(subjects, minted) {
        Some(subject) => Err(AuthnError::CutOff(subject.clone())),
        None => Ok(()),
    }
}

fn subjects(token: &InstanceToken, signer: String) -> Result<Vec<Subject>, AuthnError> {
    let person = token
        .subject
        .parse()
        .map_err(|_| AuthnError::NotAnInstance)?;
    Ok(vec![
        Subject::Instance(token.instance),
        Subject::Task(token.task),
        Subject::Person(person),
        Subject::Key(token.common.jkt.to_string()),
        Subject::Key(signer),
    ])
}

/// Which key signed a token that was verified.
fn kid(text: &str) -> String {
    let header = text.split('.').next().unwrap_or_default();
    let header = base64url::decode(header).unwrap_or_default();
    let header = aims_json::parse(&header, &Limits::TOKEN).ok();
    let kid = header
        .as_ref()
        .and_then(|header| header.get("kid")?.as_str());
    kid.unwrap_or_default().to_owned()
}

fn values<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Vec<&'h str>, AuthnError> {
    let text = |value: &'h http::HeaderValue| value.to_str().map_err(|_| AuthnError::Header(name));
    headers.get_all(name).iter().map(text).collect()
}
