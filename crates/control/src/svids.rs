//! X.509-SVIDs of the server, of nodes and of gateways, issued by the trust domain's authority.

use std::time::Duration;

use aims_crypto::PublicKey;
use aims_jose::Thumbprint;
use aims_json::Object;
use aims_links::Svid;
use aims_model::{Event, EventKind, Point};
use aims_types::{Cx, Digest, SpiffeId, SpiffeIdError, TrustDomain};
use aims_x509::{IssueError, Serial, SvidTemplate, Validity, ValidityError};

use crate::access::{AccessError, Itself};
use crate::fault::{INTERNAL, Refused, internal_arm};
use crate::recording::event;
use crate::{ControlPlane, Fault};

/// How long a certificate of a server, a node or a gateway is valid: a node that was down for a
/// night comes back without a new token.
pub const SVID_LIFE: Duration = Duration::from_hours(24);
/// How long before its issue a certificate is valid already, for clocks that are behind.
pub(crate) const VALID_BEFORE: Duration = Duration::from_mins(1);

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum SvidError {
    /// Only the server itself asks for its own certificate.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// What it was to say can't be said.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The name is no SPIFFE ID.
    #[error(transparent)]
    Name(#[from] SpiffeIdError),
    /// The authority's certificate has ended, or the clock is wrong.
    #[error("no certificate can be valid now: {0}; check the clock")]
    Validity(#[from] ValidityError),
    /// The server is at fault.
    #[error(transparent)]
    Internal(#[from] Fault),
}

internal_arm!(SvidError);

impl Refused for SvidError {
    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Issue(
                IssueError::InternalSign | IssueError::InternalWrite(_) | IssueError::InternalRules,
            )
            | Self::Internal(_) => INTERNAL,
            Self::Issue(_) | Self::Name(_) => "bad_certificate_request",
            Self::Validity(_) => "no_validity",
        }
    }
}

impl ControlPlane {
    /// The CA certificates of the trust domain, each in DER: what its members verify each other
    /// with.
    pub fn bundle(&self) -> Vec<Vec<u8>> {
        vec![self.keyring().ca.certificate.der().to_vec()]
    }

    /// The SHA-256 digest of the CA certificate, which a process that joins pins.
    pub fn bundle_digest(&self) -> Digest {
        self.keyring().ca.certificate.digest()
    }

    /// Issues the server's own certificate, `spiffe://<trust domain>/server`, for a key that it
    /// made when it started. `hosts` are the names by which ordinary clients of HTTPS know it.
    pub async fn server_svid(
        &self,
        cx: &Cx,
        key: &PublicKey,
        hosts: &[String],
    ) -> Result<Svid, SvidError> {
        Itself::admit(cx)?;
        let spiffe_id = self.trust_domain().id("server")?;
        let (svid, event) = issue(self, cx, (key, &spiffe_id), hosts)?;
        self.commit_alone(event).await?;
        Ok(svid)
    }
}

/// Issues a certificate of a server, a node or a gateway; it is handed out when its record is
/// durable.
pub(crate) fn issue(
    plane: &ControlPlane,
    cx: &Cx,
    named: (&PublicKey, &SpiffeId),
    hosts: &[String],
) -> Result<(Svid, Event), SvidError> {
    issue_for(plane, cx, named, (hosts, SVID_LIFE))
}

/// Issues a certificate that lives for `life`.
pub(crate) fn issue_for(
    plane: &ControlPlane,
    cx: &Cx,
    (public, spiffe_id): (&PublicKey, &SpiffeId),
    (hosts, life): (&[String], Duration),
) -> Result<(Svid, Event), SvidError> {
    let ca = &plane.keyring().ca;
    let (from, until) = (cx.now.minus(VALID_BEFORE), cx.now.plus(life));
    let (first, last) = {
        let authority = ca.certificate.validity();
        (authority.not_before(), authority.not_after())
    };
    let validity = Validity::new(from.max(first), until.min(last))?;
    let serial = Serial::generate(cx.entropy.as_ref())?;
    let template = SvidTemplate {
        public,
        spiffe_id,
        hosts,
        validity,
        serial: &serial,
    };
    let issued = aims_x509::Svid::issue(&ca.certificate, &ca.key.signer, &template)?;
    let body = Object::new()
        .with("spiffe_id", spiffe_id.as_str())
        .with("serial", serial.to_string())
        .with("kid", Thumbprint::of(public).to_string())
        .with("not_after", validity.not_after().unix_millis());
    let svid = Svid {
        chain: vec![issued.der().to_vec()],
        bundle: plane.bundle(),
        expires_at: validity.not_after(),
    };
    Ok((svid, event(cx, EventKind::SvidIssued, body)))
}

/// The SPIFFE ID of a node or gateway: `spiffe://<trust domain>/node/<id>`.
pub(crate) fn spiffe_id_of(
    trust_domain: &TrustDomain,
    point: Point,
) -> Result<SpiffeId, SpiffeIdError> {
    trust_domain.id(&format!("{}/{point}", point.kind().as_str()))
}
