//! The control plane as nodes and gateways see it.

use std::time::Duration;

use aims_links::{
    Attestation, Chain, Control, EndedInstance, InstanceGrant, LaunchOrder, LinkError, Refusal,
    RequestedRun, ShippedRecord, TokenCall, TokenReply,
};
use aims_model::Evidence;
use aims_types::{Actor, Digest, Gateway, Id, Instance, Node, Revision, Run};
use async_trait::async_trait;

use crate::fault::Refused;
use crate::instances::{self, RenewError};
use crate::recording::Attempt;
use crate::runs::{self, RefusedLaunch};
use crate::{ControlPlane, Fault, tokens};

/// How often gateways are asked to acknowledge the end of an instance.
const ACKNOWLEDGEMENT_TRIES_MAX: u32 = 6;
/// Pause after the first try; it doubles with each.
const ACKNOWLEDGEMENT_PAUSE: Duration = Duration::from_millis(20);

impl From<Fault> for LinkError {
    fn from(fault: Fault) -> Self {
        tracing::error!(%fault, "an operation failed");
        server(fault.to_string())
    }
}

fn server(reason: String) -> LinkError {
    LinkError {
        peer: "server",
        reason,
    }
}

/// What the other side is told of a refusal.
fn refusal(error: &impl Refused) -> Refusal {
    Refusal {
        code: error.code(),
        reason: error.to_string(),
        gaps: Vec::new(),
    }
}

#[async_trait]
impl Control for ControlPlane {
    async fn run_redeem(
        &self,
        run: RequestedRun,
    ) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        self.to_the_end(|plane| async move {
            let cx = plane.cx(Actor::Node(run.node))?;
            let done = runs::redeem(&plane, &cx, &run).await;
            let attempt = Attempt::new("run_redeem", &run.node.to_string());
            match plane.recorded(&cx, attempt, done).await {
                Ok((order, revision)) => {
                    plane.publish(revision).await;
                    Ok(Ok(order))
                }
                Err(error) if error.is_internal() => Err(server(error.to_string())),
                Err(error) => Ok(Err(refusal(&error))),
            }
        })
        .await
    }

    async fn run_refused(
        &self,
        node: Id<Node>,
        run: Id<Run>,
        refusal: Refusal,
    ) -> Result<(), LinkError> {
        self.to_the_end(move |plane| async move {
            let cx = plane.cx(Actor::Node(node))?;
            let known = plane
                .store()
                .read()
                .await
                .map_err(Fault::from)?
                .run(run)
                .await;
            let known = known.map_err(Fault::from)?;
            if known.and_then(|run| run.redeemed_by) != Some(node) {
                // Nobody writes into the records of a task that is not theirs.
                return Err(server("the node did not take up this launch".to_owned()));
            }
            let launch = RefusedLaunch {
                node,
                run,
                refusal: &refusal,
            };
            Ok(runs::refused(&plane, &cx, launch, aims_json::Object::new()).await?)
        })
        .await
    }

    async fn instance_attest(
        &self,
        attestation: Attestation,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        self.to_the_end(|plane| async move {
            let (node, run) = (attestation.node, attestation.run);
            let cx = plane.cx(Actor::Node(node))?;
            match instances::attest(&plane, &cx, attestation).await {
                Ok((grant, revision)) => {
                    plane.publish(revision).await;
                    Ok(Ok(grant))
                }
                Err(error) if error.is_internal() => Err(server(error.to_string())),
                Err(error) => {
                    let (refusal, results) = error.into_refusal();
                    let launch = RefusedLaunch {
                        node,
                        run,
                        refusal: &refusal,
                    };
                    runs::refused(&plane, &cx, launch, results).await?;
                    Ok(Err(refusal))
                }
            }
        })
        .await
    }

    async fn instance_renew(
        &self,
        node: Id<Node>,
        instance: Id<Instance>,
        evidence: Evidence,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        self.to_the_end(move |plane| async move {
            let cx = plane.cx(Actor::Node(node))?;
            match instances::renew(&plane, &cx, (node, instance), evidence).await {
                Ok(grant) => Ok(Ok(grant)),
                Err(RenewError::Ended(refusal, revision)) => {
                    plane.acknowledged(revision).await?;
                    Ok(Err(*refusal))
                }
                Err(error) if error.is_internal() => Err(server(error.to_string())),
                Err(error) => {
                    let attempt = Attempt::new("instance_renew", &instance.to_string());
                    match plane.recorded::<(), _>(&cx, attempt, Err(error)).await {
                        Err(error) if !error.is_internal() => Ok(Err(refusal(&error))),
                        _ => Err(server("the refusal could not be recorded".to_owned())),
                    }
                }
            }
        })
        .await
    }

    async fn instance_ended(&self, ended: EndedInstance) -> Result<(), LinkError> {
        self.to_the_end(|plane| async move {
            let cx = plane.cx(Actor::Node(ended.node))?;
            let done = instances::end(&plane, &cx, &ended).await;
            let revision = done.map_err(|error| server(error.to_string()))?;
            plane.acknowledged(revision).await
        })
        .await
    }

    async fn token(&self, call: TokenCall) -> Result<TokenReply, LinkError> {
        self.to_the_end(|plane| async move { Ok(tokens::answer(&plane, &call).await?) })
            .await
    }

    async fn chain(&self, leaf: Digest) -> Result<Option<Chain>, LinkError> {
        Ok(self.chain_of(leaf).await?)
    }

    async fn records_ship(
        &self,
        gateway: Id<Gateway>,
        records: Vec<ShippedRecord>,
    ) -> Result<u64, LinkError> {
        self.check_joined(gateway)?;
        let taken = self.parts().records.take(gateway, records).await;
        taken.map_err(|error| server(error.to_string()))
    }

    async fn records_head(&self, gateway: Id<Gateway>) -> Result<u64, LinkError> {
        self.check_joined(gateway)?;
        let head = self.parts().records.head(gateway).await;
        head.map_err(|error| server(error.to_string()))
    }
}

impl ControlPlane {
    /// Returns when every gateway has acknowledged `revision`, or denies everything because it
    /// can't use the state. Tries again for a moment; a gateway that stays silent is an error.
    async fn acknowledged(&self, revision: Revision) -> Result<(), LinkError> {
        let mut pause = ACKNOWLEDGEMENT_PAUSE;
        let mut tries = 1;
        loop {
            let lapsed = self.publish(revision).await;
            let Some(open) = lapsed.into_iter().find(|lapse| !lapse.denies_everything) else {
                return Ok(());
            };
            if tries == ACKNOWLEDGEMENT_TRIES_MAX {
                let reason = format!("`{}`: {}", open.gateway, open.why);
                return Err(LinkError {
                    peer: "gateway",
                    reason,
                });
            }
            tries += 1;
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    fn check_joined(&self, gateway: Id<Gateway>) -> Result<(), LinkError> {
        if self.publisher().knows(gateway) {
            return Ok(());
        }
        Err(server(format!("gateway `{gateway}` has not joined")))
    }
}
