//! The server's side: who calls is looked up, and what is asked is handed on.

mod sessions;

use std::sync::Arc;

use aims_links::{
    Admit, Attestation, Control, CredentialAsk, DelegateCall, EndedInstance, JoinAsk, OwnedTree,
    Refusal, RequestedRun, ServiceAttestation, ServiceCall, Services,
};
use aims_model::PointKind;
use aims_types::Secret;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::fault::unavailable;
use crate::message::{json, lease_ask, needed, text};
use crate::peer::Caller;
use crate::proto::{self, admission_server, links_server};
use crate::session::{Messages, RemoteGateway, RemoteNode};
use sessions::Sessions;

/// What calls are handed on to.
#[derive(Clone)]
pub(crate) struct Service {
    control: Arc<dyn Control>,
    admit: Arc<dyn Admit>,
    services: Arc<dyn Services>,
    sessions: Sessions,
}

/// What the server does, by whom it is asked for.
pub(crate) type Ends = (Arc<dyn Control>, Arc<dyn Admit>, Arc<dyn Services>);

type Answer<T> = Result<Response<T>, Status>;

impl Service {
    pub(crate) fn new(
        (control, admit, services): Ends,
        (tasks, stopping): (TaskTracker, CancellationToken),
    ) -> Self {
        Self {
            control,
            sessions: Sessions::new(Arc::clone(&admit), tasks, stopping),
            admit,
            services,
        }
    }
}

#[tonic::async_trait]
impl admission_server::Admission for Service {
    async fn join(&self, request: Request<proto::JoinAsk>) -> Answer<proto::JoinAnswer> {
        let ask = request.into_inner();
        let kind = match ask.kind.as_str() {
            "node" => PointKind::Node,
            "gateway" => PointKind::Gateway,
            _ => return Err(Status::invalid_argument("a node or a gateway can join")),
        };
        let ask = JoinAsk {
            kind,
            token: Secret::new(ask.token),
            csr: ask.csr,
            host: ask.host,
        };
        let joined = self.admit.join(ask).await.map_err(unavailable)?;
        Ok(Response::new(joined.into()))
    }
}

#[tonic::async_trait]
impl links_server::Links for Service {
    type GatewaySessionStream = Messages<proto::GatewayAsked>;
    type NodeSessionStream = Messages<proto::NodeAsked>;

    async fn renew_svid(&self, request: Request<proto::SvidAsk>) -> Answer<proto::SvidAnswer> {
        let point = Caller::of(&request)?.point;
        let renewed = self.admit.svid_renew(point, request.into_inner().csr).await;
        Ok(Response::new(renewed.map_err(unavailable)?.into()))
    }

    async fn renew_lease(&self, request: Request<proto::LeaseAsk>) -> Answer<proto::LeaseAnswer> {
        let point = Caller::of(&request)?.point;
        let ask = lease_ask(point, request.into_inner())?;
        let granted = self.control.lease_renew(ask).await.map_err(unavailable)?;
        Ok(Response::new(granted.into()))
    }

    async fn redeem_run(&self, request: Request<proto::RunTicket>) -> Answer<proto::OrderAnswer> {
        let node = Caller::of(&request)?.node()?;
        let ticket = Secret::new(request.into_inner().ticket);
        let order = self.control.run_redeem(RequestedRun { node, ticket }).await;
        Ok(Response::new(order.map_err(unavailable)?.into()))
    }

    async fn refuse_run(&self, request: Request<proto::RefusedRun>) -> Answer<proto::Done> {
        let node = Caller::of(&request)?.node()?;
        let proto::RefusedRun { run, refusal } = request.into_inner();
        let refusal = needed("refusal", refusal)?.try_into()?;
        let run = text("run", &run)?;
        let done = self.control.run_refused(node, run, refusal).await;
        done.map_err(unavailable)?;
        Ok(Response::new(proto::Done {}))
    }

    async fn delegate(&self, request: Request<proto::DelegateCall>) -> Answer<proto::OrderAnswer> {
        let node = Caller::of(&request)?.node()?;
        let call = request.into_inner();
        let call = DelegateCall {
            node,
            instance: text("instance", &call.instance)?,
            request: call.request,
            wit: call.wit,
        };
        let order = self.control.delegate(call).await.map_err(unavailable)?;
        Ok(Response::new(order.into()))
    }

    async fn attest_instance(
        &self,
        request: Request<proto::Attestation>,
    ) -> Answer<proto::InstanceAnswer> {
        let node = Caller::of(&request)?.node()?;
        let attestation = request.into_inner();
        let attestation = Attestation {
            node,
            run: text("run", &attestation.run)?,
            posture: json("posture", &attestation.posture_json)?,
            jwk: attestation.jwk,
        };
        let granted = self.control.instance_attest(attestation).await;
        Ok(Response::new(granted.map_err(unavailable)?.into()))
    }

    async fn renew_instance(
        &self,
        request: Request<proto::InstanceEvidence>,
    ) -> Answer<proto::InstanceAnswer> {
        let node = Caller::of(&request)?.node()?;
        let seen = request.into_inner();
        let instance = text("instance", &seen.instance)?;
        let evidence = json("evidence", &seen.evidence_json)?;
        let granted = self.control.instance_renew(node, instance, evidence).await;
        Ok(Response::new(granted.map_err(unavailable)?.into()))
    }

    async fn end_instance(
        &self,
        request: Request<proto::EndedInstance>,
    ) -> Answer<proto::EndAnswer> {
        let node = Caller::of(&request)?.node()?;
        let ended = request.into_inner();
        let ended = EndedInstance {
            node,
            instance: text("instance", &ended.instance)?,
            how: ended.how,
        };
        let noted = self.control.instance_ended(ended).await;
        let refusal = noted.map_err(unavailable)?.err().map(Into::into);
        Ok(Response::new(proto::EndAnswer { refusal }))
    }

    async fn token(&self, request: Request<proto::TokenCall>) -> Answer<proto::TokenReply> {
        Caller::of(&request)?.node()?;
        let reply = self.control.token(request.into_inner().into()).await;
        Ok(Response::new(reply.map_err(unavailable)?.into()))
    }

    async fn attest_service(
        &self,
        request: Request<proto::ProcessSeen>,
    ) -> Answer<proto::ServiceAnswer> {
        let node = Caller::of(&request)?.node()?;
        let seen = json("seen", &request.into_inner().seen_json)?;
        let attestation = ServiceAttestation { node, seen };
        let grants = self.services.service_attest(attestation).await;
        Ok(Response::new(grants.map_err(unavailable)?.into()))
    }

    async fn service_svid(
        &self,
        request: Request<proto::ServiceSvidAsk>,
    ) -> Answer<proto::SvidAnswer> {
        let node = Caller::of(&request)?.node()?;
        let ask = request.into_inner();
        let call = ServiceCall {
            node,
            instance: text("instance", &ask.instance)?,
            seen: json("seen", &ask.seen_json)?,
        };
        let svid = self.services.service_svid(call, ask.csr).await;
        Ok(Response::new(svid.map_err(unavailable)?.into()))
    }

    async fn service_jwt(
        &self,
        request: Request<proto::ServiceJwtAsk>,
    ) -> Answer<proto::JwtAnswer> {
        let node = Caller::of(&request)?.node()?;
        let ask = request.into_inner();
        let call = ServiceCall {
            node,
            instance: text("instance", &ask.instance)?,
            seen: json("seen", &ask.seen_json)?,
        };
        let jwt = self.services.service_jwt(call, ask.audience).await;
        Ok(Response::new(jwt.map_err(unavailable)?.into()))
    }

    async fn end_service(&self, request: Request<proto::EndedInstance>) -> Answer<proto::Done> {
        let node = Caller::of(&request)?.node()?;
        let ended = request.into_inner();
        let ended = EndedInstance {
            node,
            instance: text("instance", &ended.instance)?,
            how: ended.how,
        };
        let done = self.services.service_ended(ended).await;
        done.map_err(unavailable)?;
        Ok(Response::new(proto::Done {}))
    }

    async fn trust_bundle(&self, request: Request<proto::Done>) -> Answer<proto::Bundle> {
        Caller::of(&request)?.node()?;
        let bundle = self.services.trust_bundle().await.map_err(unavailable)?;
        Ok(Response::new(bundle.into()))
    }

    async fn chain(&self, request: Request<proto::ChainAsk>) -> Answer<proto::ChainAnswer> {
        Caller::of(&request)?.gateway()?;
        let leaf = text("leaf", &request.into_inner().leaf)?;
        let chain = self.control.chain(leaf).await.map_err(unavailable)?;
        let chain = chain.map(Into::into);
        Ok(Response::new(proto::ChainAnswer { chain }))
    }

    async fn ship_records(&self, request: Request<proto::Records>) -> Answer<proto::RecordsHead> {
        let gateway = Caller::of(&request)?.gateway()?;
        let records = request.into_inner().records.into_iter();
        let records = records.map(Into::into).collect();
        let seq = self.control.records_ship(gateway, records).await;
        let seq = seq.map_err(unavailable)?;
        Ok(Response::new(proto::RecordsHead { seq }))
    }

    async fn head_of_records(&self, request: Request<proto::Done>) -> Answer<proto::RecordsHead> {
        let gateway = Caller::of(&request)?.gateway()?;
        let seq = self.control.records_head(gateway).await;
        let seq = seq.map_err(unavailable)?;
        Ok(Response::new(proto::RecordsHead { seq }))
    }

    async fn ask_approval(
        &self,
        request: Request<proto::ApprovalAsk>,
    ) -> Answer<proto::ApprovalAnswer> {
        let gateway = Caller::of(&request)?.gateway()?;
        let asked = json("asked", &request.into_inner().asked_json)?;
        let approval = self.control.approval_ask(gateway, asked).await;
        Ok(Response::new(approval.map_err(unavailable)?.into()))
    }

    async fn approval(&self, request: Request<proto::ApprovalId>) -> Answer<proto::ApprovalAnswer> {
        Caller::of(&request)?.gateway()?;
        let id = text("approval", &request.into_inner().approval)?;
        let approval = self.control.approval(id).await.map_err(unavailable)?;
        let answer = approval.map(|approval| Ok::<_, Refusal>(approval).into());
        Ok(Response::new(answer.unwrap_or_default()))
    }

    async fn lease_credential(
        &self,
        request: Request<proto::CredentialAsk>,
    ) -> Answer<proto::CredentialAnswer> {
        let gateway = Caller::of(&request)?.gateway()?;
        let proto::CredentialAsk { upstream, version } = request.into_inner();
        let upstream = text("upstream", &upstream)?;
        let ask = CredentialAsk { upstream, version };
        let lease = self.control.credential_lease(gateway, ask).await;
        Ok(Response::new(lease.map_err(unavailable)?.into()))
    }

    async fn claim_tree(&self, request: Request<proto::TaskId>) -> Answer<proto::TreeAnswer> {
        let gateway = Caller::of(&request)?.gateway()?;
        let task = text("task", &request.into_inner().task)?;
        let claim = self.control.tree_claim(gateway, task).await;
        Ok(Response::new(claim.map_err(unavailable)?.into()))
    }

    async fn release_trees(&self, request: Request<proto::OwnedTrees>) -> Answer<proto::Done> {
        let gateway = Caller::of(&request)?.gateway()?;
        let trees = request.into_inner().trees.into_iter();
        let trees = trees.map(|tree| {
            let task = text("task", &tree.task)?;
            let epoch = tree.epoch;
            Ok::<_, crate::MessageError>(OwnedTree { task, epoch })
        });
        let trees = trees.collect::<Result<Vec<_>, _>>()?;
        let released = self.control.tree_release(gateway, trees).await;
        released.map_err(unavailable)?;
        Ok(Response::new(proto::Done {}))
    }

    async fn task_records(
        &self,
        request: Request<proto::TaskRecordsAsk>,
    ) -> Answer<proto::TaskRecordsAnswer> {
        let gateway = Caller::of(&request)?.gateway()?;
        let proto::TaskRecordsAsk { task, skip, limit } = request.into_inner();
        let task = text("task", &task)?;
        let records = self.control.task_records(gateway, task, skip, limit).await;
        let records = records.map_err(unavailable)?;
        Ok(Response::new(proto::TaskRecordsAnswer { records }))
    }

    async fn gateway_session(
        &self,
        request: Request<Streaming<proto::GatewaySays>>,
    ) -> Answer<Self::GatewaySessionStream> {
        let caller = Caller::of(&request)?;
        caller.gateway()?;
        let (gateway, asked) = RemoteGateway::new(self.sessions.child_token());
        self.sessions.open(caller, request.into_inner(), gateway);
        Ok(Response::new(asked))
    }

    async fn node_session(
        &self,
        request: Request<Streaming<proto::NodeSays>>,
    ) -> Answer<Self::NodeSessionStream> {
        let caller = Caller::of(&request)?;
        caller.node()?;
        let (node, asked) = RemoteNode::new(self.sessions.child_token());
        self.sessions.open(caller, request.into_inner(), node);
        Ok(Response::new(asked))
    }
}
