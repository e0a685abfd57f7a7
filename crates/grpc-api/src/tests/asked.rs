//! Everything that nodes and gateways ask for arrives as it was meant, and so do the answers.

use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use aims_crypto::sha256;
use aims_links::{
    Attestation, Chain, Control, CredentialAsk, CredentialLease, DelegateCall, EndedInstance,
    InstanceGrant, LaunchOrder, LeaseAsk, LeaseGrant, LinkError, OwnedTree, Refusal, RequestedRun,
    ShippedRecord, Telling, TokenCall, TokenReply, TreeClaim, TreeGrant,
};
use aims_model::approval::Asked;
use aims_model::{Approval, Evidence, Point, Unaccounted};
use aims_types::{self as types, Digest, Gateway, Id, Instance, Node, Revision, Run, Secret, Task};
use async_trait::async_trait;

use super::rich;
use super::world::{World, gateway, node};

/// A server that remembers what it was asked, and answers with rich values.
#[derive(Default)]
pub(super) struct FakeControl {
    pub(super) asked: Mutex<Vec<String>>,
    /// Refuses what can be refused.
    refuses: AtomicBool,
    /// Fails at everything.
    pub(super) fails: AtomicBool,
    /// Never answers.
    pub(super) hangs: AtomicBool,
    pub(super) heard: tokio::sync::Notify,
}

impl FakeControl {
    pub(super) async fn hear<T>(
        &self,
        asked: impl Debug + Send,
        answer: T,
    ) -> Result<T, LinkError> {
        self.asked.lock().unwrap().push(format!("{asked:?}"));
        self.heard.notify_one();
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(LinkError {
                peer: "server",
                reason: "the file /var/lib/aims/secret.db is locked".to_owned(),
            });
        }
        Ok(answer)
    }

    pub(super) async fn answer<T>(
        &self,
        asked: impl Debug + Send,
        answer: T,
    ) -> Result<Result<T, Refusal>, LinkError> {
        let answer = if self.refuses.load(Ordering::SeqCst) {
            Err(rich::refusal())
        } else {
            Ok(answer)
        };
        self.hear(asked, answer).await
    }

    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Control for FakeControl {
    async fn run_redeem(
        &self,
        run: RequestedRun,
    ) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        let asked = (run.node, run.ticket.expose().clone());
        self.answer(asked, rich::order()).await
    }

    async fn run_refused(
        &self,
        node: Id<Node>,
        run: Id<Run>,
        refusal: Refusal,
    ) -> Result<(), LinkError> {
        self.hear((node, run, refusal), ()).await
    }

    async fn delegate(
        &self,
        call: DelegateCall,
    ) -> Result<Result<LaunchOrder, Refusal>, LinkError> {
        self.answer(call, rich::order()).await
    }

    async fn instance_attest(
        &self,
        attestation: Attestation,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        self.answer(attestation, rich::instance()).await
    }

    async fn instance_renew(
        &self,
        node: Id<Node>,
        instance: Id<Instance>,
        evidence: Evidence,
    ) -> Result<Result<InstanceGrant, Refusal>, LinkError> {
        self.answer((node, instance, evidence), rich::instance())
            .await
    }

    async fn instance_ended(&self, ended: EndedInstance) -> Result<Result<(), Refusal>, LinkError> {
        self.answer(ended, ()).await
    }

    async fn token(&self, call: TokenCall) -> Result<TokenReply, LinkError> {
        let reply = TokenReply {
            status: 401,
            body: b"{\xff}".as_slice().into(),
        };
        self.hear((call.form, call.dpop), reply).await
    }

    async fn chain(&self, leaf: Digest) -> Result<Option<Chain>, LinkError> {
        let there = leaf == sha256(b"leaf");
        self.hear(leaf, there.then(rich::chain)).await
    }

    async fn records_ship(
        &self,
        gateway: Id<Gateway>,
        records: Vec<ShippedRecord>,
    ) -> Result<u64, LinkError> {
        self.hear((gateway, records), u64::MAX).await
    }

    async fn records_head(&self, gateway: Id<Gateway>) -> Result<u64, LinkError> {
        self.hear(gateway, 7).await
    }

    async fn lease_renew(&self, ask: LeaseAsk) -> Result<Result<LeaseGrant, Refusal>, LinkError> {
        self.answer(ask, rich::lease()).await
    }

    async fn approval_ask(
        &self,
        gateway: Id<Gateway>,
        asked: Asked,
    ) -> Result<Result<Approval, Refusal>, LinkError> {
        self.answer((gateway, asked), rich::approval()).await
    }

    async fn approval(&self, id: Id<types::Approval>) -> Result<Option<Approval>, LinkError> {
        let there = id == rich::approval().id;
        self.hear(id, there.then(rich::approval)).await
    }

    async fn credential_lease(
        &self,
        gateway: Id<Gateway>,
        ask: CredentialAsk,
    ) -> Result<Result<CredentialLease, Refusal>, LinkError> {
        self.answer((gateway, ask), rich::credential()).await
    }

    async fn tree_claim(
        &self,
        gateway: Id<Gateway>,
        task: Id<Task>,
    ) -> Result<TreeClaim, LinkError> {
        self.hear((gateway, task), claim(task)).await
    }

    async fn tree_release(
        &self,
        gateway: Id<Gateway>,
        trees: Vec<OwnedTree>,
    ) -> Result<(), LinkError> {
        self.hear((gateway, trees), ()).await
    }

    async fn task_records(
        &self,
        gateway: Id<Gateway>,
        task: Id<Task>,
        skip: u64,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, LinkError> {
        let records = vec![Vec::new(), vec![0, 255]];
        self.hear((gateway, task, skip, limit), records).await
    }
}

/// Each answer that there can be.
fn claim(task: Id<Task>) -> TreeClaim {
    match task.as_u128() {
        1 => TreeClaim::Owned(TreeGrant {
            epoch: u64::MAX,
            before: true,
            window: u32::MAX,
            revision: Revision::new(u64::MAX),
            unaccounted: vec![Unaccounted {
                gateway: Id::from_u128(3),
                uses: u32::MAX,
                since: Revision::new(1),
            }],
        }),
        2 => TreeClaim::Elsewhere {
            gateway: Id::from_u128(3),
            address: "[::1]:8713".to_owned(),
        },
        _ => TreeClaim::Unavailable { why: String::new() },
    }
}

/// What was asked last, and the answer.
fn check<T: Debug>(world: &World, asked: &impl Debug, answer: &T, expected: &T) {
    assert_eq!(world.control.take(), [format!("{asked:?}")]);
    assert_eq!(format!("{answer:?}"), format!("{expected:?}"));
}

fn ids() -> (Id<Node>, Id<Gateway>) {
    match (node(), gateway()) {
        (Point::Node(node), Point::Gateway(gateway)) => (node, gateway),
        _ => panic!("a node and a gateway"),
    }
}

#[tokio::test]
async fn what_a_node_asks_for_arrives_in_the_name_of_its_certificate() {
    let world = World::start().await;
    let links = world.links(node());
    let (me, other) = (ids().0, Id::from_u128(99));
    for refuses in [false, true] {
        world.control.refuses.store(refuses, Ordering::SeqCst);
        let order = if refuses {
            Err(rich::refusal())
        } else {
            Ok(rich::order())
        };
        let granted = if refuses {
            Err(rich::refusal())
        } else {
            Ok(rich::instance())
        };

        let ticket = Secret::new("aims_rt_x".to_owned());
        let got = links
            .run_redeem(RequestedRun {
                node: other,
                ticket,
            })
            .await;
        check(&world, &(me, "aims_rt_x"), &got.unwrap(), &order);

        let mut call = DelegateCall {
            node: other,
            instance: Id::from_u128(6),
            request: "r.r.r".to_owned(),
            wit: "w.w.w".to_owned(),
        };
        let got = links.delegate(call.clone()).await.unwrap();
        call.node = me;
        check(&world, &call, &got, &order);

        let mut attestation = Attestation {
            node: other,
            run: Id::from_u128(3),
            posture: rich::posture(),
            jwk: "{}".to_owned(),
        };
        let got = links.instance_attest(attestation.clone()).await.unwrap();
        attestation.node = me;
        check(&world, &attestation, &got, &granted);

        let (instance, evidence) = (Id::from_u128(6), rich::evidence());
        let got = links.instance_renew(other, instance, evidence).await;
        check(
            &world,
            &(me, instance, rich::evidence()),
            &got.unwrap(),
            &granted,
        );
    }
}

#[tokio::test]
async fn what_a_node_says_and_its_token_requests_arrive_in_the_name_of_its_certificate() {
    let world = World::start().await;
    let links = world.links(node());
    let (me, other) = (ids().0, Id::from_u128(99));
    links
        .run_refused(other, Id::from_u128(3), rich::refusal())
        .await
        .unwrap();
    check(
        &world,
        &(me, Id::<Run>::from_u128(3), rich::refusal()),
        &(),
        &(),
    );

    let mut ended = EndedInstance {
        node: other,
        instance: Id::from_u128(6),
        how: "exited 0".to_owned(),
    };
    let got = links.instance_ended(ended.clone()).await.unwrap();
    ended.node = me;
    check(&world, &ended, &got, &Ok(()));
    world.control.refuses.store(true, Ordering::SeqCst);
    let got = links.instance_ended(ended.clone()).await.unwrap();
    check(&world, &ended, &got, &Err(rich::refusal()));
    world.retire(node());
    let got = links.instance_ended(ended).await.unwrap();
    assert_eq!(got.unwrap_err().code, "not_enrolled");
    world.enrol_again(node());

    let call = TokenCall {
        form: b"a=\xff".as_slice().into(),
        dpop: "p.p.p".to_owned(),
    };
    let got = links.token(call.clone()).await.unwrap();
    assert_eq!((got.status, got.body.as_ref()), (401, b"{\xff}".as_slice()));
    check(&world, &(call.form, call.dpop), &(), &());
}

#[tokio::test]
async fn what_a_gateway_asks_for_arrives_in_the_name_of_its_certificate() {
    let world = World::start().await;
    let links = world.links(gateway());
    let (me, other) = (ids().1, Id::from_u128(99));

    for (name, there) in [("leaf", true), ("other", false)] {
        let leaf = sha256(name.as_bytes());
        let got = links.chain(leaf).await.unwrap();
        check(&world, &leaf, &got, &there.then(rich::chain));
    }
    let got = links.records_ship(other, rich::records()).await.unwrap();
    check(&world, &(me, rich::records()), &got, &u64::MAX);
    let got = links.records_head(other).await.unwrap();
    check(&world, &me, &got, &7);

    for refuses in [false, true] {
        world.control.refuses.store(refuses, Ordering::SeqCst);
        let got = links.approval_ask(other, rich::asked()).await.unwrap();
        let expected = if refuses {
            Err(rich::refusal())
        } else {
            Ok(rich::approval())
        };
        check(&world, &(me, rich::asked()), &got, &expected);
    }
    for refuses in [true, false] {
        world.control.refuses.store(refuses, Ordering::SeqCst);
        let ask = CredentialAsk {
            upstream: Id::from_u128(11),
            version: u32::MAX,
        };
        let got = links.credential_lease(other, ask).await.unwrap();
        assert_eq!(world.control.take(), [format!("{:?}", (me, ask))]);
        // `Debug` does not show a key.
        let parts = |lease: CredentialLease| (lease.sealed, lease.key.expose().clone());
        let expected = if refuses {
            Err(rich::refusal())
        } else {
            Ok(parts(rich::credential()))
        };
        assert_eq!(got.map(parts), expected);
    }
    for (id, there) in [(rich::approval().id, true), (Id::from_u128(1), false)] {
        let got = links.approval(id).await.unwrap();
        check(&world, &id, &got, &there.then(rich::approval));
    }
    for task in [1, 2, 3].map(Id::from_u128) {
        let got = links.tree_claim(other, task).await.unwrap();
        check(&world, &(me, task), &got, &claim(task));
    }
    let tree = |n| OwnedTree {
        task: Id::from_u128(n),
        epoch: u64::MAX,
    };
    let trees = vec![tree(1), tree(2)];
    links.tree_release(other, trees.clone()).await.unwrap();
    check(&world, &(me, trees), &(), &());
    let task = Id::from_u128(1);
    let got = links.task_records(other, task, u64::MAX, 3).await.unwrap();
    let expected = vec![Vec::new(), vec![0, 255]];
    check(&world, &(me, task, u64::MAX, 3), &got, &expected);
}

#[tokio::test]
async fn nodes_and_gateways_renew_leases_and_certificates() {
    let world = World::start().await;
    for me in [node(), gateway()] {
        let links = world.links(me);
        for refuses in [false, true] {
            world.control.refuses.store(refuses, Ordering::SeqCst);
            let mut ask = LeaseAsk {
                point: Point::Node(Id::from_u128(99)),
                in_force: Revision::new(u64::MAX),
                head: (!refuses).then(|| (3, sha256(b"head"))),
                address: refuses.then(|| "gateway.test:8713".to_owned()),
                telling: refuses.then_some(Telling {
                    process: u64::MAX,
                    number: 7,
                }),
            };
            let got = links.lease_renew(ask.clone()).await.unwrap();
            ask.point = me;
            let expected = if refuses {
                Err(rich::refusal())
            } else {
                Ok(rich::lease())
            };
            check(&world, &ask, &got, &expected);
        }
        let got = links.renew_svid(vec![1, 2, 3]).await.unwrap();
        assert_eq!(got, Ok(rich::svid()));
        let asked = std::mem::take(&mut *world.admit.asked.lock().unwrap());
        assert_eq!(asked, [format!("{me} [1, 2, 3]")]);
    }
}

#[tokio::test]
async fn what_went_wrong_within_the_server_stays_there() {
    let world = World::start().await;
    world.control.fails.store(true, Ordering::SeqCst);
    let error = world.links(gateway()).records_head(Id::from_u128(1)).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("its log says why"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}
