//! An agent that runs elsewhere and proves who it is: with an enrolled key of its own (RFC 7523
//! §2.2), or as an attested process of the service that it is registered as
//! (draft-ietf-oauth-spiffe-client-auth).

use aims_json::Object;
use aims_model::{Agent, KeyOwner, KeyPurpose, Service, ServiceInstance};
use aims_oauth::{
    AssertionExpect, ClientCredential, ReceivedClient, UnverifiedClientAssertion,
    UnverifiedSvidAssertion,
};
use aims_store::Reader;
use aims_types::{self as types, Cx, Id, Name, Secret, SpiffeId, Timestamp};
use aims_x509::PeerId;

use super::{TokenError, TrustedKeys};
use crate::keyring::parse_jwk;
use crate::recording::shown;
use crate::{ControlPlane, services};

/// What the path of an agent's SPIFFE ID begins with.
const AGENT_PATH: &str = "agent/";

/// What a client shows of itself.
#[derive(Debug)]
pub(crate) struct Shown {
    /// In the form.
    pub(crate) client: Option<ReceivedClient>,
    /// By the certificate of the connection, whose key the handshake proved. Nothing that a header
    /// says takes its place.
    pub(crate) peer: Option<PeerId>,
}

/// An agent that proved who it is a moment ago, but for replay.
pub(crate) struct AgentClient {
    pub(crate) agent: Agent,
    /// The key that proves it: enrolled, of the server that signed a JWT-SVID, or certified.
    pub(crate) kid: String,
    /// What counts once, if it may be sent again.
    pub(crate) once: Option<Once>,
    /// The attested process of its service, if it is one.
    pub(crate) process: Option<Id<types::Instance>>,
}

/// Something signed that counts once.
pub(crate) struct Once {
    /// Whose it is.
    pub(crate) owner: String,
    pub(crate) jti: String,
    pub(crate) until: Timestamp,
}

impl AgentClient {
    /// What records say of how it proved who it is.
    pub(super) fn described(&self) -> Object {
        let body = Object::new().with("key", self.kid.as_str());
        match self.process {
            None => body,
            Some(process) => body.with("process", process.to_string()),
        }
    }
}

/// The agent whose SPIFFE ID is the client's name and which proves it. One way is looked at: what
/// the form says goes before the certificate of the connection (RFC 6749 §2.3).
pub(crate) async fn agent_client(
    plane: &ControlPlane,
    cx: &Cx,
    reader: &mut dyn Reader,
    shown: Shown,
) -> Result<AgentClient, TokenError> {
    match (shown.client.ok_or(TokenError::NoClient)?, shown.peer) {
        (ReceivedClient::Jwt(client), _) => of_key(plane, cx, reader, client).await,
        (ReceivedClient::JwtSvid { client_id, svid }, _) => {
            of_jwt_svid(plane, cx, reader, (&client_id, &svid)).await
        }
        (ReceivedClient::Named { client_id }, Some(peer)) => {
            of_certificate(plane, cx, reader, (&client_id, &peer)).await
        }
        (ReceivedClient::Named { .. }, None) => Err(TokenError::NoClient),
    }
}

/// By an assertion that an enrolled key signed.
async fn of_key(
    plane: &ControlPlane,
    cx: &Cx,
    reader: &mut dyn Reader,
    client: ClientCredential,
) -> Result<AgentClient, TokenError> {
    let parsed =
        UnverifiedClientAssertion::parse(client.assertion.expose()).map_err(TokenError::Client)?;
    let claimed = parsed.claimed_client_id();
    if client.client_id.is_some_and(|id| id != claimed) {
        return Err(TokenError::ClientDiffers);
    }
    let foreign = || TokenError::ForeignClient(shown(claimed));
    let agent = agent_named(plane, reader, claimed).await?;
    let kid = parsed.claimed_kid().ok_or_else(foreign)?.to_owned();
    let key = reader.key(&kid).await?.filter(|key| {
        key.purpose == KeyPurpose::Agent
            && key.owner == KeyOwner::Agent(agent.id)
            && key.retired_at.is_none()
    });
    let key = parse_jwk(&key.ok_or_else(foreign)?.jwk)?;
    // INVARIANT: the key is enrolled for client authentication alone, so that nothing else that it
    // signed passes for an assertion.
    let verified = parsed.verify_of_library(&key, &expect(plane, cx));
    let verified = verified.map_err(TokenError::Client)?;
    Ok(AgentClient {
        agent,
        once: Some(Once {
            owner: kid.clone(),
            jti: verified.jti().to_owned(),
            until: verified.replayable_until(),
        }),
        kid,
        process: None,
    })
}

/// By a JWT-SVID that was issued for this server alone, to a process that is attested still.
async fn of_jwt_svid(
    plane: &ControlPlane,
    cx: &Cx,
    reader: &mut dyn Reader,
    (client_id, svid): (&str, &Secret<String>),
) -> Result<AgentClient, TokenError> {
    let parsed = UnverifiedSvidAssertion::parse(svid.expose()).map_err(TokenError::Svid)?;
    let subject = parsed.claimed_subject().clone();
    // The keys vouch for their own trust domain only.
    if subject.trust_domain() != *plane.trust_domain() {
        return Err(TokenError::ForeignClient(shown(subject.as_str())));
    }
    let kid = parsed.claimed_kid().unwrap_or_default().to_owned();
    let keys = TrustedKeys::load(reader, KeyPurpose::JwtSvid, cx.now).await?;
    let verified = parsed.verify(&keys, &expect(plane, cx));
    let verified = verified.map_err(TokenError::Svid)?;
    let (agent, service) = agent_of(plane, reader, (client_id, &subject)).await?;
    let process = reader.service_instance(verified.process()).await?;
    let lives = |one: &ServiceInstance| one.service == service.id && one.stage.is_live();
    let process = process.filter(lives).ok_or(TokenError::ProcessEnded)?;
    Ok(AgentClient {
        agent,
        kid,
        once: Some(Once {
            owner: subject.to_string(),
            jti: verified.jti().to_owned(),
            until: verified.replayable_until(),
        }),
        process: Some(process.id),
    })
}

/// By the certificate of the connection: it was issued to a process that is attested still, and the
/// handshake proved its key.
async fn of_certificate(
    plane: &ControlPlane,
    cx: &Cx,
    reader: &mut dyn Reader,
    (client_id, peer): (&str, &PeerId),
) -> Result<AgentClient, TokenError> {
    let (agent, service) = agent_of(plane, reader, (client_id, peer.spiffe_id())).await?;
    let kid = peer.kid().to_string();
    // A connection may outlive the certificate that it began with, and the process.
    let live = reader.service_instances_live().await?;
    let holds = |one: &ServiceInstance| one.service == service.id && one.holds(&kid, cx.now);
    let process = live.into_iter().find(holds);
    let process = process.ok_or(TokenError::ProcessEnded)?;
    Ok(AgentClient {
        agent,
        kid,
        once: None,
        process: Some(process.id),
    })
}

fn expect<'a>(plane: &'a ControlPlane, cx: &Cx) -> AssertionExpect<'a> {
    AssertionExpect {
        issuer: &plane.parts().config.issuer,
        now: cx.now,
    }
}

/// The agent that is registered as exactly this service. Which part is wrong is not told.
async fn agent_of(
    plane: &ControlPlane,
    reader: &mut dyn Reader,
    (client_id, subject): (&str, &SpiffeId),
) -> Result<(Agent, Service), TokenError> {
    let foreign = || TokenError::ForeignClient(shown(client_id));
    let agent = agent_named(plane, reader, client_id).await?;
    let service = reader.service(agent.service.ok_or_else(foreign)?).await?;
    let service = service.filter(|service| service.spiffe_id == *subject);
    let service = service.ok_or_else(foreign)?;
    if !services::may_have(reader, &service).await? {
        return Err(TokenError::ProcessEnded);
    }
    Ok((agent, service))
}

/// The agent that `spiffe://<trust domain>/agent/<name>` names.
async fn agent_named(
    plane: &ControlPlane,
    reader: &mut dyn Reader,
    client_id: &str,
) -> Result<Agent, TokenError> {
    let named = || {
        let id: SpiffeId = client_id.parse().ok()?;
        let ours = id.trust_domain() == *plane.trust_domain();
        let name = id.path().strip_prefix(AGENT_PATH).filter(|_| ours)?;
        name.parse::<Name>().ok()
    };
    let foreign = || TokenError::ForeignClient(shown(client_id));
    let agent = reader.agent_by_name(&named().ok_or_else(foreign)?).await?;
    agent.ok_or_else(foreign)
}
