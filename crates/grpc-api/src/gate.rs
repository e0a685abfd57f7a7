//! Who calls is looked up before anything that they send is read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aims_links::Admit;
use aims_model::Point;
use http::{Request, Response};
use http_body_util::Limited;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use crate::peer::{Caller, check_enrolled};
use crate::places::{Place, Places};
use crate::proto::{admission_server, links_server};
use crate::{ASK_LEN_MAX, SHIPMENTS_MAX};

/// Methods whose messages may be long. That one is under way at a time is seen to otherwise.
const SESSIONS: [&str; 2] = ["GatewaySession", "NodeSession"];
/// Ships a gateway's log: its messages are long too, so few of them are under way.
const SHIP: &str = "ShipRecords";

/// A service behind it hears only those who may be heard, and finds a [`Caller`] with each request
/// to `Links`.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    inner: S,
    admit: Arc<dyn Admit>,
    shipments: Places<Point>,
}

impl<S> Gate<S> {
    pub(crate) const fn new(inner: S, admit: Arc<dyn Admit>, shipments: Places<Point>) -> Self {
        Self {
            inner,
            admit,
            shipments,
        }
    }
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let next = self.inner.clone();
        // The one that was ready is used; its copy may not be.
        let mut inner = std::mem::replace(&mut self.inner, next);
        let (admit, shipments) = (Arc::clone(&self.admit), self.shipments.clone());
        Box::pin(async move {
            match pass(admit.as_ref(), &shipments, request).await {
                Ok((request, _place)) => inner.call(request).await,
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

type Passed = (Request<Body>, Option<Place<Point>>);

async fn pass(
    admit: &dyn Admit,
    shipments: &Places<Point>,
    mut request: Request<Body>,
) -> Result<Passed, Status> {
    let path = request.uri().path().trim_start_matches('/');
    let (service, method) = path.split_once('/').unwrap_or((path, ""));
    if service == admission_server::SERVICE_NAME {
        return Ok((request, None));
    }
    if service != links_server::SERVICE_NAME {
        return Err(Status::unimplemented("no such service"));
    }
    let (is_session, ships) = (SESSIONS.contains(&method), method == SHIP);
    let caller = Caller::named(request.extensions())?;
    check_enrolled(admit, &caller).await?;
    let place = ships
        .then(|| {
            let place = shipments.take(caller.point, SHIPMENTS_MAX);
            place.ok_or_else(|| Status::resource_exhausted("records are shipped in order"))
        })
        .transpose()?;
    request.extensions_mut().insert(caller);
    if !is_session && !ships {
        request = request.map(|body| Body::new(Limited::new(body, ASK_LEN_MAX)));
    }
    Ok((request, place))
}
