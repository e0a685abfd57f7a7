//! What the server asks over sessions.

use std::sync::{Arc, Mutex};

use aims_links::{
    Applied, ControlState, Cut, Enforce, EnforceError, InspectError, LinkError, Step, Vouch,
};
use aims_model::receipt::Ended;
use aims_model::{ServerSpec, ToolPin};
use aims_types::{Id, Instance, Name, Revision};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::rich;
use super::world::{World, gateway, node, path_of};
use crate::proto::{self, gateway_says::Answer, links_client::LinksClient};

/// A revision that the gateway can't use, and one that it never comes to an end with.
const UNUSABLE: u64 = 1000;
pub(super) const ENDLESS: u64 = 1001;

/// A gateway that remembers the states that it got.
#[derive(Default)]
pub(super) struct FakeGateway {
    states: Mutex<Vec<Arc<ControlState>>>,
    pub(super) began: tokio::sync::Notify,
}

#[async_trait]
impl Enforce for FakeGateway {
    async fn inspect(&self, name: Name, spec: ServerSpec) -> Result<Vec<ToolPin>, InspectError> {
        assert_eq!(spec, rich::spec());
        match name.as_str() {
            "start" => Err(InspectError::Start("no such file".to_owned())),
            "protocol" => Err(InspectError::Protocol("no answer".to_owned())),
            _ => Ok(rich::pins()),
        }
    }

    async fn apply(&self, state: Arc<ControlState>) -> Result<Applied, EnforceError> {
        let revision = state.revision;
        self.states.lock().unwrap().push(state);
        self.began.notify_one();
        match revision.number() {
            UNUSABLE => Err(EnforceError::Unusable {
                revision,
                reason: "no such policy".to_owned(),
            }),
            ENDLESS => std::future::pending().await,
            _ => Ok(Applied {
                revision,
                ended: rich::ended(),
                earlier: vec![earlier()],
            }),
        }
    }
}

/// What a gateway ended before.
fn earlier() -> Step {
    Step {
        after: Revision::new(3),
        to: Revision::new(5),
        ended: rich::ended(),
    }
}

impl FakeGateway {
    pub(super) fn last(&self) -> Arc<ControlState> {
        Arc::clone(self.states.lock().unwrap().last().unwrap())
    }
}

struct FakeNode(Mutex<Vec<Cut>>);

#[async_trait]
impl Vouch for FakeNode {
    async fn end(&self, cut: Cut) -> Result<Ended, LinkError> {
        self.0.lock().unwrap().push(cut);
        Ok(rich::ended())
    }

    async fn held(&self) -> Result<Vec<Id<Instance>>, LinkError> {
        Ok(vec![Id::from_u128(7), Id::from_u128(8)])
    }
}

/// Whether two states say the same; cut-offs come in no order.
fn assert_same(one: &ControlState, other: &ControlState) {
    let whole = |state: &ControlState| {
        let mut cutoffs: Vec<_> = state.cutoffs.iter().map(|cut| format!("{cut:?}")).collect();
        cutoffs.sort();
        let mut rest = state.clone();
        rest.cutoffs = Arc::default();
        format!(
            "{rest:?} {:?} {cutoffs:?}",
            rest.servers.iter().map(|s| &s.spec.env).collect::<Vec<_>>()
        )
    };
    assert_eq!(whole(one), whole(other));
}

/// Keeps a gateway's session in the background.
pub(super) fn keep_gateway(world: &World) -> (Arc<FakeGateway>, CancellationToken) {
    let (fake, stopping) = (Arc::new(FakeGateway::default()), CancellationToken::new());
    let (links, kept) = (world.links(gateway()), Arc::clone(&fake));
    let until = stopping.clone();
    world
        .tasks
        .spawn(async move { links.keep_gateway(kept, until).await });
    (fake, stopping)
}

#[tokio::test]
async fn a_gateway_is_asked_and_what_it_answers_comes_back() {
    let world = World::start().await;
    let (fake, _stopping) = keep_gateway(&world);
    let link = world.next_gateway().await;

    let applied = link.apply(Arc::new(rich::state(3))).await.unwrap();
    assert_eq!(applied.revision, Revision::new(3));
    assert_eq!(applied.ended, rich::ended());
    assert_same(&fake.last(), &rich::state(3));

    let unusable = link.apply(Arc::new(rich::state(UNUSABLE))).await;
    let expected = EnforceError::Unusable {
        revision: Revision::new(UNUSABLE),
        reason: "no such policy".to_owned(),
    };
    assert_eq!(unusable, Err(expected));

    let inspect = |name: &str| link.inspect(name.parse().unwrap(), rich::spec());
    assert_eq!(inspect("git").await, Ok(rich::pins()));
    let error = inspect("start").await.unwrap_err();
    assert_eq!(error, InspectError::Start("no such file".to_owned()));
    let error = inspect("protocol").await.unwrap_err();
    assert_eq!(error, InspectError::Protocol("no answer".to_owned()));
}

#[tokio::test]
async fn an_answer_that_is_not_given_keeps_nothing_else_waiting() {
    let world = World::start().await;
    let (fake, _stopping) = keep_gateway(&world);
    let link = world.next_gateway().await;
    let endless = link.apply(Arc::new(rich::state(ENDLESS)));
    let other = async {
        fake.began.notified().await;
        link.inspect("git".parse().unwrap(), rich::spec()).await
    };
    tokio::select! {
        _ = endless => panic!("it does not end"),
        pins = other => assert_eq!(pins, Ok(rich::pins())),
    }
    // Nobody waits for the first answer any more.
    assert!(link.apply(Arc::new(rich::state(5))).await.is_ok());
}

#[tokio::test]
async fn a_node_ends_what_it_is_told_to_end_and_says_what_it_has() {
    let world = World::start().await;
    let fake = Arc::new(FakeNode(Mutex::default()));
    let (links, kept) = (world.links(node()), Arc::clone(&fake));
    let until = world.stopping.clone();
    world
        .tasks
        .spawn(async move { links.keep_node(kept, until).await });
    let link = world.next_node().await;
    for many in [0, 2] {
        let cut = Cut {
            revision: Revision::new(u64::MAX),
            instances: (0..many).map(Id::from_u128).collect(),
            gateways: (0..many).map(|n| n.to_string()).collect(),
            doors: many > 0,
        };
        assert_eq!(link.end(cut.clone()).await, Ok(rich::ended()));
        assert_eq!(fake.0.lock().unwrap().last(), Some(&cut));
    }
    let held = link.held().await.unwrap();
    assert_eq!(held, [Id::from_u128(7), Id::from_u128(8)]);
}

#[tokio::test]
async fn a_gateway_has_the_whole_state_whatever_changed() {
    let world = World::start().await;
    let (fake, _stopping) = keep_gateway(&world);
    let link = world.next_gateway().await;
    let mut state = rich::state(1);
    let steps: [fn(&mut ControlState); 8] = [
        |_| {},
        |state| state.cutoffs = rich::cutoffs(3),
        |state| state.policy = rich::policy("forbid(principal, action, resource);"),
        |state| state.approvals = Arc::default(),
        |state| state.cutoffs = rich::cutoffs(9),
        |state| state.servers = Arc::default(),
        |state| state.keys = Arc::default(),
        |state| state.issuer = "https://other.test".to_owned(),
    ];
    for step in steps {
        step(&mut state);
        state.revision = state.revision.next();
        link.apply(Arc::new(state.clone())).await.unwrap();
        assert_same(&fake.last(), &state);
    }
}

#[tokio::test]
async fn the_newest_session_of_a_gateway_takes_the_place_of_the_one_before() {
    let world = World::start().await;
    let (old, stopping) = keep_gateway(&world);
    let link = world.next_gateway().await;
    let state = rich::state(2);
    link.apply(Arc::new(state.clone())).await.unwrap();
    let mut endless = state.clone();
    endless.revision = Revision::new(ENDLESS);
    let ended = link.apply(Arc::new(endless));
    let again = async {
        old.began.notified().await;
        old.began.notified().await;
        stopping.cancel();
        keep_gateway(&world)
    };
    let (ended, (new, _stopping)) = tokio::join!(ended, again);
    assert!(matches!(ended, Err(EnforceError::Link(_))), "{ended:?}");
    // The parts of the state are the same values, and yet all of them are sent.
    let again = world.next_gateway().await;
    again.apply(Arc::new(state.clone())).await.unwrap();
    assert_same(&new.last(), &state);
    assert!(link.apply(Arc::new(state)).await.is_err());
}

#[tokio::test]
async fn a_second_session_ends_the_first_one_that_is_still_there() {
    let world = World::start().await;
    let mut client = LinksClient::new(world.channel(Some(&path_of(gateway()))));
    let mut open = async || {
        let says = futures_util::stream::pending::<proto::GatewaySays>();
        client.gateway_session(says).await.unwrap().into_inner()
    };
    let mut first = open().await;
    let link = world.next_gateway().await;
    let _second = open().await;
    assert!(matches!(first.message().await, Ok(None)));
    assert!(link.apply(Arc::new(rich::state(1))).await.is_err());
}

#[tokio::test]
async fn who_is_retired_is_not_heard_in_the_middle_of_a_session_and_comes_back_when_enrolled() {
    let world = World::start().await;
    let (fake, _stopping) = keep_gateway(&world);
    let link = world.next_gateway().await;
    let state = rich::state(2);
    link.apply(Arc::new(state.clone())).await.unwrap();
    world.retire(gateway());
    let next = Arc::new(rich::state(3));
    assert!(matches!(link.apply(next).await, Err(EnforceError::Link(_))));
    world.enrol_again(gateway());
    let link = world.next_gateway().await;
    link.apply(Arc::new(state.clone())).await.unwrap();
    assert_same(&fake.last(), &state);
}

/// A gateway that says what it wants: what it is asked, and where its answers go.
async fn rogue(
    world: &World,
) -> (
    tonic::Streaming<proto::GatewayAsked>,
    mpsc::Sender<proto::GatewaySays>,
) {
    let mut client = LinksClient::new(world.channel(Some(&path_of(gateway()))));
    let (sender, mut says) = mpsc::channel(8);
    let says = futures_util::stream::poll_fn(move |cx| says.poll_recv(cx));
    let asked = client.gateway_session(says).await.unwrap().into_inner();
    (asked, sender)
}

#[tokio::test]
async fn a_session_that_answers_what_was_not_asked_is_ended() {
    let answers = [
        // Of no ask that there was.
        (7, Some(Answer::PinsJson(Vec::new()))),
        (0, None),
    ];
    for (number, answer) in answers {
        let world = World::start().await;
        let (mut asked, says) = rogue(&world).await;
        let link = world.next_gateway().await;
        let applied = link.apply(Arc::new(rich::state(1)));
        let answering = async {
            assert_eq!(asked.message().await.unwrap().unwrap().number, 0);
            says.send(proto::GatewaySays { number, answer })
                .await
                .unwrap();
            asked.message().await
        };
        let (applied, told) = tokio::join!(applied, answering);
        assert!(matches!(applied, Err(EnforceError::Link(_))), "{applied:?}");
        assert_eq!(told.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}

#[tokio::test]
async fn an_answer_of_another_kind_is_no_answer() {
    let world = World::start().await;
    let (mut asked, says) = rogue(&world).await;
    let link = world.next_gateway().await;
    let wrong = [
        Answer::PinsJson(b"[]".to_vec()),
        Answer::Applied(proto::Applied {
            revision: 1,
            ended_json: b"{}".to_vec(),
            earlier: Vec::new(),
        }),
    ];
    for answer in wrong {
        let answer = Some(answer);
        let applied = link.apply(Arc::new(rich::state(1)));
        let answering = async {
            let number = asked.message().await.unwrap().unwrap().number;
            says.send(proto::GatewaySays { number, answer })
                .await
                .unwrap();
        };
        let (applied, ()) = tokio::join!(applied, answering);
        assert!(matches!(applied, Err(EnforceError::Link(_))), "{applied:?}");
    }
}
