//! Who calls is looked up before anything that they send is read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use aims_links::Admit;
use aims_model::Point;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::Limited;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use crate::budget::{Budget, Counted};
use crate::peer::{Caller, check_enrolled};
use crate::places::Places;
use crate::proto::{admission_server, links_server};
use crate::{ASK_LEN_MAX, CHAINS_MAX, JOIN_LEN_MAX, JOINS_MAX, READS_MAX, SHIPMENTS_MAX};

/// Methods whose messages may be long. That one is under way at a time is seen to otherwise.
const SESSIONS: [&str; 2] = ["GatewaySession", "NodeSession"];
/// Ships a gateway's log: its messages are long too.
const SHIP: &str = "ShipRecords";
/// Methods of which few are under way for one point, because of what they hold: from their first
/// byte until the last one of their answer is gone.
const FEW: [(&str, usize); 3] = [
    (SHIP, SHIPMENTS_MAX),
    ("TaskRecords", READS_MAX),
    ("Chain", CHAINS_MAX),
];

/// A service behind it hears only those who may be heard, and finds a [`Caller`] with each request
/// to `Links`.
#[derive(Clone)]
pub(crate) struct Gate<S> {
    inner: S,
    admit: Arc<dyn Admit>,
    bounds: Bounds,
}

/// What is under way.
#[derive(Clone, Default)]
pub(crate) struct Bounds {
    few: Places<(Point, &'static str)>,
    joins: Places<()>,
    budget: Budget,
}

/// What a call has of them, until it is over.
#[derive(Default)]
struct Taken(Vec<Box<dyn Send>>);

/// An answer that is on its way.
struct Answer {
    body: Body,
    _taken: Taken,
}

impl<S> Gate<S> {
    pub(crate) const fn new(inner: S, admit: Arc<dyn Admit>, bounds: Bounds) -> Self {
        Self {
            inner,
            admit,
            bounds,
        }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
        let (admit, bounds) = (Arc::clone(&self.admit), self.bounds.clone());
        Box::pin(async move {
            match pass(admit.as_ref(), &bounds, request).await {
                Ok((request, taken)) => {
                    let answer = inner.call(request).await?;
                    Ok(answer.map(|body| {
                        Body::new(Answer {
                            body,
                            _taken: taken,
                        })
                    }))
                }
                Err(status) => Ok(status.into_http()),
            }
        })
    }
}

async fn pass(
    admit: &dyn Admit,
    bounds: &Bounds,
    mut request: Request<Body>,
) -> Result<(Request<Body>, Taken), Status> {
    let busy = || Status::resource_exhausted("too many calls of this kind are under way");
    let path = request.uri().path().trim_start_matches('/');
    let (service, method) = path.split_once('/').unwrap_or((path, ""));
    let mut taken = Taken::default();
    if service == admission_server::SERVICE_NAME {
        let place = bounds.joins.take((), JOINS_MAX).ok_or_else(busy)?;
        taken.0.push(Box::new(place));
        return Ok((request.map(limited(JOIN_LEN_MAX)), taken));
    }
    if service != links_server::SERVICE_NAME {
        return Err(Status::unimplemented("no such service"));
    }
    let (is_session, ships) = (SESSIONS.contains(&method), method == SHIP);
    let few = FEW.into_iter().find(|(few, _)| *few == method);
    let caller = Caller::named(request.extensions())?;
    check_enrolled(admit, &caller).await?;
    if let Some((few, most)) = few {
        let place = bounds.few.take((caller.point, few), most);
        taken.0.push(Box::new(place.ok_or_else(busy)?));
    }
    if !is_session {
        let share = Arc::new(Mutex::new(bounds.budget.share(caller.point)));
        taken.0.push(Box::new(Arc::clone(&share)));
        request = request.map(|body| Body::new(Counted::new(body, share)));
    }
    if !is_session && !ships {
        request = request.map(limited(ASK_LEN_MAX));
    }
    request.extensions_mut().insert(caller);
    Ok((request, taken))
}

/// A body of which no more than so many bytes are read.
fn limited(most: usize) -> impl FnOnce(Body) -> Body {
    move |body| Body::new(Limited::new(body, most))
}
