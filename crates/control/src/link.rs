//! The control plane as nodes and gateways see it.

use aims_links::{
    Attestation, Chain, Control, CredentialAsk, CredentialLease, DelegateCall, EndedInstance,
    InstanceGrant, LaunchOrder, LeaseAsk, LeaseGrant, LinkError, OwnedTree, Refusal, RequestedRun,
    ShippedRecord, TokenCall, TokenReply, TreeClaim,
};
use aims_model::approval::Asked;
use aims_model::{Approval, Evidence, Point};
use aims_types::{self as types, Actor, Digest, Gateway, Id, Instance, Node, Run, Task};
use async_trait::async_trait;

use crate::fault::Refused;
use crate::instances::{self, RenewError};
use crate::joins::is_enrolled_point;
use crate::recording::Attempt;
use crate::runs::{self, RefusedLaunch};
use crate::tokens::Door;
use crate::{ControlPlane, Fault, approvals, delegations, leases, tokens, trees, upstreams};

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
        code: error.code().into(),
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
                    plane.publish_to_gateways(revision).await;
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

    async fn delegate(
        &self,
        call: DelegateCall,
    ) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        self.to_the_end(|plane| async move {
            let cx = plane.cx(Actor::Node(call.node))?;
            match delegations::delegate(&plane, &cx, &call).await {
                Ok((order, revision)) => {
                    plane.publish_to_gateways(revision).await;
                    Ok(Ok(order))
                }
                Err(error) if error.is_internal() => Err(server(error.to_string())),
                Err(error) => {
                    delegations::refused(&plane, &cx, &call, &error).await?;
                    Ok(Err(refusal(&error)))
                }
            }
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
                    plane.publish_to_gateways(revision).await;
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
                    plane.publish_to_gateways(revision).await;
                    Ok(Err(refusal.into_refusal()))
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

    async fn instance_ended(&self, ended: EndedInstance) -> Result<Result<(), Refusal>, LinkError> {
        self.to_the_end(|plane| async move {
            let cx = plane.cx(Actor::Node(ended.node))?;
            match instances::end(&plane, &cx, &ended).await {
                Ok(revision) => {
                    plane.publish_to_gateways(revision).await;
                    Ok(Ok(()))
                }
                Err(error) if error.is_internal() => Err(server(error.to_string())),
                Err(error) => {
                    let attempt = Attempt::new("instance_end", &ended.instance.to_string());
                    match plane.recorded::<(), _>(&cx, attempt, Err(error)).await {
                        Err(error) if !error.is_internal() => Ok(Err(refusal(&error))),
                        _ => Err(server("the refusal could not be recorded".to_owned())),
                    }
                }
            }
        })
        .await
    }

    async fn token(&self, call: TokenCall) -> Result<TokenReply, LinkError> {
        self.to_the_end(
            |plane| async move { Ok(tokens::answer(&plane, Door::Inside, &call).await?) },
        )
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
        self.check_joined(gateway).await?;
        if !self.leases().continues(gateway, &records) {
            // Since it told of its end, the log was rewritten.
            return Err(server(format!(
                "the log of gateway `{gateway}` was rewritten"
            )));
        }
        let uses = approvals::Uses::of(&records);
        self.to_the_end(move |plane| async move {
            let taken = plane.parts().records.take(gateway, records).await;
            let taken = taken.map_err(|error| server(error.to_string()))?;
            if let Some(uses) = uses.up_to(taken) {
                let cx = plane.cx(Actor::Gateway(gateway))?;
                if let Some(revision) = approvals::use_up(&plane, &cx, uses).await? {
                    plane.publish_soon(revision);
                }
            }
            Ok(taken)
        })
        .await
    }

    async fn approval_ask(
        &self,
        gateway: Id<Gateway>,
        asked: Asked,
    ) -> Result<Result<Approval, Refusal>, LinkError> {
        self.check_joined(gateway).await?;
        self.to_the_end(move |plane| async move {
            let cx = plane.cx(Actor::Gateway(gateway))?;
            let attempt = Attempt::new("approval_ask", &asked.instance.to_string());
            let done = approvals::ask(&plane, &cx, asked).await;
            match plane.recorded(&cx, attempt, done).await {
                Ok(approval) => Ok(Ok(approval)),
                Err(error) if error.is_internal() => Err(server(error.to_string())),
                Err(error) => Ok(Err(refusal(&error))),
            }
        })
        .await
    }

    async fn approval(&self, id: Id<types::Approval>) -> Result<Option<Approval>, LinkError> {
        let mut reader = self.store().read().await.map_err(Fault::from)?;
        Ok(reader.approval(id).await.map_err(Fault::from)?)
    }

    async fn records_head(&self, gateway: Id<Gateway>) -> Result<u64, LinkError> {
        self.check_joined(gateway).await?;
        let head = self.parts().records.head(gateway).await;
        head.map_err(|error| server(error.to_string()))
    }

    async fn lease_renew(&self, ask: LeaseAsk) -> Result<Result<LeaseGrant, Refusal>, LinkError> {
        self.to_the_end(|plane| async move {
            match leases::renew(&plane, ask).await {
                Ok(grant) => Ok(Ok(grant)),
                Err(error) if error.is_internal() => Err(server(error.to_string())),
                Err(error) => Ok(Err(refusal(&error))),
            }
        })
        .await
    }

    async fn credential_lease(
        &self,
        gateway: Id<Gateway>,
        ask: CredentialAsk,
    ) -> Result<Result<CredentialLease, Refusal>, LinkError> {
        self.check_joined(gateway).await?;
        self.to_the_end(move |plane| async move {
            let cx = plane.cx(Actor::Gateway(gateway))?;
            let attempt = Attempt::new("credential_lease", &ask.upstream.to_string());
            let done = upstreams::lease(&plane, &cx, gateway, ask).await;
            match plane.recorded(&cx, attempt, done).await {
                Ok(lease) => Ok(Ok(lease)),
                Err(error) if error.is_internal() => Err(server(error.to_string())),
                Err(error) => Ok(Err(refusal(&error))),
            }
        })
        .await
    }

    async fn tree_claim(
        &self,
        gateway: Id<Gateway>,
        task: Id<Task>,
    ) -> Result<TreeClaim, LinkError> {
        self.check_joined(gateway).await?;
        self.to_the_end(move |plane| async move { Ok(trees::claim(&plane, gateway, task).await?) })
            .await
    }

    async fn tree_release(
        &self,
        gateway: Id<Gateway>,
        trees: Vec<OwnedTree>,
    ) -> Result<(), LinkError> {
        self.check_joined(gateway).await?;
        self.to_the_end(move |plane| async move {
            let done = trees::release(&plane, gateway, &trees).await;
            done.map_err(|error| server(error.to_string()))
        })
        .await
    }

    async fn task_records(
        &self,
        gateway: Id<Gateway>,
        task: Id<Task>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, LinkError> {
        self.check_joined(gateway).await?;
        let records = trees::records(self, gateway, task, (skip, limit)).await;
        records.map_err(|error| server(error.to_string()))
    }
}

impl ControlPlane {
    async fn check_joined(&self, gateway: Id<Gateway>) -> Result<(), LinkError> {
        let enrolled = async {
            let mut reader = self.store().read().await?;
            is_enrolled_point(reader.as_mut(), Point::Gateway(gateway)).await
        };
        if enrolled.await.map_err(Fault::from)? {
            return Ok(());
        }
        Err(server(format!("gateway `{gateway}` has not joined")))
    }
}
