//! An agent that runs elsewhere and proves itself with an enrolled key of its own (RFC 7523 §2.2).

use aims_model::{Agent, KeyOwner, KeyPurpose};
use aims_oauth::{AssertionExpect, ClientAssertion, ClientCredential, UnverifiedClientAssertion};
use aims_store::Reader;
use aims_types::{Cx, Name, SpiffeId};

use super::TokenError;
use crate::ControlPlane;
use crate::keyring::parse_jwk;
use crate::recording::shown;

/// What the path of an agent's SPIFFE ID begins with.
const AGENT_PATH: &str = "agent/";

/// An agent that proved possession of an enrolled key a moment ago, but for replay.
pub(crate) struct AgentClient {
    pub(crate) agent: Agent,
    /// The enrolled key.
    pub(crate) kid: String,
    pub(crate) assertion: ClientAssertion,
}

/// The agent whose SPIFFE ID is the client's name and whose enrolled key signed the assertion.
pub(crate) async fn agent_client(
    plane: &ControlPlane,
    cx: &Cx,
    reader: &mut dyn Reader,
    client: Option<ClientCredential>,
) -> Result<AgentClient, TokenError> {
    let client = client.ok_or(TokenError::NoClient)?;
    let parsed =
        UnverifiedClientAssertion::parse(client.assertion.expose()).map_err(TokenError::Client)?;
    let claimed = parsed.claimed_client_id();
    if client.client_id.is_some_and(|id| id != claimed) {
        return Err(TokenError::ClientDiffers);
    }
    let foreign = || TokenError::ForeignClient(shown(claimed));
    let name = agent_named(plane, claimed).ok_or_else(foreign)?;
    let agent = reader.agent_by_name(&name).await?.ok_or_else(foreign)?;
    let kid = parsed.claimed_kid().ok_or_else(foreign)?.to_owned();
    let key = reader.key(&kid).await?.filter(|key| {
        key.purpose == KeyPurpose::Agent
            && key.owner == KeyOwner::Agent(agent.id)
            && key.retired_at.is_none()
    });
    let key = parse_jwk(&key.ok_or_else(foreign)?.jwk)?;
    let expect = AssertionExpect {
        issuer: &plane.parts().config.issuer,
        now: cx.now,
    };
    // INVARIANT: the key is enrolled for client authentication alone, so that nothing else that it
    // signed passes for an assertion.
    let verified = parsed.verify_of_library(&key, &expect);
    Ok(AgentClient {
        assertion: verified.map_err(TokenError::Client)?,
        agent,
        kid,
    })
}

/// The agent that `spiffe://<trust domain>/agent/<name>` names.
fn agent_named(plane: &ControlPlane, client_id: &str) -> Option<Name> {
    let id: SpiffeId = client_id.parse().ok()?;
    let ours = id.trust_domain() == *plane.trust_domain();
    let name = id.path().strip_prefix(AGENT_PATH).filter(|_| ours)?;
    name.parse().ok()
}
