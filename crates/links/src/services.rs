//! What the server does for nodes on behalf of services, which others start.

use std::time::Duration;

use aims_model::ProcessSeen;
use aims_types::{Id, Instance, Node, Secret, SpiffeId, Timestamp, TrustDomain};
use async_trait::async_trait;

use crate::{EndedInstance, LinkError, Refusal, Svid};

/// A process that asked a node for an identity.
#[derive(Debug, Clone)]
pub struct ServiceAttestation {
    /// The node that it asked.
    pub node: Id<Node>,
    /// What the node saw of it.
    pub seen: ProcessSeen,
}

/// An identity that a process has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceGrant {
    /// The process, as an instance of the service.
    pub instance: Id<Instance>,
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// What tells it from others of the same process: the service's name.
    pub hint: String,
}

/// A process that is attested, seen again now.
#[derive(Debug, Clone)]
pub struct ServiceCall {
    /// The node that vouches for it.
    pub node: Id<Node>,
    /// Which.
    pub instance: Id<Instance>,
    /// What the node saw of it for this call.
    pub seen: ProcessSeen,
}

/// A JWT-SVID. It is a bearer token.
#[derive(Debug, Clone)]
pub struct JwtSvid {
    /// The compact JWS.
    pub token: Secret<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// What others verify SVIDs of a trust domain with (SPIFFE Trust Domain and Bundle §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustBundle {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The certificates of its authorities, each in DER.
    pub authorities: Vec<Vec<u8>>,
    /// The public keys of its JWT-SVIDs, each as a JWK with its `kid`.
    pub jwt_keys: Vec<String>,
    /// Grows with every change.
    pub sequence: u64,
    /// How often it should be looked at.
    pub refresh: Duration,
}

/// The server, as nodes see it when they vouch for services.
#[async_trait]
pub trait Services: Send + Sync {
    /// Finds the services whose registration a process fits, and makes it an instance of each. A
    /// process that is one already stays that.
    async fn service_attest(
        &self,
        attestation: ServiceAttestation,
    ) -> Result<Result<Vec<ServiceGrant>, Refusal>, LinkError>;

    /// Issues an X.509-SVID for the key of a certificate request, to be handed out with its key.
    async fn service_svid(
        &self,
        call: ServiceCall,
        csr: Vec<u8>,
    ) -> Result<Result<Svid, Refusal>, LinkError>;

    /// Issues a JWT-SVID for an audience.
    async fn service_jwt(
        &self,
        call: ServiceCall,
        audience: Vec<String>,
    ) -> Result<Result<JwtSvid, Refusal>, LinkError>;

    /// Ends a process: nothing is issued to it any more.
    async fn service_ended(&self, ended: EndedInstance) -> Result<(), LinkError>;

    /// What SVIDs of the trust domain are verified with now.
    async fn trust_bundle(&self) -> Result<TrustBundle, LinkError>;
}
