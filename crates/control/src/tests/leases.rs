//! What a kill waits for, and who gets a lease.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aims_crypto::sha256;
use aims_lease::Terms;
use aims_links::{Control, LeaseAsk, ShippedRecord, Step, Telling};
use aims_model::receipt::{Ended, How, PointReceipt};
use aims_model::record::FIRST_PREV;
use aims_model::{Event, EventKind, Point, Role, Source, Subject};
use aims_types::{Actor, Digest, Id, Revision};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::joins::with_log;
use super::world::{POLICY, World, text};
use crate::{ControlPlane, Parts};

fn span() -> Duration {
    Terms::default().span()
}

/// A change that nobody published yet.
async fn change(world: &World) -> Revision {
    let mut txn = world.parts.store.begin().await.unwrap();
    let revision = txn.revision_next().await.unwrap();
    txn.commit(Vec::new()).await.unwrap();
    revision
}

/// A world whose gateway and node hold leases from now on.
async fn leased() -> (World, Point, Point) {
    let (world, _) = World::ready().await;
    let gateway = Point::Gateway(world.gateway_id);
    let node = Point::Node(world.node.id);
    let revision = world.revision().await;
    for point in [gateway, node] {
        let grant = world.renew(point, revision).await.unwrap();
        assert_eq!(grant.length, Terms::default().length());
        assert_eq!(grant.revision, revision);
        assert_eq!(grant.server_time, world.now());
    }
    (world, gateway, node)
}

fn complete(plane: &ControlPlane, revision: Revision) -> JoinHandle<Vec<PointReceipt>> {
    let plane = plane.clone();
    TaskTracker::new().spawn(async move { plane.complete(revision).await })
}

/// Starts to complete a change that the gateway does not come back from.
async fn hanging(world: &World) -> (Revision, JoinHandle<Vec<PointReceipt>>) {
    world.gateway.hangs.store(true, Ordering::SeqCst);
    let asked = world.gateway.asked.load(Ordering::SeqCst);
    let revision = change(world).await;
    let done = complete(&world.plane, revision);
    world.gateway.is_asked_after(asked).await;
    (revision, done)
}

async fn release(world: &World, revision: Revision) {
    world.gateway.hangs.store(false, Ordering::SeqCst);
    world.gateway.released.notify_one();
    world.gateway.reaches(revision).await;
}

async fn has_row(world: &World, point: Point) -> bool {
    let mut reader = world.parts.store.read().await.unwrap();
    reader.lease(point).await.unwrap().is_some()
}

#[tokio::test]
async fn a_kill_waits_for_every_point_that_holds_a_lease() {
    let (world, gateway, node) = leased().await;
    *world.gateway.ended.lock().unwrap() = Ended {
        calls: 3,
        ..Ended::default()
    };
    let (revision, done) = hanging(&world).await;
    assert!(!done.is_finished());
    release(&world, revision).await;
    let receipts = done.await.unwrap();
    let summary: Vec<_> = receipts.iter().map(|one| (one.point, one.how)).collect();
    assert_eq!(
        summary,
        [(gateway, How::Acknowledged), (node, How::Acknowledged)]
    );
    assert_eq!(receipts[0].ended.calls, 3);
    assert_eq!(world.walls.newest(), revision);
}

#[tokio::test]
async fn a_kill_is_complete_when_the_lease_of_a_silent_point_has_ended_and_not_before() {
    let (world, gateway, node) = leased().await;
    let (revision, done) = hanging(&world).await;
    world
        .clock
        .forward(span().saturating_sub(Duration::from_millis(1)));
    // Long enough for it to look again.
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(!done.is_finished());
    world.clock.forward(Duration::from_millis(1));
    let receipts = done.await.unwrap();
    let summary: Vec<_> = receipts.iter().map(|one| (one.point, one.how)).collect();
    assert_eq!(summary, [(gateway, How::Lapsed), (node, How::Acknowledged)]);
    assert_eq!(u128::from(receipts[0].millis), span().as_millis());
    // Its lease is forgotten, and nobody waits for it any more.
    assert!(!has_row(&world, gateway).await);
    let cx = world.cx(&world.operator);
    let done = world.plane.policy_activate(&cx, POLICY).await.unwrap();
    assert!(done.lapsed.is_empty());
    // It gets no lease before it has taken over what it missed.
    let before = Revision::new(revision.number() - 1);
    let refused = world.renew(gateway, before).await.unwrap_err();
    assert_eq!(refused.code, "lapsed");
    release(&world, done.revision).await;
    world.renew(gateway, done.revision).await.unwrap();
    let done = world.plane.policy_activate(&cx, POLICY).await.unwrap();
    assert!(done.lapsed.is_empty());
    assert_eq!(world.gateway.newest().revision, done.revision);
}

#[tokio::test]
async fn a_point_whose_link_is_broken_is_not_asked_again_and_again() {
    let (world, _, _) = leased().await;
    world.gateway.silent.store(true, Ordering::SeqCst);
    let asked = world.gateway.asked.load(Ordering::SeqCst);
    let done = complete(&world.plane, change(&world).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let times = world.gateway.asked.load(Ordering::SeqCst) - asked;
    assert!((1..20).contains(&times), "{times} times in 300 ms");
    world.gateway.silent.store(false, Ordering::SeqCst);
    assert_eq!(done.await.unwrap().len(), 2);
}

#[tokio::test]
async fn renewals_do_not_prolong_a_kill() {
    let (world, gateway, _) = leased().await;
    let (revision, done) = hanging(&world).await;
    let before = Revision::new(revision.number() - 1);
    for _ in 0..3 {
        world.clock.forward(span() / 4);
        let grant = world.renew(gateway, before).await.unwrap();
        // It counts only where the kill is in force.
        assert_eq!(grant.revision, revision);
    }
    assert!(!done.is_finished());
    world.clock.forward(span() / 4);
    let receipts = done.await.unwrap();
    assert_eq!((receipts[0].point, receipts[0].how), (gateway, How::Lapsed));
    // The newer lease is still waited for by the next kill, and there is no further one.
    assert!(has_row(&world, gateway).await);
    assert_eq!(
        world.renew(gateway, before).await.unwrap_err().code,
        "lapsed"
    );
}

#[tokio::test]
async fn a_renewal_at_the_revision_of_the_kill_is_an_acknowledgement() {
    let (world, gateway, _) = leased().await;
    world.gateway.silent.store(true, Ordering::SeqCst);
    let revision = change(&world).await;
    let done = complete(&world.plane, revision);
    // What renews before the wait has begun is not waited for.
    tokio::time::sleep(Duration::from_millis(200)).await;
    world.renew(gateway, revision).await.unwrap();
    // It may still say what it ended, and nothing is claimed of that until its lease ends.
    tokio::time::sleep(crate::UNLEASED_PATIENCE + Duration::from_millis(200)).await;
    assert!(!done.is_finished());
    world.clock.forward(span());
    let receipts = done.await.unwrap();
    let acknowledged = PointReceipt {
        point: gateway,
        how: How::Acknowledged,
        millis: receipts[0].millis,
        ended: Ended::default(),
        untold: true,
    };
    assert_eq!(receipts[0], acknowledged);
    let future = Revision::new(revision.number() + 1);
    let refused = world.renew(gateway, future).await.unwrap_err();
    assert_eq!(refused.code, "unknown_revision");
}

#[tokio::test]
async fn what_a_renewal_overtook_is_still_in_the_receipt() {
    let (world, gateway, _) = leased().await;
    let ended = Ended {
        calls: 3,
        ..Ended::default()
    };
    *world.gateway.ended.lock().unwrap() = ended.clone();
    let (revision, done) = hanging(&world).await;
    world.renew(gateway, revision).await.unwrap();
    tokio::time::sleep(crate::UNLEASED_PATIENCE + Duration::from_millis(200)).await;
    assert!(!done.is_finished());
    release(&world, revision).await;
    let receipts = done.await.unwrap();
    assert_eq!(receipts[0].how, How::Acknowledged);
    assert_eq!((&receipts[0].ended, receipts[0].untold), (&ended, false));
}

#[tokio::test]
async fn what_ended_at_a_revision_whose_answer_was_lost_is_in_its_receipt() {
    let (world, _, _) = leased().await;
    let ended = Ended {
        calls: 2,
        ..Ended::default()
    };
    world.gateway.misses.store(1, Ordering::SeqCst);
    let before = world.revision().await;
    let (lost, next) = (change(&world).await, change(&world).await);
    let step = Step {
        after: before,
        to: lost,
        ended: ended.clone(),
    };
    *world.gateway.earlier.lock().unwrap() = vec![step];
    let done = complete(&world.plane, lost);
    let later = complete(&world.plane, next);
    let (receipts, later) = (done.await.unwrap(), later.await.unwrap());
    assert_eq!((&receipts[0].ended, receipts[0].untold), (&ended, false));
    assert_eq!((later[0].ended.calls, later[0].untold), (0, false));
}

#[tokio::test]
async fn a_point_that_is_linked_gets_the_state_whatever_was_heard_of_it() {
    let (world, gateway, _) = leased().await;
    let revision = world.revision().await;
    // A renewal of an earlier process, which is read when the new one has been linked.
    let again = Arc::new(super::peer::Peer::default());
    again.hangs.store(true, Ordering::SeqCst);
    let plane = world.plane.clone();
    let link = again.clone();
    let linking = TaskTracker::new()
        .spawn(async move { aims_links::Admit::attach_gateway(&plane, gateway, link).await });
    again.is_asked_after(0).await;
    world.renew(gateway, revision).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!linking.is_finished(), "it has no state yet");
    again.hangs.store(false, Ordering::SeqCst);
    again.released.notify_one();
    assert_eq!(linking.await.unwrap().unwrap(), Ok(revision));
    assert_eq!(again.newest().revision, revision);
}

#[tokio::test]
async fn a_server_that_starts_again_waits_for_the_leases_of_the_one_before() {
    let (world, gateway, node) = leased().await;
    world.clock.forward(Duration::from_secs(3));
    let rest = span().saturating_sub(Duration::from_secs(3));
    for (boot, rest) in [("boot-1", rest), ("boot-2", span())] {
        let parts = Parts {
            boot: boot.to_owned(),
            ..world.parts.clone()
        };
        let plane = ControlPlane::open(parts).await.unwrap();
        let revision = change(&world).await;
        let done = complete(&plane, revision);
        world
            .clock
            .forward(rest.saturating_sub(Duration::from_millis(1)));
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert!(!done.is_finished(), "{boot}");
        world.clock.forward(Duration::from_millis(1));
        let receipts = done.await.unwrap();
        let summary: Vec<_> = receipts.iter().map(|one| (one.point, one.how)).collect();
        assert_eq!(summary, [(gateway, How::Lapsed), (node, How::Lapsed)]);
        // Their leases for the next round, from the server of the first boot.
        let now = world.revision().await;
        for point in [gateway, node] {
            world.renew(point, now).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_point_that_comes_back_during_a_kill_gets_its_state_first() {
    let (world, gateway, _) = leased().await;
    let (revision, done) = hanging(&world).await;
    world.gateway.hangs.store(false, Ordering::SeqCst);
    let again = Arc::new(super::peer::Peer::default());
    let attached = aims_links::Admit::attach_gateway(&world.plane, gateway, again.clone()).await;
    assert_eq!(attached.unwrap(), Ok(revision));
    assert_eq!(again.newest().revision, revision);
    let receipts = done.await.unwrap();
    assert_eq!(
        (receipts[0].point, receipts[0].how),
        (gateway, How::Acknowledged)
    );
}

#[tokio::test]
async fn the_node_is_told_which_of_its_instances_a_cut_off_covers() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let other = world.running(&mia, "notes").await;
    assert_eq!(world.walls.ended(), []);
    let cx = world.cx(&mia);
    world.plane.task_end(&cx, running.task).await.unwrap();
    assert_eq!(world.walls.ended(), [running.grant.instance]);
    let notes = "notes".parse().unwrap();
    let cx = world.cx(&world.operator);
    world.plane.agent_suspend(&cx, &notes).await.unwrap();
    assert!(world.walls.ended().contains(&other.grant.instance));
    assert_eq!(world.walls.newest(), world.revision().await);
}

#[tokio::test]
async fn what_a_silent_node_vouched_for_ends_with_its_lease() {
    let (world, mia) = World::ready().await;
    let running = world.running(&mia, "notes").await;
    let minted = world.revision().await;
    let (node, gateway) = (Point::Node(world.node.id), Point::Gateway(world.gateway_id));
    world.renew(node, minted).await.unwrap();
    world
        .clock
        .forward(span().saturating_sub(Duration::from_millis(1)));
    world.plane.end_silent().await.unwrap();
    assert_eq!(world.revision().await, minted);
    world.clock.forward(Duration::from_millis(1));
    // Others renew, and their renewal finds it.
    world.renew(gateway, minted).await.unwrap();
    assert_eq!(world.revision().await, minted.next());
    world.gateway.reaches(minted.next()).await;
    let instance = Subject::Instance(running.grant.instance);
    assert!(world.gateway.cuts(&instance, minted));
    assert!(!has_row(&world, node).await);
    let ended = world.records_of(EventKind::InstanceEnded).await;
    assert_eq!(text(&ended[0], "how"), "its node fell silent");
}

fn ask(world: &World, head: Option<(u64, Digest)>) -> LeaseAsk {
    LeaseAsk {
        point: Point::Gateway(world.gateway_id),
        in_force: Revision::ZERO,
        head,
        address: Some("gateway.example:8710".to_owned()),
        telling: None,
    }
}

#[tokio::test]
async fn a_gateway_whose_log_went_back_gets_no_lease() {
    let (world, _) = World::ready().await;
    let (plane, _) = with_log(&world).await;
    let source = Source::Gateway(world.gateway_id);
    let event = |n: u64| {
        let body = aims_json::Object::new().with("n", n);
        Event::new(EventKind::GatewayStarted, world.now(), body)
    };
    let first = event(1).encode(source, 1, FIRST_PREV).unwrap();
    let second = event(2).encode(source, 2, sha256(&first)).unwrap();
    let rewritten = event(3).encode(source, 2, sha256(&first)).unwrap();
    let ship = |seq, record: &Vec<u8>| {
        let record = ShippedRecord {
            seq,
            record: record.clone(),
            material: None,
        };
        plane.records_ship(world.gateway_id, vec![record])
    };
    let renew = |head| {
        let asked = plane.lease_renew(ask(&world, head));
        async { asked.await.unwrap() }
    };
    let code = |head| {
        let refused = renew(head);
        async { refused.await.unwrap_err().code }
    };
    assert!(renew(None).await.is_ok());
    ship(1, &first).await.unwrap();
    // It says less, or something else, than what it has shipped.
    assert_eq!(code(None).await, "log_went_back");
    assert_eq!(code(Some((1, sha256(&second)))).await, "log_went_back");
    assert!(renew(Some((1, sha256(&first)))).await.is_ok());
    assert!(renew(Some((2, sha256(&second)))).await.is_ok());
    // It says less, or something else, than what it has said.
    assert_eq!(code(Some((1, sha256(&first)))).await, "log_went_back");
    assert_eq!(code(Some((2, sha256(&rewritten)))).await, "log_went_back");
    let refused = world.records_of(EventKind::RequestRefused).await;
    let codes: Vec<_> = refused.iter().map(|one| text(one, "code")).collect();
    assert_eq!(codes, ["log_went_back", "log_went_back"], "once per spell");
    // It ships something else than what it has said.
    assert!(ship(2, &rewritten).await.is_err());
    assert_eq!(ship(2, &second).await.unwrap(), 2);
    let row = {
        let mut reader = world.parts.store.read().await.unwrap();
        let row = reader.lease(Point::Gateway(world.gateway_id)).await;
        row.unwrap().unwrap()
    };
    assert_eq!(row.address.as_deref(), Some("gateway.example:8710"));
    world.clock.forward(Duration::from_secs(1));
    assert_eq!(code(None).await, "log_went_back");
    let mut reader = world.parts.store.read().await.unwrap();
    let after = reader.lease(row.point).await.unwrap();
    assert_eq!(after, Some(row), "a refused renewal extends nothing");
}

#[tokio::test]
async fn a_renewal_that_was_overtaken_on_its_way_is_no_log_that_went_back() {
    let (world, _) = World::ready().await;
    let (plane, _) = with_log(&world).await;
    let renew = |process, number, seq| {
        let telling = Some(Telling { process, number });
        let head = Some((seq, sha256(&[u8::try_from(seq).unwrap()])));
        let asked = plane.lease_renew(LeaseAsk {
            telling,
            ..ask(&world, head)
        });
        async move {
            asked
                .await
                .unwrap()
                .map_err(|refusal| refusal.code.into_owned())
        }
    };
    assert!(renew(7, 1, 3).await.is_ok());
    assert!(renew(7, 3, 5).await.is_ok());
    assert_eq!(renew(7, 2, 4).await.unwrap_err(), "overtaken");
    assert!(world.records_of(EventKind::RequestRefused).await.is_empty());
    // A later one of the same process, and the first of another, did not come before it.
    assert_eq!(renew(7, 4, 4).await.unwrap_err(), "log_went_back");
    assert_eq!(renew(8, 0, 4).await.unwrap_err(), "log_went_back");
    assert!(renew(8, 1, 6).await.is_ok());
    let refused = world.records_of(EventKind::RequestRefused).await;
    assert_eq!(refused.len(), 1, "once per spell");
}

#[tokio::test]
async fn who_is_not_enrolled_gets_no_lease() {
    let world = World::new().await;
    for point in [
        Point::Gateway(Id::from_u128(9)),
        Point::Node(Id::from_u128(9)),
    ] {
        let refused = world.renew(point, Revision::ZERO).await.unwrap_err();
        assert_eq!(refused.code, "not_enrolled");
        assert!(!has_row(&world, point).await);
    }
}

#[tokio::test]
async fn operators_see_who_is_linked_and_how_long_leases_run() {
    let (world, gateway, node) = leased().await;
    let revision = world.revision().await;
    world.clock.forward(Duration::from_millis(1500));
    let views = world
        .plane
        .points(&world.cx(&world.operator))
        .await
        .unwrap();
    assert_eq!(views.len(), 2);
    for (view, point) in views.iter().zip([gateway, node]) {
        assert_eq!((view.point, view.is_linked), (point, true));
        assert_eq!(
            view.lease_left,
            Some(span().saturating_sub(Duration::from_millis(1500)))
        );
        assert_eq!(view.acknowledged, revision);
    }
    world.clock.forward(span());
    let views = world
        .plane
        .points(&world.cx(&world.operator))
        .await
        .unwrap();
    assert_eq!(views[0].lease_left, None);
    let member = world.enrol("max", Role::Member).await;
    assert!(world.plane.points(&world.cx(&member)).await.is_err());
    let server = world.plane.cx(Actor::Server).unwrap();
    assert!(world.plane.points(&server).await.is_err());
}
