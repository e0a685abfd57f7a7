//! Tickets.

use std::time::Duration;

use aims_links::{Control, RequestedRun};
use aims_model::{EventKind, EvidenceGap};
use aims_types::{Id, Secret};

use super::world::{World, launch, text};
use crate::{Refused, TICKET_PREFIX, TICKET_TTL_SECS};

fn requested(world: &World, ticket: &Secret<String>) -> RequestedRun {
    RequestedRun {
        node: world.node.id,
        ticket: ticket.clone(),
    }
}

#[tokio::test]
async fn a_ticket_works_once_and_only_its_digest_is_kept() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let ticket = world
        .plane
        .run_request(&world.cx(&mia), launch(task))
        .await
        .unwrap();
    assert!(ticket.ticket.expose().starts_with(TICKET_PREFIX));
    assert!(ticket.ticket.expose().len() >= 43 + TICKET_PREFIX.len());
    let records = format!("{:?}", world.records().await);
    assert!(!records.contains(ticket.ticket.expose().as_str()));
    let order = world
        .plane
        .run_redeem(requested(&world, &ticket.ticket))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((order.run, order.task.id), (ticket.run, task));
    assert_eq!(order.agent.name.as_str(), "notes");
    let before = world.revision().await;
    let again = world
        .plane
        .run_redeem(requested(&world, &ticket.ticket))
        .await
        .unwrap();
    assert_eq!(again.unwrap_err().code, "ticket_used");
    assert_eq!(world.refused().await, "ticket_used");
    assert_eq!(world.revision().await, before);
}

#[tokio::test]
async fn another_agent_than_the_tasks_is_refused() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let mut asked = launch(task);
    asked.agent = "other".to_owned();
    let refused = world.plane.run_request(&world.cx(&mia), asked).await;
    assert_eq!(refused.unwrap_err().code(), "other_agent");
    assert_eq!(world.refused().await, "other_agent");
}

#[tokio::test]
async fn a_ticket_expires() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let good = world
        .plane
        .run_request(&world.cx(&mia), launch(task))
        .await
        .unwrap();
    let late = world
        .plane
        .run_request(&world.cx(&mia), launch(task))
        .await
        .unwrap();
    world
        .clock
        .forward(Duration::from_secs(TICKET_TTL_SECS - 1));
    world
        .plane
        .run_redeem(requested(&world, &good.ticket))
        .await
        .unwrap()
        .unwrap();
    world.clock.forward(Duration::from_secs(1));
    let refused = world
        .plane
        .run_redeem(requested(&world, &late.ticket))
        .await
        .unwrap();
    assert_eq!(refused.unwrap_err().code, "ticket_expired");
}

#[tokio::test]
async fn what_a_ticket_rests_on_is_looked_at_again() {
    let (world, mia) = World::ready().await;
    let (cx, notes) = (world.cx(&world.operator), "notes".parse().unwrap());
    let task = world.start(&mia, "notes").await.task.id;
    let one = world
        .plane
        .run_request(&world.cx(&mia), launch(task))
        .await
        .unwrap();
    world.plane.task_end(&cx, task).await.unwrap();
    let refused = world
        .plane
        .run_redeem(requested(&world, &one.ticket))
        .await
        .unwrap();
    assert_eq!(refused.unwrap_err().code, "task_ended");
    let task = world.start(&mia, "notes").await.task.id;
    let two = world
        .plane
        .run_request(&world.cx(&mia), launch(task))
        .await
        .unwrap();
    world.plane.agent_suspend(&cx, &notes).await.unwrap();
    let refused = world
        .plane
        .run_redeem(requested(&world, &two.ticket))
        .await
        .unwrap();
    assert_eq!(refused.unwrap_err().code, "agent_not_active");
    world.plane.agent_activate(&cx, &notes).await.unwrap();
    let refused = world
        .plane
        .run_redeem(requested(&world, &two.ticket))
        .await
        .unwrap();
    assert_eq!(refused.unwrap_err().code, "cut_off");
    let task = world.start(&world.operator, "notes").await.task.id;
    let three = world
        .plane
        .run_request(&world.cx(&mia), launch(task))
        .await
        .unwrap();
    let mut stranger = requested(&world, &three.ticket);
    stranger.node = Id::from_u128(9);
    let refused = world.plane.run_redeem(stranger).await.unwrap();
    assert_eq!(refused.unwrap_err().code, "unknown_node");
    world
        .plane
        .person_remove(&cx, &"mia".parse().unwrap())
        .await
        .unwrap();
    let refused = world
        .plane
        .run_redeem(requested(&world, &three.ticket))
        .await
        .unwrap();
    assert_eq!(refused.unwrap_err().code, "person_removed");
    let unknown = Secret::new("aims_rt_unknown".to_owned());
    let refused = world
        .plane
        .run_redeem(requested(&world, &unknown))
        .await
        .unwrap();
    assert_eq!(refused.unwrap_err().code, "unknown_ticket");
}

#[tokio::test]
async fn what_a_node_refuses_is_recorded_with_what_it_expected_and_saw() {
    let (world, mia) = World::ready().await;
    let task = world.start(&mia, "notes").await.task.id;
    let run = world.redeem(&mia, task).await;
    let gap = EvidenceGap {
        part: "program".to_owned(),
        expected: "`/srv/agent.py`".to_owned(),
        seen: "nothing".to_owned(),
    };
    let refusal = aims_links::Refusal {
        code: "not_there".into(),
        reason: "the program is not there".to_owned(),
        gaps: vec![gap.clone(); 1000],
    };
    world
        .plane
        .run_refused(world.node.id, run, refusal)
        .await
        .unwrap();
    let records = world.records_of(EventKind::InstanceRefused).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].event.task, Some(task));
    assert_eq!(text(&records[0], "code"), "not_there");
    let gaps = records[0]
        .event
        .body
        .get("gaps")
        .unwrap()
        .as_array()
        .unwrap();
    assert_eq!(gaps.len(), 32);
    assert_eq!(gaps[0].get("seen").unwrap().as_str(), Some("nothing"));
    assert_eq!(
        records[0].event.body.get("gap_count").unwrap().as_u64(),
        Some(1000)
    );
}
