//! Who may do what: every operation by every role, as one table.

use std::sync::Arc;

use aims_links::Control;
use aims_model::approval::Answer;
use aims_model::{EventKind, PointKind, Role};
use aims_types::{self as types, Actor, Cx, Id};

use super::approvals::{asked, signed_answer};
use super::kill::killing;
use super::peer::{Peer, Walls};
use super::services::service;
use super::world::{
    Somebody, World, agent, jwk, launch, new_key, secret, server, signed, text, upstream,
};
use crate::{EnrolPerson, Refused};

/// Every operation there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    PersonEnrol,
    PersonRemove,
    People,
    AgentRegister,
    AgentActivate,
    AgentSuspend,
    AgentRetire,
    Agents,
    ServerRegister,
    Servers,
    UpstreamAdd,
    UpstreamRotate,
    UpstreamRetire,
    Upstreams,
    ServiceRegister,
    ServiceRetire,
    Services,
    PolicyActivate,
    Policy,
    TaskStart,
    TaskEnd,
    TaskFreeze,
    TaskResume,
    TaskErase,
    Tasks,
    Task,
    RunRequest,
    Trace,
    KillTask,
    KillAgent,
    Approvals,
    Approval,
    ApprovalAnswer,
    JoinTokenCreate,
    Points,
    Expire,
    NodeJoin,
    GatewayJoin,
}

impl Op {
    pub(super) const ALL: [Self; 38] = [
        Self::PersonEnrol,
        Self::PersonRemove,
        Self::People,
        Self::AgentRegister,
        Self::AgentActivate,
        Self::AgentSuspend,
        Self::AgentRetire,
        Self::Agents,
        Self::ServerRegister,
        Self::Servers,
        Self::UpstreamAdd,
        Self::UpstreamRotate,
        Self::UpstreamRetire,
        Self::Upstreams,
        Self::ServiceRegister,
        Self::ServiceRetire,
        Self::Services,
        Self::PolicyActivate,
        Self::Policy,
        Self::TaskStart,
        Self::TaskEnd,
        Self::TaskFreeze,
        Self::TaskResume,
        Self::TaskErase,
        Self::Tasks,
        Self::Task,
        Self::RunRequest,
        Self::Trace,
        Self::KillTask,
        Self::KillAgent,
        Self::Approvals,
        Self::Approval,
        Self::ApprovalAnswer,
        Self::JoinTokenCreate,
        Self::Points,
        Self::Expire,
        Self::NodeJoin,
        Self::GatewayJoin,
    ];

    /// Whether it only looks.
    const fn reads(self) -> bool {
        use Op::{
            Agents, Approval, Approvals, People, Points, Policy, Servers, Services, Task, Tasks,
            Trace, Upstreams,
        };
        matches!(
            self,
            People
                | Agents
                | Servers
                | Upstreams
                | Services
                | Policy
                | Tasks
                | Task
                | Trace
                | Approvals
                | Approval
                | Points
        )
    }
}

/// A world in which every operation has something to work on.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) mia: Somebody,
    pub(super) task: Id<types::Task>,
    /// A frozen task.
    frozen: Id<types::Task>,
    /// A task that ended.
    ended: Id<types::Task>,
    /// What an instance of a third task waits for.
    approval: aims_model::Approval,
}

impl Stage {
    pub(super) async fn new() -> Self {
        let (world, mia) = World::ready().await;
        let mut draft = agent("sketch", "mia");
        draft.draft = true;
        let cx = world.cx(&world.operator);
        world.plane.agent_register(&cx, draft).await.unwrap();
        world
            .plane
            .upstream_add(&cx, upstream("model"))
            .await
            .unwrap();
        world.enrol("victor", Role::Member).await;
        let mail = service(&world, "mail");
        world.plane.service_register(&cx, mail).await.unwrap();
        let task = world.start(&mia, "notes").await.task.id;
        let frozen = world.start(&mia, "notes").await.task.id;
        world.plane.task_freeze(&cx, frozen).await.unwrap();
        let ended = world.start(&mia, "notes").await.task.id;
        world.plane.task_end(&cx, ended).await.unwrap();
        let running = world.running(&mia, "notes").await;
        let asked = asked(&world, &mia, &running).await;
        let approval = world.plane.approval_ask(world.gateway_id, asked).await;
        Self {
            approval: approval.unwrap().unwrap(),
            world,
            mia,
            task,
            frozen,
            ended,
        }
    }

    /// Does the operation in the context; gives the code of the refusal.
    #[expect(clippy::too_many_lines, reason = "one arm for each operation")]
    pub(super) async fn perform(
        &self,
        op: Op,
        cx: &Cx,
        somebody: &Somebody,
    ) -> Result<(), &'static str> {
        fn code<T, E: Refused>(done: Result<T, E>) -> Result<(), &'static str> {
            done.map(drop).map_err(|error| error.code())
        }
        let (plane, notes) = (&self.world.plane, "notes".parse().unwrap());
        match op {
            Op::PersonEnrol => {
                let (name, role) = ("newcomer".to_owned(), Role::Member);
                let jwk = jwk(&new_key());
                code(
                    plane
                        .person_enrol(cx, EnrolPerson { name, role, jwk })
                        .await,
                )
            }
            Op::PersonRemove => code(plane.person_remove(cx, &"victor".parse().unwrap()).await),
            Op::People => code(plane.people(cx).await),
            Op::AgentRegister => code(plane.agent_register(cx, agent("fresh", "mia")).await),
            Op::AgentActivate => code(plane.agent_activate(cx, &"sketch".parse().unwrap()).await),
            Op::AgentSuspend => code(plane.agent_suspend(cx, &notes).await),
            Op::AgentRetire => code(plane.agent_retire(cx, &notes).await),
            Op::Agents => code(plane.agents(cx).await),
            Op::ServerRegister => code(plane.server_register(cx, server("files")).await),
            Op::Servers => code(plane.servers(cx).await),
            Op::UpstreamAdd => code(plane.upstream_add(cx, upstream("search")).await),
            Op::UpstreamRotate => {
                let model = "model".parse().unwrap();
                code(
                    plane
                        .upstream_rotate(cx, &model, secret("another-0123456"))
                        .await,
                )
            }
            Op::UpstreamRetire => code(plane.upstream_retire(cx, &"model".parse().unwrap()).await),
            Op::Upstreams => code(plane.upstreams(cx).await),
            Op::ServiceRegister => {
                let billing = service(&self.world, "billing");
                code(plane.service_register(cx, billing).await)
            }
            Op::ServiceRetire => code(plane.service_retire(cx, &"mail".parse().unwrap()).await),
            Op::Services => code(plane.services(cx).await),
            Op::PolicyActivate => code(plane.policy_activate(cx, super::world::POLICY).await),
            Op::Policy => code(plane.policy(cx).await),
            Op::TaskStart => {
                let consent = self.world.consent(somebody, "notes");
                code(plane.task_start(cx, &signed(&consent, &somebody.key)).await)
            }
            Op::TaskEnd => code(plane.task_end(cx, self.task).await),
            Op::TaskFreeze => code(plane.task_freeze(cx, self.task).await),
            Op::TaskResume => code(plane.task_resume(cx, self.frozen).await),
            Op::TaskErase => code(plane.task_erase(cx, self.ended, "asked for").await),
            Op::KillTask => code(
                plane
                    .kill(cx, killing("task", &self.task.to_string()))
                    .await,
            ),
            Op::KillAgent => code(plane.kill(cx, killing("agent", "notes")).await),
            Op::Approvals => code(plane.approvals(cx, false).await),
            Op::Approval => code(plane.approval_shown(cx, self.approval.id).await),
            Op::ApprovalAnswer => {
                let answer = Answer {
                    person: somebody.id,
                    audience: "aims.local".parse().unwrap(),
                    issued_at: self.world.now(),
                    approval: self.approval.id,
                    digest: self.approval.digest,
                    approve: true,
                    reason: String::new(),
                };
                let jws = signed_answer(&answer, &somebody.key);
                code(plane.approval_answer(cx, self.approval.id, &jws).await)
            }
            Op::JoinTokenCreate => code(plane.join_token_create(cx, PointKind::Node).await),
            Op::Points => code(plane.points(cx).await),
            Op::Tasks => code(plane.tasks(cx).await),
            Op::Task => code(plane.task(cx, self.task).await),
            Op::RunRequest => code(plane.run_request(cx, launch(self.task)).await),
            Op::Trace => code(plane.trace(cx, self.task, 0).await),
            Op::Expire => code(plane.expire(cx).await),
            Op::NodeJoin => {
                let walls = Arc::new(Walls::default());
                code(plane.node_join(cx, &jwk(&new_key()), "other", walls).await)
            }
            Op::GatewayJoin => {
                let (peer, jwk) = (Arc::new(Peer::default()), jwk(&new_key()));
                code(plane.gateway_join(cx, Id::from_u128(7), &jwk, peer).await)
            }
        }
    }
}

/// What the auditor, a member who owns nothing and the owner of the agent are told.
const fn table(op: Op) -> [Option<&'static str>; 3] {
    const ROLE: Option<&str> = Some("role_not_allowed");
    const OWNER: Option<&str> = Some("not_owner");
    const UNKNOWN: Option<&str> = Some("unknown_task");
    const SERVER: Option<&str> = Some("not_the_server");
    match op {
        Op::PersonEnrol
        | Op::PersonRemove
        | Op::AgentRegister
        | Op::AgentActivate
        | Op::AgentSuspend
        | Op::AgentRetire
        | Op::ServerRegister
        | Op::UpstreamAdd
        | Op::UpstreamRotate
        | Op::UpstreamRetire
        | Op::ServiceRegister
        | Op::ServiceRetire
        | Op::KillAgent
        | Op::ApprovalAnswer
        | Op::JoinTokenCreate
        | Op::PolicyActivate => [ROLE, ROLE, ROLE],
        Op::People | Op::Points => [None, ROLE, ROLE],
        Op::Agents
        | Op::Servers
        | Op::Services
        | Op::Upstreams
        | Op::Policy
        | Op::Tasks
        | Op::Approvals => [None, None, None],
        Op::TaskStart => [ROLE, OWNER, None],
        Op::TaskEnd
        | Op::TaskFreeze
        | Op::TaskResume
        | Op::TaskErase
        | Op::KillTask
        | Op::RunRequest => [ROLE, UNKNOWN, None],
        Op::Task | Op::Trace => [None, UNKNOWN, None],
        Op::Approval => [None, Some("unknown_approval"), None],
        Op::Expire | Op::NodeJoin | Op::GatewayJoin => [SERVER, SERVER, SERVER],
    }
}

#[tokio::test]
async fn every_operation_is_open_to_exactly_the_roles_of_the_table() {
    for op in Op::ALL {
        let stage = Stage::new().await;
        let auditor = stage.world.enrol("ada", Role::Auditor).await;
        let stranger = stage.world.enrol("max", Role::Member).await;
        for (somebody, expected) in [&auditor, &stranger, &stage.mia].into_iter().zip(table(op)) {
            let (before, records) = (stage.world.revision().await, stage.world.records().await);
            let done = stage.perform(op, &stage.world.cx(somebody), somebody).await;
            assert_eq!(done.err(), expected, "{op:?}");
            let after = stage.world.records().await;
            if let Some(code) = expected {
                assert_eq!(
                    stage.world.revision().await,
                    before,
                    "{op:?} changed the revision"
                );
                if op.reads() || op == Op::Expire {
                    assert_eq!(after.len(), records.len(), "{op:?}");
                } else {
                    assert_eq!(after.len(), records.len() + 1, "{op:?}");
                    let last = after.last().unwrap();
                    assert_eq!(last.event.kind, EventKind::RequestRefused);
                    assert_eq!(text(last, "code"), code);
                    assert_eq!(text(last, "by"), somebody.id.to_string());
                }
            }
        }
    }
}

#[tokio::test]
async fn nobody_but_a_person_does_what_people_do() {
    let stage = Stage::new().await;
    let node = stage
        .world
        .plane
        .cx(Actor::Node(stage.world.node.id))
        .unwrap();
    for op in Op::ALL {
        let done = stage.perform(op, &node, &stage.mia).await;
        let expected = match op {
            Op::Expire | Op::NodeJoin | Op::GatewayJoin => "not_the_server",
            _ => "not_a_person",
        };
        assert_eq!(done, Err(expected), "{op:?}");
    }
}

#[tokio::test]
async fn a_removed_person_can_do_nothing() {
    let stage = Stage::new().await;
    let operator = stage.world.cx(&stage.world.operator);
    stage
        .world
        .plane
        .person_remove(&operator, &"mia".parse().unwrap())
        .await
        .unwrap();
    for op in Op::ALL {
        let done = stage
            .perform(op, &stage.world.cx(&stage.mia), &stage.mia)
            .await;
        let expected = match op {
            Op::Expire | Op::NodeJoin | Op::GatewayJoin => "not_the_server",
            _ => "not_enrolled",
        };
        assert_eq!(done, Err(expected), "{op:?}");
    }
}

#[tokio::test]
async fn members_see_what_is_theirs_and_others_see_nothing_of_it() {
    let stage = Stage::new().await;
    let (plane, world) = (&stage.world.plane, &stage.world);
    let max = world.enrol("max", Role::Member).await;
    assert_eq!(plane.agents(&world.cx(&stage.mia)).await.unwrap().len(), 2);
    assert_eq!(plane.agents(&world.cx(&max)).await.unwrap(), []);
    assert_eq!(plane.tasks(&world.cx(&stage.mia)).await.unwrap().len(), 4);
    assert_eq!(plane.tasks(&world.cx(&max)).await.unwrap(), []);
    assert_eq!(
        plane.tasks(&world.cx(&world.operator)).await.unwrap().len(),
        4
    );
}

#[tokio::test]
async fn only_operators_see_the_environment_of_servers() {
    let stage = Stage::new().await;
    let world = &stage.world;
    let all = world
        .plane
        .servers(&world.cx(&world.operator))
        .await
        .unwrap();
    assert_eq!(all[0].spec.env["TOKEN"], "hush");
    let seen = world.plane.servers(&world.cx(&stage.mia)).await.unwrap();
    assert!(seen[0].spec.env.is_empty());
    let records = world.records_of(EventKind::ServerRegistered).await;
    assert!(!format!("{records:?}").contains("hush"));
}

#[tokio::test]
async fn an_approver_answers_and_sees_questions_and_does_nothing_else() {
    const ROLE: Option<&str> = Some("role_not_allowed");
    for op in Op::ALL {
        let stage = Stage::new().await;
        let judge = stage.world.enrol("judge", Role::Approver).await;
        let done = stage.perform(op, &stage.world.cx(&judge), &judge).await;
        let expected = match op {
            Op::ApprovalAnswer
            | Op::Approval
            | Op::Approvals
            | Op::Agents
            | Op::Servers
            | Op::Services
            | Op::Upstreams
            | Op::Policy
            | Op::Tasks => None,
            Op::Task | Op::Trace => Some("unknown_task"),
            Op::Expire | Op::NodeJoin | Op::GatewayJoin => Some("not_the_server"),
            _ => ROLE,
        };
        assert_eq!(done.err(), expected, "{op:?}");
    }
}
