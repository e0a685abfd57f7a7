//! The side of nodes and gateways: the server, over the network.

mod sessions;

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aims_links::{
    Attestation, Chain, Control, CredentialAsk, CredentialLease, DelegateCall, EndedInstance,
    InstanceGrant, JoinAsk, Joined, LaunchOrder, LeaseAsk, LeaseGrant, LinkError, OwnedTree,
    Refusal, RequestedRun, ShippedRecord, Svid, TokenCall, TokenReply, TreeClaim,
};
use aims_model::approval::Asked;
use aims_model::{Approval, Evidence};
use aims_tls::{Connector, PinnedConnector};
use aims_types::{self as types, Digest, Gateway, Id, Instance, Node, Run, Task};
use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::dial::{dial, dial_pinned};
use crate::message::{MessageError, needed, to_json};
use crate::proto::{self, admission_client::AdmissionClient, links_client::LinksClient};
use crate::{HEARD_LEN_MAX, MESSAGE_LEN_MAX};

/// How long the server may take to answer: some calls wait until nothing goes on any more that
/// was cut off, which is bounded by leases.
pub const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// The server, as a node or gateway on another host sees it.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    address: String,
    connector: Connector,
    client: Mutex<LinksClient<Channel>>,
    /// Moves with each new connection.
    redialled: watch::Sender<()>,
}

/// Why a process did not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The server did not answer, or is not the pinned one.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The server refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Joins: hands over a single-use token and a certificate request to the server at `address`
/// (`host:port`) that `connector` pins, and gets an identity.
pub async fn join(
    address: &str,
    connector: PinnedConnector,
    ask: JoinAsk,
) -> Result<Joined, JoinError> {
    let mut client = AdmissionClient::new(dial_pinned(address, connector));
    let ask = proto::JoinAsk {
        kind: ask.kind.as_str().to_owned(),
        token: ask.token.expose().clone(),
        csr: ask.csr,
        host: ask.host,
    };
    let answer: Result<Joined, Refusal> = read(client.join(ask)).await?;
    Ok(answer?)
}

/// What is answered within [`CALL_TIMEOUT`]. Connecting, and waiting for others who connect, are
/// within it too.
async fn answer<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, LinkError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(|status| no_answer(&status)),
        Err(_) => Err(late()),
    }
}

fn late() -> LinkError {
    no_answer(&Status::deadline_exceeded("it took too long"))
}

/// Who is not heard is not heard later either: a retired key stays retired.
fn not_heard(status: &Status) -> Refusal {
    Refusal {
        code: "not_enrolled".into(),
        reason: status.message().to_owned(),
        gaps: Vec::new(),
    }
}

/// What an answer says.
pub(crate) async fn read<W, T>(
    call: impl Future<Output = Result<Response<W>, Status>>,
) -> Result<T, LinkError>
where
    T: TryFrom<W>,
    T::Error: Into<MessageError>,
{
    let answer = answer(call).await?.into_inner();
    T::try_from(answer).map_err(|error| unreadable(&error.into()))
}

fn no_answer(status: &Status) -> LinkError {
    let mut reason = format!("{}: {}", status.code(), status.message());
    // Why a connection failed is further down.
    let mut source = status.source();
    while let Some(error) = source {
        let why = error.to_string();
        if !reason.ends_with(&why) {
            reason = format!("{reason}: {why}");
        }
        source = error.source();
    }
    LinkError {
        peer: "server",
        reason,
    }
}

pub(crate) fn unreadable(error: &MessageError) -> LinkError {
    LinkError {
        peer: "server",
        reason: error.to_string(),
    }
}

fn dialled(address: &str, connector: &Connector) -> LinksClient<Channel> {
    LinksClient::new(dial(address, connector.clone()))
        .max_decoding_message_size(MESSAGE_LEN_MAX)
        .max_encoding_message_size(HEARD_LEN_MAX)
}

impl Links {
    /// The server at `address` (`host:port`), as the identity of `connector`. It is dialled when it
    /// is asked, and again when a connection has ended.
    pub fn new(address: impl Into<String>, connector: Connector) -> Self {
        let address = address.into();
        let client = Mutex::new(dialled(&address, &connector));
        Self(Arc::new(Inner {
            address,
            connector,
            client,
            redialled: watch::Sender::new(()),
        }))
    }

    /// Makes a new connection for everything from now on, and for the session. Called when the
    /// certificate was renewed: the server ends a connection with the certificate that it began
    /// with. What is under way comes to its end over the old one.
    pub fn redial(&self) {
        let client = dialled(&self.0.address, &self.0.connector);
        *self.0.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        self.0.redialled.send_replace(());
    }

    pub(crate) fn client(&self) -> LinksClient<Channel> {
        let client = self.0.client.lock();
        client.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for the next certificate for the same key.
    pub async fn renew_svid(&self, csr: Vec<u8>) -> Result<Result<Svid, Refusal>, LinkError> {
        read(self.client().renew_svid(proto::SvidAsk { csr })).await
    }
}

#[async_trait]
impl Control for Links {
    async fn run_redeem(
        &self,
        run: RequestedRun,
    ) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        let ticket = run.ticket.expose().clone();
        read(self.client().redeem_run(proto::RunTicket { ticket })).await
    }

    async fn run_refused(
        &self,
        _: Id<Node>,
        run: Id<Run>,
        refusal: Refusal,
    ) -> Result<(), LinkError> {
        let refused = proto::RefusedRun {
            run: run.to_string(),
            refusal: Some(refusal.into()),
        };
        read(self.client().refuse_run(refused))
            .await
            .map(|_: proto::Done| ())
    }

    async fn delegate(
        &self,
        call: DelegateCall,
    ) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        let call = proto::DelegateCall {
            instance: call.instance.to_string(),
            request: call.request,
            wit: call.wit,
        };
        read(self.client().delegate(call)).await
    }

    async fn instance_attest(
        &self,
        attestation: Attestation,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        let attestation = proto::Attestation {
            run: attestation.run.to_string(),
            posture_json: to_json(&attestation.posture),
            jwk: attestation.jwk,
        };
        read(self.client().attest_instance(attestation)).await
    }

    async fn instance_renew(
        &self,
        _: Id<Node>,
        instance: Id<Instance>,
        evidence: Evidence,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        let seen = proto::InstanceEvidence {
            instance: instance.to_string(),
            evidence_json: to_json(&evidence),
        };
        read(self.client().renew_instance(seen)).await
    }

    async fn instance_ended(&self, ended: EndedInstance) -> Result<Result<(), Refusal>, LinkError> {
        let ended = proto::EndedInstance {
            instance: ended.instance.to_string(),
            how: ended.how,
        };
        let mut client = self.client();
        let noted = match timeout(CALL_TIMEOUT, client.end_instance(ended)).await {
            Ok(Err(status)) if status.code() == Code::PermissionDenied => {
                return Ok(Err(not_heard(&status)));
            }
            Ok(noted) => noted.map_err(|status| no_answer(&status))?,
            Err(_) => return Err(late()),
        };
        let refusal = noted.into_inner().refusal.map(Refusal::try_from);
        let refusal = refusal.transpose().map_err(|error| unreadable(&error))?;
        Ok(refusal.map_or(Ok(()), Err))
    }

    async fn token(&self, call: TokenCall) -> Result<TokenReply, LinkError> {
        read(self.client().token(proto::TokenCall::from(call))).await
    }

    async fn chain(&self, leaf: Digest) -> Result<Option<Chain>, LinkError> {
        let leaf = leaf.to_string();
        let answer: proto::ChainAnswer =
            read(self.client().chain(proto::ChainAsk { leaf })).await?;
        let chain = answer.chain.map(Chain::try_from).transpose();
        chain.map_err(|error| unreadable(&error))
    }

    async fn records_ship(
        &self,
        _: Id<Gateway>,
        records: Vec<ShippedRecord>,
    ) -> Result<u64, LinkError> {
        let records = records.into_iter().map(Into::into).collect();
        let mut client = self.client();
        read(client.ship_records(proto::Records { records }))
            .await
            .map(|head: proto::RecordsHead| head.seq)
    }

    async fn records_head(&self, _: Id<Gateway>) -> Result<u64, LinkError> {
        let mut client = self.client();
        let head: proto::RecordsHead = read(client.head_of_records(proto::Done {})).await?;
        Ok(head.seq)
    }

    async fn lease_renew(&self, ask: LeaseAsk) -> Result<Result<LeaseGrant, Refusal>, LinkError> {
        read(self.client().renew_lease(proto::LeaseAsk::from(ask))).await
    }

    async fn approval_ask(
        &self,
        _: Id<Gateway>,
        asked: Asked,
    ) -> Result<Result<Approval, Refusal>, LinkError> {
        let asked = proto::ApprovalAsk::from(asked);
        let answer: proto::ApprovalAnswer = read(self.client().ask_approval(asked)).await?;
        let answer = crate::answer::approval(answer).map_err(|error| unreadable(&error))?;
        needed("answer", answer).map_err(|error| unreadable(&error))
    }

    async fn approval(&self, id: Id<types::Approval>) -> Result<Option<Approval>, LinkError> {
        let approval = id.to_string();
        let mut client = self.client();
        let answer = client.approval(proto::ApprovalId { approval });
        let answer: proto::ApprovalAnswer = read(answer).await?;
        let answer = crate::answer::approval(answer).map_err(|error| unreadable(&error))?;
        answer.transpose().map_err(|refusal| LinkError {
            peer: "server",
            reason: refusal.reason,
        })
    }

    async fn credential_lease(
        &self,
        _: Id<Gateway>,
        ask: CredentialAsk,
    ) -> Result<Result<CredentialLease, Refusal>, LinkError> {
        let ask = proto::CredentialAsk {
            upstream: ask.upstream.to_string(),
            version: ask.version,
        };
        read(self.client().lease_credential(ask)).await
    }

    async fn tree_claim(&self, _: Id<Gateway>, task: Id<Task>) -> Result<TreeClaim, LinkError> {
        let task = task.to_string();
        read(self.client().claim_tree(proto::TaskId { task })).await
    }

    async fn tree_release(&self, _: Id<Gateway>, trees: Vec<OwnedTree>) -> Result<(), LinkError> {
        let epoch = |tree: OwnedTree| proto::TreeEpoch {
            task: tree.task.to_string(),
            epoch: tree.epoch,
        };
        let trees = trees.into_iter().map(epoch).collect();
        let mut client = self.client();
        read(client.release_trees(proto::OwnedTrees { trees }))
            .await
            .map(|_: proto::Done| ())
    }

    async fn task_records(
        &self,
        _: Id<Gateway>,
        task: Id<Task>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, LinkError> {
        let task = task.to_string();
        let ask = proto::TaskRecordsAsk { task, skip, limit };
        let mut client = self.client();
        let answer: proto::TaskRecordsAnswer = read(client.task_records(ask)).await?;
        Ok(answer.records)
    }
}
