//! The control plane as nodes see it when they vouch for services.

use aims_links::{
    EndedInstance, JwtSvid, LinkError, Refusal, ServiceAttestation, ServiceCall, ServiceGrant,
    Services, Svid, TrustBundle,
};
use aims_types::{Actor, Cx};
use async_trait::async_trait;

use super::attest::attest;
use super::issue::{IssueProcessError, jwt, x509};
use super::{end, trust_bundle};
use crate::admit::told;
use crate::fault::Refused;
use crate::recording::Attempt;
use crate::{ControlPlane, Fault};

#[async_trait]
impl Services for ControlPlane {
    async fn service_attest(
        &self,
        attestation: ServiceAttestation,
    ) -> Result<Result<Vec<ServiceGrant>, Refusal>, LinkError> {
        self.to_the_end(|plane| async move {
            let cx = plane.cx(Actor::Node(attestation.node))?;
            let done = match attest(&plane, &cx, &attestation).await {
                Ok((grants, revision)) => {
                    if let Some(revision) = revision {
                        plane.publish_to_gateways(revision).await;
                    }
                    Ok(grants)
                }
                Err(error) if error.is_internal() => Err(error),
                // Any process of the host may ask, so that refusals are bounded in the log.
                Err(error) => match plane.processes().record(cx.now) {
                    None => Err(error),
                    Some(left_out) => {
                        let path = &attestation.seen.executable.path;
                        let mut attempt = Attempt::new("service_attest", path);
                        attempt.left_out = left_out;
                        plane.recorded(&cx, attempt, Err(error)).await
                    }
                },
            };
            told(done)
        })
        .await
    }

    async fn service_svid(
        &self,
        call: ServiceCall,
        csr: Vec<u8>,
    ) -> Result<Result<Svid, Refusal>, LinkError> {
        self.to_the_end(move |plane| async move {
            let cx = plane.cx(Actor::Node(call.node))?;
            let done = x509(&plane, &cx, &call, &csr).await;
            told(plane.issued(&cx, ("service_svid", &call), done).await)
        })
        .await
    }

    async fn service_jwt(
        &self,
        call: ServiceCall,
        audience: Vec<String>,
    ) -> Result<Result<JwtSvid, Refusal>, LinkError> {
        self.to_the_end(move |plane| async move {
            let cx = plane.cx(Actor::Node(call.node))?;
            let done = jwt(&plane, &cx, &call, &audience).await;
            told(plane.issued(&cx, ("service_jwt", &call), done).await)
        })
        .await
    }

    async fn service_ended(&self, ended: EndedInstance) -> Result<(), LinkError> {
        self.to_the_end(|plane| async move {
            let cx = plane.cx(Actor::Node(ended.node))?;
            let done = end::end(&plane, &cx, &ended).await;
            let revision = done.map_err(|error| LinkError {
                peer: "server",
                reason: error.to_string(),
            })?;
            if let Some(revision) = revision {
                plane.publish_to_gateways(revision).await;
            }
            Ok(())
        })
        .await
    }

    async fn trust_bundle(&self) -> Result<TrustBundle, LinkError> {
        let mut reader = self.store().read().await.map_err(Fault::from)?;
        Ok(trust_bundle(reader.as_mut()).await?)
    }
}

impl ControlPlane {
    /// Passes on what was issued; a refusal is recorded, and what ended with it is published.
    async fn issued<T>(
        &self,
        cx: &Cx,
        (operation, call): (&'static str, &ServiceCall),
        done: Result<T, IssueProcessError>,
    ) -> Result<T, IssueProcessError> {
        if let Err(IssueProcessError::Changed(_, revision)) = &done {
            self.publish_to_gateways(*revision).await;
        }
        let attempt = Attempt::new(operation, &call.instance.to_string());
        self.recorded(cx, attempt, done).await
    }
}
