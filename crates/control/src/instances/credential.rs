//! The workload identity token of an instance.

use std::time::Duration;

use aims_crypto::{PublicKey, sha256};
use aims_json::Object;
use aims_links::InstanceGrant;
use aims_oauth::{CreateWorkloadIdentityError, WorkloadIdentityClaims};
use aims_types::{Cx, Id, Instance, Timestamp};

use crate::liveness::LiveChain;
use crate::{ControlPlane, Fault};

/// How long a workload identity token lives, in seconds; the node renews it before half of that.
pub const WIT_TTL_SECS: u64 = 5 * 60;

/// A credential for an instance of a live chain, and what the record says of it.
pub(crate) fn credential(
    plane: &ControlPlane,
    cx: &Cx,
    live: &LiveChain,
    (instance, key): (Id<Instance>, PublicKey),
) -> Result<(InstanceGrant, Object), Fault> {
    let expires_at = live
        .deadline()
        .min(cx.now.plus(Duration::from_secs(WIT_TTL_SECS)));
    let claims = WorkloadIdentityClaims {
        issuer: Some(plane.parts().config.issuer.clone()),
        subject: live.leaf.agent.spiffe_id.clone(),
        instance,
        key,
        issued_at: cx.now,
        // Tokens count whole seconds; what the node is told is what the token says.
        expires_at: Timestamp::from_unix_secs(expires_at.unix_secs()),
        token: cx.id()?,
    };
    let signing = &plane.keyring().token;
    let wit = claims
        .create(&signing.signer, &signing.kid)
        .map_err(|error| match error {
            CreateWorkloadIdentityError::InternalSign(error) => Fault::Sign(error),
            CreateWorkloadIdentityError::CallerLife(error) => {
                Fault::Inconsistent(error.to_string())
            }
        })?;
    let body = Object::new()
        .with("jti", claims.token.to_string())
        .with("sha256", sha256(wit.as_bytes()).to_string())
        .with("expires_at", claims.expires_at.unix_millis());
    let grant = InstanceGrant {
        instance,
        wit,
        expires_at: claims.expires_at,
        grant: live.leaf.stored.jws.clone(),
        issuer: plane.parts().config.issuer.clone(),
        resource: plane.parts().config.resource.clone(),
        deadline: live.deadline(),
    };
    Ok((grant, body))
}
