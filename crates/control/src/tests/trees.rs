//! Who owns the delegation tree of a task.

use std::sync::Arc;

use aims_lease::Terms;
use aims_links::{Control, LeaseAsk, LinkError, OwnedTree, ShippedRecord, TreeClaim};
use aims_model::record::FIRST_PREV;
use aims_model::{Event, EventKind, Point, Source};
use aims_types::{Actor, Gateway, Id, Revision, Task};

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
        self.renew_at(gateway, address, None).await;
    }

    async fn renew_at(
        &self,
        gateway: Id<Gateway>,
        address: Option<&str>,
        head: Option<(u64, aims_types::Digest)>,
    ) {
        let ask = LeaseAsk {
            point: Point::Gateway(gateway),
            in_force: Revision::ZERO,
            head,
            address: address.map(str::to_owned),
        };
        self.plane.lease_renew(ask).await.unwrap().unwrap();
    }

    async fn claim(&self, gateway: Id<Gateway>) -> TreeClaim {
        self.plane.tree_claim(gateway, self.task).await.unwrap()
    }

    fn lapse(&self) {
        self.world.clock.forward(Terms::default().span());
    }
}

fn owned(epoch: u64, before: bool) -> TreeClaim {
    TreeClaim::Owned { epoch, before }
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
    assert_eq!(grove.claim(OTHER).await, owned(1, false));
    assert_eq!(
        grove.claim(mine).await,
        TreeClaim::Elsewhere {
            gateway: OTHER,
            address: "other.example:1".to_owned()
        }
    );
    assert_eq!(grove.claim(OTHER).await, owned(2, true));
    let events = grove.world.records_of(EventKind::TreeOwned).await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].event.task, Some(grove.task));
    let body = &events[1].event.body;
    assert_eq!(body.get("epoch").unwrap().as_u64(), Some(2));
}

#[tokio::test]
async fn an_owner_without_an_address_is_not_forwarded_to() {
    let grove = Grove::new().await;
    assert_eq!(grove.claim(grove.world.gateway_id).await, owned(1, false));
    assert!(why(grove.claim(OTHER).await).contains("address"));
}

#[tokio::test]
async fn a_tree_that_was_given_back_moves_and_what_was_recorded_goes_with_it() {
    let grove = Grove::new().await;
    let mine = grove.world.gateway_id;
    grove.claim(mine).await;
    let event = Event::new(
        EventKind::CallDenied,
        grove.world.now(),
        aims_json::Object::new(),
    )
    .of_task(grove.task);
    let record = event.encode(Source::Gateway(mine), 1, FIRST_PREV).unwrap();
    let head = (1, aims_crypto::sha256(&record));
    grove.renew_at(mine, None, Some(head)).await;
    // Its log goes further than what is here.
    let early = grove.release(mine, 1).await;
    assert!(early.unwrap_err().reason.contains("hand over"));
    let shipped = ShippedRecord {
        seq: 1,
        record: record.clone(),
        material: None,
    };
    let taken = grove.plane.records_ship(mine, vec![shipped]).await;
    assert_eq!(taken.unwrap(), 1);
    for _ in 0..2 {
        let released = grove.release(mine, 1).await;
        released.unwrap();
    }
    let records = |gateway, skip| grove.plane.task_records(gateway, grove.task, skip, 10);
    assert!(records(mine, 0).await.is_err());
    assert!(records(OTHER, 0).await.is_err());
    assert_eq!(grove.claim(OTHER).await, owned(2, false));
    assert_eq!(records(OTHER, 0).await.unwrap(), [record]);
    assert!(records(OTHER, 1).await.unwrap().is_empty());
    assert!(records(mine, 0).await.is_err());
    // Who owns it no more gives nothing back.
    grove.release(mine, 1).await.unwrap();
    // Nor is what is owned anew given back by old news.
    grove.release(OTHER, 1).await.unwrap();
    assert_eq!(grove.claim(OTHER).await, owned(3, true));
    let events = grove.world.records_of(EventKind::TreeOwned).await;
    assert_eq!(events.len(), 4);
}

#[tokio::test]
async fn a_budget_of_a_lapsed_owner_is_not_taken_over_blindly() {
    let grove = Grove::new().await;
    let mine = grove.world.gateway_id;
    grove.claim(mine).await;
    grove.lapse();
    let no_lease = why(grove.claim(OTHER).await);
    assert!(no_lease.contains("lease"), "{no_lease}");
    grove.renew(OTHER, Some("other.example:1")).await;
    let incomplete = why(grove.claim(OTHER).await);
    assert!(incomplete.contains("hand over its log"), "{incomplete}");
    // It comes back and goes on, or gives it back.
    grove.renew(mine, Some("mine.example:1")).await;
    let TreeClaim::Elsewhere { gateway, .. } = grove.claim(OTHER).await else {
        panic!("somebody else has it");
    };
    assert_eq!(gateway, mine);
    assert_eq!(grove.claim(mine).await, owned(2, true));
}

#[tokio::test]
async fn a_tree_in_which_nothing_is_counted_moves_when_the_lease_of_its_owner_has_ended() {
    let mut grove = Grove::new().await;
    let mut consent = grove.world.consent(&grove.mia, "notes");
    consent.authority = authority_of(
        r#"{"authorization_details":[{"type":"mcp_tool","server":"git","actions":["git_log"],
            "arguments":{"repo_path":{"equals":"/srv/repo"}}}],"limits":{}}"#,
    );
    let consent = signed(&consent, &grove.mia.key);
    let cx = grove.world.cx(&grove.mia);
    let started = grove.plane.task_start(&cx, &consent).await.unwrap();
    grove.task = started.value.task.id;
    grove.claim(grove.world.gateway_id).await;
    grove.lapse();
    grove.renew(OTHER, None).await;
    assert_eq!(grove.claim(OTHER).await, owned(2, false));
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
