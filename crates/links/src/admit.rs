//! How nodes and gateways come to be linked with the server.

use std::sync::Arc;

use aims_model::{Point, PointKind};
use aims_types::{Revision, Secret, Timestamp, TrustDomain};
use async_trait::async_trait;

use crate::{Enforce, LinkError, Refusal, Vouch};

/// A process on another host that wants to join.
#[derive(Debug)]
pub struct JoinAsk {
    /// What it wants to be.
    pub kind: PointKind,
    /// The single-use token that an operator made.
    pub token: Secret<String>,
    /// A certificate request (PKCS#10, DER), which proves that it has its key.
    pub csr: Vec<u8>,
    /// Its host's name, for records.
    pub host: String,
}

/// What a point is to know when it joins, and what it uses for mutual TLS.
#[derive(Debug, Clone)]
pub struct Joined {
    /// Its identity.
    pub point: Point,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The issuer of tokens.
    pub issuer: String,
    /// The resource (audience) of the gateways' endpoints.
    pub resource: String,
    /// Its credential.
    pub svid: Svid,
}

/// An X.509-SVID and what to check others with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svid {
    /// The certificate chain, leaf first, each in DER; without the root.
    pub chain: Vec<Vec<u8>>,
    /// The CA certificates of the trust domain, each in DER.
    pub bundle: Vec<Vec<u8>>,
    /// When it ends; renewed from half of its life.
    pub expires_at: Timestamp,
}

/// The server, as a transport sees it that links nodes and gateways with it.
#[async_trait]
pub trait Admit: Send + Sync {
    /// Enrols a point with a single-use token.
    async fn join(&self, ask: JoinAsk) -> Result<Result<Joined, Refusal>, LinkError>;

    /// Issues the next certificate to a point that is enrolled, for the same key.
    async fn svid_renew(
        &self,
        point: Point,
        csr: Vec<u8>,
    ) -> Result<Result<Svid, Refusal>, LinkError>;

    /// Whether the key with this thumbprint is enrolled for this point and not retired. Asked for
    /// each call: who was retired is not heard any more.
    async fn is_enrolled(&self, point: Point, kid: &str) -> Result<bool, LinkError>;

    /// Links a gateway: it gets the newest state, and from then on every later one, until the link
    /// fails or another one of the same gateway takes its place.
    async fn attach_gateway(
        &self,
        point: Point,
        link: Arc<dyn Enforce>,
    ) -> Result<Result<Revision, Refusal>, LinkError>;

    /// Links a node: it is told which of its instances are cut off. Instances that it vouched for
    /// and does not have any more ([`Vouch::held`]) are ended: it started again.
    async fn attach_node(
        &self,
        point: Point,
        link: Arc<dyn Vouch>,
    ) -> Result<Result<Revision, Refusal>, LinkError>;
}
