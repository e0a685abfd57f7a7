//! The five calls.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tonic::{Request, Response, Status};

use crate::api::Inner;
use crate::bundle::Bundle;
use crate::jwt::validate;
use crate::peer::Peer;
use crate::process::Process;
use crate::proto::{self, spiffe_workload_api_server::SpiffeWorkloadApi};
use crate::streams::{Messages, State, stream};
use crate::{AUDIENCE_LEN_MAX, AUDIENCES_MAX, SECURITY_HEADER};

/// What the security header says.
const SECURITY_VALUE: &str = "true";

/// The API, as gRPC calls it.
pub(crate) struct Calls {
    inner: Arc<Inner>,
}

/// A caller that is known, and its place among the calls of its user.
type Known = (Arc<Process>, OwnedSemaphorePermit);

/// Refuses a request without the security header, exactly once and exactly so (SPIFFE Workload
/// Endpoint §5.1).
pub(crate) fn with_header(request: Request<()>) -> Result<Request<()>, Status> {
    let mut values = request.metadata().get_all(SECURITY_HEADER).iter();
    let first = values.next().and_then(|value| value.to_str().ok());
    if first == Some(SECURITY_VALUE) && values.next().is_none() {
        return Ok(request);
    }
    Err(Status::invalid_argument(
        "security header missing from request",
    ))
}

impl Calls {
    pub(crate) const fn new(inner: Arc<Inner>) -> Self {
        Self { inner }
    }

    /// Who calls: the process that connected, as it is now.
    async fn known<T>(&self, request: &Request<T>) -> Result<Known, Status> {
        let peer = request.extensions().get::<Arc<Peer>>().cloned();
        let peer = peer.ok_or_else(|| Status::permission_denied("nobody calls"))?;
        let place = self.inner.calls.take(peer.uid());
        let place = place.ok_or_else(|| Status::unavailable("too many calls; try again later"))?;
        Ok((self.inner.identified(peer).await?, place))
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Calls {
    type FetchX509SVIDStream = Messages<proto::X509svidResponse>;
    type FetchX509BundlesStream = Messages<proto::X509BundlesResponse>;
    type FetchJWTBundlesStream = Messages<proto::JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<proto::X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let (process, place) = self.known(&request).await?;
        self.inner.bundle().await?;
        process.issue(&self.inner).await?;
        let messages = stream(&self.inner, (&process, place), true, svids);
        Ok(Response::new(messages))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<proto::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let known = self.known(&request).await?;
        self.inner.bundle().await?;
        let message = |state: &State| proto::X509BundlesResponse {
            crl: Vec::new(),
            bundles: of_domain(&state.bundle, &state.bundle.x509),
        };
        let messages = stream(&self.inner, (&known.0, known.1), false, message);
        Ok(Response::new(messages))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<proto::JwtsvidRequest>,
    ) -> Result<Response<proto::JwtsvidResponse>, Status> {
        let (process, _place) = self.known(&request).await?;
        let proto::JwtsvidRequest {
            audience,
            spiffe_id,
        } = request.into_inner();
        check_audience(&audience)?;
        let wanted = |id: &str| spiffe_id.is_empty() || spiffe_id == id;
        let mut svids = Vec::new();
        for grant in &process.grants {
            if !wanted(grant.spiffe_id.as_str()) {
                continue;
            }
            let call = process.call(&self.inner, grant);
            let jwt = self.inner.services.service_jwt(call, audience.clone());
            let jwt = jwt
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?
                .map_err(|refusal| Status::permission_denied(refusal.reason))?;
            svids.push(proto::Jwtsvid {
                spiffe_id: grant.spiffe_id.to_string(),
                svid: jwt.token.expose().clone(),
                hint: grant.hint.clone(),
            });
        }
        if svids.is_empty() {
            return Err(Status::permission_denied("the caller has no such identity"));
        }
        // It may have been cut off while the server answered.
        process.check()?;
        self.inner.check_lease()?;
        Ok(Response::new(proto::JwtsvidResponse { svids }))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<proto::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        let known = self.known(&request).await?;
        self.inner.bundle().await?;
        let message = |state: &State| proto::JwtBundlesResponse {
            bundles: of_domain(&state.bundle, &state.bundle.jwks),
        };
        let messages = stream(&self.inner, (&known.0, known.1), false, message);
        Ok(Response::new(messages))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<proto::ValidateJwtsvidRequest>,
    ) -> Result<Response<proto::ValidateJwtsvidResponse>, Status> {
        let _known = self.known(&request).await?;
        let bundle = self.inner.bundle().await?;
        let proto::ValidateJwtsvidRequest { audience, svid } = request.into_inner();
        if audience.is_empty() || svid.is_empty() {
            return Err(Status::invalid_argument(
                "audience and svid must be specified",
            ));
        }
        let now = self.inner.clock.now();
        let valid = validate(&svid, &audience, (bundle.as_ref(), now));
        let (spiffe_id, claims) =
            valid.map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Response::new(proto::ValidateJwtsvidResponse {
            spiffe_id: spiffe_id.to_string(),
            claims: Some(claims),
        }))
    }
}

/// Mandatory, and no more than a token should have (SPIFFE Workload API §6.2.1).
fn check_audience(audience: &[String]) -> Result<(), Status> {
    if audience.is_empty() {
        return Err(Status::invalid_argument("audience must be specified"));
    }
    let good = |text: &String| {
        (1..=AUDIENCE_LEN_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
    };
    if audience.len() <= AUDIENCES_MAX && audience.iter().all(good) {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "at most {AUDIENCES_MAX} audiences, each of 1 to {AUDIENCE_LEN_MAX} bytes without control \
         characters"
    )))
}

fn svids(state: &State) -> proto::X509svidResponse {
    let issued = state.issued.iter().flat_map(|issued| &issued.svids);
    let svids = issued.map(|one| proto::X509svid {
        spiffe_id: one.spiffe_id.clone(),
        x509_svid: one.chain.clone(),
        x509_svid_key: one.key.expose().clone(),
        bundle: state.bundle.x509.clone(),
        hint: one.hint.clone(),
    });
    proto::X509svidResponse {
        svids: svids.collect(),
        crl: Vec::new(),
        federated_bundles: HashMap::new(),
    }
}

fn of_domain(bundle: &Bundle, bytes: &[u8]) -> HashMap<String, Vec<u8>> {
    HashMap::from([(bundle.name(), bytes.to_vec())])
}
