//! Who owns the delegation tree of a task.

use std::sync::Arc;

use aims_lease::Terms;
use aims_links::{Control, LeaseAsk, LinkError, OwnedTree, ShippedRecord, TreeClaim};
use aims_model::record::FIRST_PREV;
use aims_model::{Event, EventKind, Point, Source};
use aims_types::{Actor, Digest, Gateway, Id, Revision, Task};

use super::joins::with_log;
use super::peer::Peer;
use super::world::{Somebody, World, authority_of, jwk, new_key, signed};
use crate::ControlPlane;

/// The gateway that joins besides the world's own.
const OTHER: Id<Gateway> = Id::from_u128(77);

struct Grove {
    world: World,
    plane: ControlPlane,
    task: Id<Task>,
    mia: Somebody,
}

impl Grove {
    async fn release(&self, gateway: Id<Gateway>, epoch: u64) -> Result<(), LinkError> {
        let tree = OwnedTree {
            task: self.task,
            epoch,
        };
        self.plane.tree_release(gateway, vec![tree]).await
    }

    /// Two gateways with leases, and a task with a budget.
    async fn new() -> Self {
        let (world, mia) = World::ready().await;
        let task = world.start(&mia, "notes").await.task.id;
        let (plane, _) = with_log(&world).await;
        let cx = plane.cx(Actor::Server).unwrap();
        let (jwk, peer) = (jwk(&new_key()), Arc::new(Peer::default()));
        plane.gateway_join(&cx, OTHER, &jwk, peer).await.unwrap();
        let grove = Self {
            world,
            plane,
            task,
            mia,
        };
        grove.renew(grove.world.gateway_id, None).await;
        grove.renew(OTHER, Some("other.example:1")).await;
        grove
    }

    async fn renew(&self, gateway: Id<Gateway>, address: Option<&str>) {
        self.renew_at(gateway, address, (None, Revision::ZERO))
            .await;
    }

    async fn renew_at(
        &self,
        gateway: Id<Gateway>,
        address: Option<&str>,
        (head, in_force): (Option<(u64, Digest)>, Revision),
    ) {
        let ask = LeaseAsk {
            point: Point::Gateway(gateway),
            in_force,
            head,
            address: address.map(str::to_owned),
            telling: None,
        };
        self.plane.lease_renew(ask).await.unwrap().unwrap();
    }

    async fn claim(&self, gateway: Id<Gateway>) -> TreeClaim {
        self.plane.tree_claim(gateway, self.task).await.unwrap()
    }

    /// Epoch, whether it owned the tree before, and who is unaccounted for with how many uses.
    async fn owns(&self, gateway: Id<Gateway>) -> (u64, bool, Vec<(Id<Gateway>, u32)>) {
        let TreeClaim::Owned(grant) = self.claim(gateway).await else {
            panic!("it owns it")
        };
        let lost = grant.unaccounted.iter().map(|one| (one.gateway, one.uses));
        (grant.epoch, grant.before, lost.collect())
    }

    /// Starts another task with these limits.
    async fn limit(&mut self, limits: &str) {
        let mut consent = self.world.consent(&self.mia, "notes");
        consent.authority = authority_of(&format!(
            r#"{{"authorization_details":[{{"type":"mcp_tool","server":"git",
            "actions":["git_log"],"arguments":{{"repo_path":{{"equals":"/srv/repo"}},
            "max_count":{{"range":{{"min":"0","max":"50"}}}}}}}}],
            "limits":{limits}}}"#
        ));
        let consent = signed(&consent, &self.mia.key);
        let cx = self.world.cx(&self.mia);
        let started = self.plane.task_start(&cx, &consent).await.unwrap();
        self.task = started.value.task.id;
    }

    /// The end of a log that has one record about the task, and the record.
    fn record(&self, gateway: Id<Gateway>) -> ((u64, Digest), ShippedRecord) {
        let body = aims_json::Object::new();
        let event = Event::new(EventKind::CallDenied, self.world.now(), body).of_task(self.task);
        let source = Source::Gateway(gateway);
        let record = event.encode(source, 1, FIRST_PREV).unwrap();
        let head = (1, aims_crypto::sha256(&record));
        let shipped = ShippedRecord {
            seq: 1,
            record,
            material: None,
        };
        (head, shipped)
    }

    fn lapse(&self) {
        self.world.clock.forward(Terms::default().span());
    }
}

fn why(claim: TreeClaim) -> String {
    match claim {
        TreeClaim::Unavailable { why } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_tree_has_one_owner_and_others_learn_where_it_is() {
    let grove = Grove::new().await;
    let mine = grove.world.gateway_id;
    assert_eq!(grove.owns(OTHER).await, (1, false, vec![]));
    assert_eq!(
        grove.claim(mine).await,
        TreeClaim::Elsewhere {
            gateway: OTHER,
            address: "other.example:1".to_owned()
        }
    );
    assert_eq!(grove.owns(OTHER).await, (2, true, vec![]));
    let events = grove.world.records_of(EventKind::TreeOwned).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].event.task, Some(grove.task));
    let body = &events[1].event.body;
    assert_eq!(body.get("epoch").unwrap().as_u64(), Some(2));
}

#[tokio::test]
async fn an_owner_without_an_address_is_not_forwarded_to() {
    let grove = Grove::new().await;
    assert_eq!(grove.owns(grove.world.gateway_id).await, (1, false, vec![]));
    assert!(why(grove.claim(OTHER).await).contains("address"));
}

#[tokio::test]
async fn a_tree_that_was_given_back_moves_and_what_was_recorded_goes_with_it() {
    let grove = Grove::new().await;
    let mine = grove.world.gateway_id;
    grove.claim(mine).await;
    let (head, shipped) = grove.record(mine);
    let record = shipped.record.clone();
    grove
        .renew_at(mine, None, (Some(head), Revision::ZERO))
        .await;
    // Its log goes further than what is here.
    let early = grove.release(mine, 1).await;
    assert!(early.unwrap_err().reason.contains("hand over"));
    let taken = grove.plane.records_ship(mine, vec![shipped]).await;
    assert_eq!(taken.unwrap(), 1);
    for _ in 0..2 {
        let released = grove.release(mine, 1).await;
        released.unwrap();
    }
    let records = |gateway, skip| grove.plane.task_records(gateway, grove.task, skip, 10);
    assert!(records(mine, 0).await.is_err());
    assert!(records(OTHER, 0).await.is_err());
    assert_eq!(grove.owns(OTHER).await, (2, false, vec![]));
    assert_eq!(records(OTHER, 0).await.unwrap(), [record]);
    assert!(records(OTHER, 1).await.unwrap().is_empty());
    assert!(records(mine, 0).await.is_err());
    // Who owns it no more gives nothing back.
    grove.release(mine, 1).await.unwrap();
    // Nor is what is owned anew given back by old news.
    grove.release(OTHER, 1).await.unwrap();
    assert_eq!(grove.owns(OTHER).await, (3, true, vec![]));
    let events = grove.world.records_of(EventKind::TreeOwned).await;
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn a_lapsed_owner_is_followed_by_another_that_is_told_what_may_be_lost() {
    let mut grove = Grove::new().await;
    grove
        .limit(r#"{"uses":40,"rate":{"count":24,"per_secs":60}}"#)
        .await;
    let mine = grove.world.gateway_id;
    grove.renew(mine, None).await;
    let TreeClaim::Owned(grant) = grove.claim(mine).await else {
        panic!("nobody else has it")
    };
    assert_eq!(grant.window, 3, "an eighth of the least limit");
    grove.lapse();
    let no_lease = why(grove.claim(OTHER).await);
    assert!(no_lease.contains("lease"), "{no_lease}");
    grove.renew(OTHER, Some("other.example:1")).await;
    let before = grove.world.revision().await;
    let TreeClaim::Owned(grant) = grove.claim(OTHER).await else {
        panic!("its lease has ended")
    };
    assert!(grant.revision > before, "a state without its approvals");
    let [lost] = grant.unaccounted.as_slice() else {
        panic!("{grant:?}")
    };
    assert_eq!(
        (lost.gateway, lost.uses, lost.since),
        (mine, 3, grant.revision)
    );
    let events = grove.world.records_of(EventKind::TreeOwned).await;
    let body = &events.last().unwrap().event.body;
    let from = body.get("taken_from").unwrap().as_str();
    assert_eq!(from, Some(mine.to_string().as_str()));
    assert_eq!(
        body.get("unaccounted").unwrap().as_array().unwrap().len(),
        1
    );
    // Who comes back is not the owner any more, and who is lost next is charged too.
    grove.lapse();
    grove.renew(mine, Some("mine.example:1")).await;
    assert_eq!(
        grove.owns(mine).await,
        (3, false, vec![(mine, 3), (OTHER, 3)])
    );
}

#[tokio::test]
async fn a_gateway_is_accounted_for_by_the_end_of_its_log_that_it_read_after_the_take_over() {
    let grove = Grove::new().await;
    let mine = grove.world.gateway_id;
    grove.claim(mine).await;
    let before = grove.world.revision().await;
    let (head, shipped) = grove.record(mine);
    grove.lapse();
    grove.renew(OTHER, Some("other.example:1")).await;
    let TreeClaim::Owned(grant) = grove.claim(OTHER).await else {
        panic!("its lease has ended")
    };
    let since = grant.revision;
    let lost = async || grove.owns(OTHER).await.2.len();
    // A request that was sent before and comes late: all of its log seems to be here.
    grove.renew_at(mine, None, (None, before)).await;
    assert_eq!(lost().await, 1);
    // It says where its log ends now, and that is not here yet.
    grove.renew_at(mine, None, (Some(head), since)).await;
    assert_eq!(lost().await, 1);
    assert_eq!(
        grove.plane.records_ship(mine, vec![shipped]).await.unwrap(),
        1
    );
    assert_eq!(lost().await, 1, "the next renewal tells");
    grove.renew_at(mine, None, (Some(head), since)).await;
    assert_eq!(lost().await, 0);
    let events = grove.world.records_of(EventKind::TreeAccounted).await;
    let [event] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(event.event.body.get("head").unwrap().as_u64(), Some(1));
    // An orderly change of owner brings nothing back.
    let epoch = grove.owns(OTHER).await.0;
    grove.release(OTHER, epoch).await.unwrap();
    assert_eq!(grove.owns(mine).await, (epoch + 1, false, vec![]));
}

#[tokio::test]
async fn who_is_unaccounted_for_stays_so_when_the_tree_is_given_back() {
    let grove = Grove::new().await;
    let mine = grove.world.gateway_id;
    grove.claim(mine).await;
    grove.lapse();
    grove.renew(OTHER, Some("other.example:1")).await;
    let (epoch, _, lost) = grove.owns(OTHER).await;
    assert_eq!(lost.len(), 1);
    grove.release(OTHER, epoch).await.unwrap();
    grove.renew(mine, None).await;
    assert_eq!(grove.owns(mine).await, (epoch + 1, false, lost));
}

#[tokio::test]
async fn a_sum_of_a_lapsed_owner_is_not_taken_over() {
    let mut grove = Grove::new().await;
    let mine = grove.world.gateway_id;
    grove
        .limit(r#"{"sums":[{"argument":"max_count","max":"100"}]}"#)
        .await;
    grove.renew(mine, None).await;
    grove.claim(mine).await;
    grove.lapse();
    grove.renew(OTHER, Some("other.example:1")).await;
    let unknown = why(grove.claim(OTHER).await);
    assert!(unknown.contains("hand over its log"), "{unknown}");
    // It comes back and goes on.
    grove.renew(mine, Some("mine.example:1")).await;
    let TreeClaim::Elsewhere { gateway, .. } = grove.claim(OTHER).await else {
        panic!("somebody else has it");
    };
    assert_eq!(gateway, mine);
    assert_eq!(grove.owns(mine).await, (2, true, vec![]));
}

#[tokio::test]
async fn strangers_and_unknown_tasks_own_nothing() {
    let mut grove = Grove::new().await;
    let stranger = Id::from_u128(5);
    let (plane, task) = (&grove.plane, grove.task);
    assert!(plane.tree_claim(stranger, task).await.is_err());
    assert!(
        plane
            .tree_release(stranger, vec![OwnedTree { task, epoch: 1 }])
            .await
            .is_err()
    );
    assert!(plane.task_records(stranger, task, 0, 1).await.is_err());
    grove.task = Id::from_u128(5);
    assert!(why(grove.claim(OTHER).await).contains("no task"));
}
