//! Who may call what: every method, and everybody who may try.

use std::collections::BTreeSet;

use aims_model::PointKind;
use futures_util::future::BoxFuture;
use futures_util::stream::pending;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::world::{World, gateway, node, path_of};
use crate::proto::{self, links_client::LinksClient};

type Client = LinksClient<Channel>;
type Call = fn(Client) -> BoxFuture<'static, Result<(), Status>>;

/// A method of `Links`, and who may call it.
struct Route {
    name: &'static str,
    open_to: &'static [PointKind],
    call: Call,
}

const NODES: &[PointKind] = &[PointKind::Node];
const GATEWAYS: &[PointKind] = &[PointKind::Gateway];
const BOTH: &[PointKind] = &[PointKind::Node, PointKind::Gateway];

macro_rules! routes {
    ($($open_to:ident $name:ident $method:ident($message:expr);)*) => {
        [$(Route {
            name: stringify!($name),
            open_to: $open_to,
            call: |mut client: Client| Box::pin(async move {
                client.$method($message).await.map(drop)
            }),
        }),*]
    };
}

fn routes() -> Vec<Route> {
    routes! {
        BOTH RenewSvid renew_svid(proto::SvidAsk::default());
        BOTH RenewLease renew_lease(proto::LeaseAsk::default());
        NODES RedeemRun redeem_run(proto::RunTicket::default());
        NODES RefuseRun refuse_run(proto::RefusedRun::default());
        NODES Delegate delegate(proto::DelegateCall::default());
        NODES AttestInstance attest_instance(proto::Attestation::default());
        NODES RenewInstance renew_instance(proto::InstanceEvidence::default());
        NODES EndInstance end_instance(proto::EndedInstance::default());
        NODES Token token(proto::TokenCall::default());
        NODES AttestService attest_service(proto::ProcessSeen::default());
        NODES ServiceSvid service_svid(proto::ServiceSvidAsk::default());
        NODES ServiceJwt service_jwt(proto::ServiceJwtAsk::default());
        NODES EndService end_service(proto::EndedInstance::default());
        NODES TrustBundle trust_bundle(proto::Done::default());
        GATEWAYS Chain chain(proto::ChainAsk::default());
        GATEWAYS ShipRecords ship_records(proto::Records::default());
        GATEWAYS HeadOfRecords head_of_records(proto::Done::default());
        GATEWAYS AskApproval ask_approval(proto::ApprovalAsk::default());
        GATEWAYS Approval approval(proto::ApprovalId::default());
        GATEWAYS LeaseCredential lease_credential(proto::CredentialAsk::default());
        GATEWAYS ClaimTree claim_tree(proto::TaskId::default());
        GATEWAYS ReleaseTrees release_trees(proto::OwnedTrees::default());
        GATEWAYS TaskRecords task_records(proto::TaskRecordsAsk::default());
        GATEWAYS GatewaySession gateway_session(pending::<proto::GatewaySays>());
        NODES NodeSession node_session(pending::<proto::NodeSays>());
    }
    .into()
}

/// Whether a call came as far as what it asks for; a message without its members is malformed.
fn passed(answer: Result<(), Status>) -> bool {
    answer.map_or_else(|status| status.code() == Code::InvalidArgument, |()| true)
}

fn code(answer: Result<(), Status>) -> Code {
    answer.map_or_else(|status| status.code(), |()| Code::Ok)
}

#[test]
fn every_method_is_in_the_table() {
    let text = include_str!("../../proto/links.proto");
    let (_, links) = text.split_once("service Links {").unwrap();
    let (links, _) = links.split_once("\n}").unwrap();
    let methods = links
        .lines()
        .filter_map(|line| line.trim().strip_prefix("rpc "));
    let methods = methods.map(|method| method.split_once('(').unwrap().0);
    let table = routes();
    let named: BTreeSet<_> = table.iter().map(|route| route.name).collect();
    assert_eq!(methods.collect::<BTreeSet<_>>(), named);
}

#[tokio::test]
async fn each_method_is_open_to_whom_it_is_for_and_to_nobody_else() {
    let world = World::start().await;
    let client = |path: Option<&str>| LinksClient::new(world.channel(path));
    let nobody = client(None);
    let others = ["server", "agent/coder", "node", "node/x", "gateway/x/y"];
    let others = others.map(|path| (path, client(Some(path))));
    // An id of the other kind names nobody of this kind.
    let crossed = client(Some(&format!("node/{}", gateway())));
    let points = [node(), gateway()].map(|point| (point, client(Some(&path_of(point)))));
    for route in routes() {
        let name = route.name;
        let answer = (route.call)(nobody.clone()).await;
        assert_eq!(
            code(answer),
            Code::Unauthenticated,
            "{name} without a certificate"
        );
        for (path, client) in &others {
            let answer = (route.call)(client.clone()).await;
            assert_eq!(code(answer), Code::PermissionDenied, "{name} by {path}");
        }
        let answer = (route.call)(crossed.clone()).await;
        assert_eq!(
            code(answer),
            Code::PermissionDenied,
            "{name} by a crossed id"
        );
        for (point, client) in &points {
            let answer = (route.call)(client.clone()).await;
            if route.open_to.contains(&point.kind()) {
                assert!(passed(answer), "{name} by {point}");
            } else {
                assert_eq!(code(answer), Code::PermissionDenied, "{name} by {point}");
            }
            world.retire(*point);
            let answer = (route.call)(client.clone()).await;
            assert_eq!(
                code(answer),
                Code::PermissionDenied,
                "{name} by retired {point}"
            );
            world.enrol_again(*point);
        }
    }
}
