//! Nodes and gateways of other hosts, as the transport admits them.

mod join;
mod link;
mod renew;

use std::sync::Arc;

use aims_links::{Admit, Enforce, JoinAsk, Joined, LinkError, Refusal, Svid, Vouch};
use aims_model::Point;
use aims_types::{Actor, Revision};
use async_trait::async_trait;

use crate::fault::Refused;
use crate::joins::point_of;
use crate::leases::actor_of;
use crate::publish::Link;
use crate::recording::{Attempt, shown};
use crate::{ControlPlane, Fault};

/// What the other side is told: a refusal, or that the server is at fault.
pub(crate) fn told<T>(done: Result<T, impl Refused>) -> Result<Result<T, Refusal>, LinkError> {
    match done {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.is_internal() => {
            tracing::error!(%error, "an operation failed");
            Err(LinkError {
                peer: "server",
                reason: error.to_string(),
            })
        }
        Err(error) => Ok(Err(Refusal {
            code: error.code().into(),
            reason: error.to_string(),
            gaps: Vec::new(),
        })),
    }
}

#[async_trait]
impl Admit for ControlPlane {
    async fn join(&self, ask: JoinAsk) -> Result<Result<Joined, Refusal>, LinkError> {
        self.to_the_end(|plane| async move {
            let cx = plane.cx(Actor::Server)?;
            let host = shown(&ask.host);
            let done = join::join(&plane, &cx, &ask, &host).await;
            let mut attempt = Attempt::new("join", &host);
            // Whoever has no token yet can be anybody.
            let done = match done {
                Err(error) if !error.is_internal() => match plane.strangers().record(cx.now) {
                    Some(left_out) => {
                        attempt.left_out = left_out;
                        plane.recorded(&cx, attempt, Err(error)).await
                    }
                    None => Err(error),
                },
                done => done,
            };
            told(done)
        })
        .await
    }

    async fn svid_renew(
        &self,
        point: Point,
        csr: Vec<u8>,
    ) -> Result<Result<Svid, Refusal>, LinkError> {
        self.to_the_end(move |plane| async move {
            let cx = plane.cx(actor_of(point))?;
            let done = renew::renew(&plane, &cx, point, &csr).await;
            let attempt = Attempt::new("svid_renew", &point.to_string());
            told(plane.recorded(&cx, attempt, done).await)
        })
        .await
    }

    async fn is_enrolled(&self, point: Point, kid: &str) -> Result<bool, LinkError> {
        let key = async { self.store().read().await?.key(kid).await };
        let key = key.await.map_err(Fault::from)?;
        Ok(key.is_some_and(|key| point_of(&key) == Some(point)))
    }

    async fn attach_gateway(
        &self,
        point: Point,
        link: Arc<dyn Enforce>,
    ) -> Result<Result<Revision, Refusal>, LinkError> {
        self.to_the_end(move |plane| async move {
            let cx = plane.cx(actor_of(point))?;
            let done = link::attach(&plane, &cx, point, Link::Gateway(link)).await;
            let attempt = Attempt::new("attach_gateway", &point.to_string());
            told(plane.recorded(&cx, attempt, done).await)
        })
        .await
    }

    async fn attach_node(
        &self,
        point: Point,
        link: Arc<dyn Vouch>,
    ) -> Result<Result<Revision, Refusal>, LinkError> {
        self.to_the_end(move |plane| async move {
            let cx = plane.cx(actor_of(point))?;
            let done = link::attach(&plane, &cx, point, Link::Node(link)).await;
            let attempt = Attempt::new("attach_node", &point.to_string());
            told(plane.recorded(&cx, attempt, done).await)
        })
        .await
    }
}
