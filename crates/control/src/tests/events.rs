//! Every change leaves exactly one record of its kind.

use aims_model::EventKind;
use aims_types::Actor;
use std::time::Duration;

use super::access::{Op, Stage};

/// What each changing operation records, and whether it takes a revision.
const fn table(op: Op) -> Option<(EventKind, bool)> {
    match op {
        Op::PersonEnrol => Some((EventKind::PersonEnrolled, true)),
        Op::PersonRemove => Some((EventKind::PersonRemoved, true)),
        Op::AgentRegister => Some((EventKind::AgentRegistered, true)),
        Op::AgentActivate | Op::AgentSuspend | Op::AgentRetire => {
            Some((EventKind::AgentStageChanged, true))
        }
        Op::ServerRegister => Some((EventKind::ServerRegistered, true)),
        Op::UpstreamAdd => Some((EventKind::UpstreamRegistered, true)),
        Op::UpstreamRotate => Some((EventKind::UpstreamRotated, true)),
        Op::UpstreamRetire => Some((EventKind::UpstreamRetired, true)),
        Op::ServiceRegister => Some((EventKind::ServiceRegistered, true)),
        Op::ServiceRetire => Some((EventKind::ServiceRetired, true)),
        Op::PolicyActivate => Some((EventKind::PolicyActivated, true)),
        Op::TaskStart => Some((EventKind::TaskStarted, true)),
        Op::TaskEnd | Op::Expire => Some((EventKind::TaskEnded, true)),
        Op::TaskFreeze => Some((EventKind::TaskFrozen, true)),
        Op::TaskResume => Some((EventKind::TaskResumed, true)),
        Op::TaskErase => Some((EventKind::TaskErased, false)),
        Op::KillTask | Op::KillAgent => Some((EventKind::Killed, true)),
        Op::ApprovalAnswer => Some((EventKind::ApprovalAnswered, true)),
        Op::JoinTokenCreate => Some((EventKind::JoinAllowed, false)),
        Op::RunRequest => Some((EventKind::RunRequested, false)),
        Op::NodeJoin => Some((EventKind::KeyEnrolled, true)),
        Op::GatewayJoin => Some((EventKind::GatewayStarted, true)),
        Op::People
        | Op::Agents
        | Op::Servers
        | Op::Upstreams
        | Op::Services
        | Op::Policy
        | Op::Tasks
        | Op::Task
        | Op::Trace
        | Op::Approvals
        | Op::Approval
        | Op::Points => None,
    }
}

#[tokio::test]
async fn every_operation_leaves_exactly_the_record_of_the_table() {
    for op in Op::ALL {
        let stage = Stage::new().await;
        let world = &stage.world;
        let operator = match op {
            Op::Expire | Op::NodeJoin | Op::GatewayJoin => {
                let late = Duration::from_hours(if op == Op::Expire { 2 } else { 0 });
                world.clock.forward(late);
                world.plane.cx(Actor::Server).unwrap()
            }
            _ => world.cx(&world.operator),
        };
        let (before, revision) = (world.records().await, world.revision().await);
        stage.perform(op, &operator, &world.operator).await.unwrap();
        let after = world.records().await;
        let new = &after[before.len()..];
        match table(op) {
            None => assert!(new.is_empty(), "{op:?}"),
            Some((kind, moves)) => {
                let of_kind = new.iter().filter(|record| record.event.kind == kind);
                // All three tasks of the stage are overdue.
                let expected = if op == Op::Expire { 3 } else { 1 };
                assert_eq!(of_kind.count(), expected, "{op:?}");
                let refused =
                    |record: &&aims_model::Record| record.event.kind == EventKind::RequestRefused;
                assert!(!new.iter().any(|record| refused(&record)), "{op:?}");
                let taken = world.revision().await.number() - revision.number();
                assert_eq!(taken, u64::from(moves), "{op:?}");
                assert_eq!(new[0].event.request, Some(operator.request), "{op:?}");
            }
        }
        // INVARIANT of publishing: the gateway is at the newest revision when anything returns.
        assert_eq!(
            world.gateway.newest().revision,
            world.revision().await,
            "{op:?}"
        );
    }
}

#[tokio::test]
async fn the_whole_of_a_run_is_on_record_in_order() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let running = world.instance(&stage.mia, stage.task).await;
    let bytes = world
        .plane
        .trace(&world.cx(&stage.mia), running.task, 0)
        .await
        .unwrap();
    let kinds: Vec<EventKind> = bytes
        .records
        .iter()
        .map(|bytes| aims_model::Record::decode(bytes).unwrap().event.kind)
        .collect();
    let expected = [
        EventKind::TaskStarted,
        EventKind::RunRequested,
        EventKind::RunRedeemed,
        EventKind::InstanceAttested,
    ];
    assert_eq!(kinds, expected);
}
