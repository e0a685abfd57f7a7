//! Sessions: how the server asks a gateway or node on another host, over the stream that it opened.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_links::{
    Admit, Applied, ControlState, Cut, Enforce, EnforceError, InspectError, LinkError, Refusal,
    Vouch,
};
use aims_model::receipt::Ended;
use aims_model::{Point, ServerSpec, ToolPin};
use aims_types::{Id, Instance, Name, Revision};
use async_trait::async_trait;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::message::{self, Read, json, malformed, needed, text, to_json};
use crate::proto::{self, gateway_asked, gateway_says, node_asked, node_says};
use crate::state::{change, in_parts, whole};

/// Most asks of one session that are under way.
pub const ASKS_WAITING_MAX: usize = 64;
/// How long an answer may take: a tool server that is looked at may take a minute to start. A
/// session that does not give it is ended, so that the next one starts with a whole state.
pub const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// A stream of messages out of a channel.
pub(crate) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The other end of a session.
#[async_trait]
pub(crate) trait Remote: Send + Sync + 'static {
    /// What it says.
    type Says: Send + 'static;

    /// Hands an answer to whoever waits for it.
    fn hear(&self, said: Self::Says) -> Read<()>;

    /// What says that the session has ended, and ends it.
    fn ended(&self) -> &CancellationToken;

    /// Ends the session, with a reason for the other side if there is one.
    fn end(&self, why: Option<Status>);

    /// Links it as `point`.
    async fn attach(
        self: Arc<Self>,
        admit: &dyn Admit,
        point: Point,
    ) -> Result<Result<Revision, Refusal>, LinkError>;
}

/// Asks under way, and where their answers are waited for.
struct Asks<Q, A> {
    peer: &'static str,
    sender: mpsc::Sender<Result<Q, Status>>,
    waiting: Mutex<Waiting<A>>,
    ended: CancellationToken,
}

struct Waiting<A> {
    next: u64,
    by_number: HashMap<u64, oneshot::Sender<A>>,
}

/// A gateway at the other end of a session.
pub(crate) struct RemoteGateway {
    asks: Asks<proto::GatewayAsked, gateway_says::Answer>,
    /// The state that was sent last.
    sent: Mutex<Option<Arc<ControlState>>>,
}

/// A node at the other end of a session.
pub(crate) struct RemoteNode {
    asks: Asks<proto::NodeAsked, node_says::Answer>,
}

impl<Q: Send + 'static, A> Asks<Q, A> {
    fn new(peer: &'static str, ended: CancellationToken) -> (Self, Messages<Q>) {
        let (sender, receiver) = mpsc::channel(ASKS_WAITING_MAX);
        let waiting = Mutex::new(Waiting {
            next: 0,
            by_number: HashMap::new(),
        });
        let asked = messages(receiver, ended.clone());
        let asks = Self {
            peer,
            sender,
            waiting,
            ended,
        };
        (asks, asked)
    }

    /// Sends what `ask` makes of a new number and waits for its answer.
    async fn ask(&self, ask: impl FnOnce(u64) -> Q) -> Result<A, LinkError> {
        let asking = async {
            let permit = self.sender.reserve().await.ok();
            let permit = permit.ok_or_else(|| self.broken("its session has ended"))?;
            let (answered, answer) = oneshot::channel();
            self.send(permit, answered, ask)?;
            answer
                .await
                .map_err(|_| self.broken("its session has ended"))
        };
        match timeout(ANSWER_TIMEOUT, self.ended.run_until_cancelled(asking)).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(self.broken("its session has ended")),
            Err(_) => {
                self.end(Some(Status::deadline_exceeded(
                    "an ask was not answered in time",
                )));
                Err(self.broken("it did not answer in time, and its session was ended"))
            }
        }
    }

    /// Numbered and sent in one step, so that what is sent later is numbered later.
    fn send(
        &self,
        permit: mpsc::Permit<'_, Result<Q, Status>>,
        answered: oneshot::Sender<A>,
        ask: impl FnOnce(u64) -> Q,
    ) -> Result<(), LinkError> {
        let mut waiting = self.waiting();
        waiting
            .by_number
            .retain(|_, answered| !answered.is_closed());
        if waiting.by_number.len() >= ASKS_WAITING_MAX {
            return Err(self.broken("too many asks wait for it"));
        }
        if self.ended.is_cancelled() {
            return Err(self.broken("its session has ended"));
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.by_number.insert(number, answered);
        permit.send(Ok(ask(number)));
        Ok(())
    }

    /// The answer to the ask with this number. One that nobody waits for any more is dropped.
    fn answered(&self, number: u64, answer: A) -> Read<()> {
        let mut waiting = self.waiting();
        if number >= waiting.next {
            return Err(malformed("number", "nothing was asked under it"));
        }
        let waiting = waiting.by_number.remove(&number);
        drop(waiting.map(|waiting| waiting.send(answer)));
        Ok(())
    }

    /// Ends the session, with a reason for the other side if there is one.
    fn end(&self, why: Option<Status>) {
        if let Some(why) = why {
            // Where the channel is full, the session ends without its reason.
            drop(self.sender.try_send(Err(why)));
        }
        self.ended.cancel();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting<A>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn out_of_turn(&self) -> LinkError {
        self.broken("it answered something else than what it was asked")
    }

    fn broken(&self, reason: &str) -> LinkError {
        LinkError {
            peer: self.peer,
            reason: reason.to_owned(),
        }
    }
}

impl RemoteGateway {
    /// A gateway that is asked until `ended`, and what it is asked.
    pub(crate) fn new(ended: CancellationToken) -> (Arc<Self>, Messages<proto::GatewayAsked>) {
        let (asks, asked) = Asks::new("gateway", ended);
        let sent = Mutex::new(None);
        (Arc::new(Self { asks, sent }), in_parts(asked))
    }

    /// The change from the state that was sent before to this one.
    fn change(&self, state: Arc<ControlState>) -> proto::StateChange {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let change = change(sent.as_deref(), &state);
        *sent = Some(state);
        change
    }
}

impl RemoteNode {
    /// A node that is asked until `ended`, and what it is asked.
    pub(crate) fn new(ended: CancellationToken) -> (Arc<Self>, Messages<proto::NodeAsked>) {
        let (asks, asked) = Asks::new("node", ended);
        (Arc::new(Self { asks }), asked)
    }
}

#[async_trait]
impl Remote for RemoteGateway {
    type Says = proto::GatewaySays;

    fn hear(&self, said: proto::GatewaySays) -> Read<()> {
        let answer = needed("answer", said.answer)?;
        self.asks.answered(said.number, answer)
    }

    fn ended(&self) -> &CancellationToken {
        &self.asks.ended
    }

    fn end(&self, why: Option<Status>) {
        self.asks.end(why);
    }

    async fn attach(
        self: Arc<Self>,
        admit: &dyn Admit,
        point: Point,
    ) -> Result<Result<Revision, Refusal>, LinkError> {
        admit.attach_gateway(point, self).await
    }
}

#[async_trait]
impl Remote for RemoteNode {
    type Says = proto::NodeSays;

    fn hear(&self, said: proto::NodeSays) -> Read<()> {
        let answer = needed("answer", said.answer)?;
        self.asks.answered(said.number, answer)
    }

    fn ended(&self) -> &CancellationToken {
        &self.asks.ended
    }

    fn end(&self, why: Option<Status>) {
        self.asks.end(why);
    }

    async fn attach(
        self: Arc<Self>,
        admit: &dyn Admit,
        point: Point,
    ) -> Result<Result<Revision, Refusal>, LinkError> {
        admit.attach_node(point, self).await
    }
}

#[async_trait]
impl Enforce for RemoteGateway {
    async fn inspect(&self, name: Name, spec: ServerSpec) -> Result<Vec<ToolPin>, InspectError> {
        let ask = proto::ServerToInspect {
            name: name.to_string(),
            spec_json: to_json(&spec),
        };
        let ask = |number| proto::GatewayAsked {
            number,
            ask: Some(gateway_asked::Ask::Inspect(ask)),
        };
        match self.asks.ask(ask).await? {
            gateway_says::Answer::PinsJson(pins) => {
                Ok(json("pins", &pins).map_err(|error| self.asks.broken(&error.to_string()))?)
            }
            gateway_says::Answer::Failed(failed) if failed.started => {
                Err(InspectError::Protocol(failed.reason))
            }
            gateway_says::Answer::Failed(failed) => Err(InspectError::Start(failed.reason)),
            _ => Err(self.asks.out_of_turn().into()),
        }
    }

    async fn apply(&self, state: Arc<ControlState>) -> Result<Applied, EnforceError> {
        let ask = |number| proto::GatewayAsked {
            number,
            ask: Some(gateway_asked::Ask::State(whole(&self.change(state)))),
        };
        match self.asks.ask(ask).await? {
            gateway_says::Answer::Applied(applied) => Ok(Applied {
                revision: Revision::new(applied.revision),
                ended: message::ended(&applied.ended_json)
                    .map_err(|error| self.asks.broken(&error.to_string()))?,
                earlier: message::steps(&applied.earlier)
                    .map_err(|error| self.asks.broken(&error.to_string()))?,
            }),
            gateway_says::Answer::Unusable(unusable) => Err(EnforceError::Unusable {
                revision: Revision::new(unusable.revision),
                reason: unusable.reason,
            }),
            _ => Err(self.asks.out_of_turn().into()),
        }
    }
}

#[async_trait]
impl Vouch for RemoteNode {
    async fn end(&self, cut: Cut) -> Result<Ended, LinkError> {
        let cut = proto::Cut {
            revision: cut.revision.number(),
            instances: cut.instances.iter().map(ToString::to_string).collect(),
            gateways: cut.gateways,
            doors: cut.doors,
        };
        let ask = |number| proto::NodeAsked {
            number,
            ask: Some(node_asked::Ask::Cut(cut)),
        };
        match self.asks.ask(ask).await? {
            node_says::Answer::EndedJson(ended) => {
                Ok(message::ended(&ended).map_err(|error| self.asks.broken(&error.to_string()))?)
            }
            node_says::Answer::Held(_) => Err(self.asks.out_of_turn()),
        }
    }

    async fn held(&self) -> Result<Vec<Id<Instance>>, LinkError> {
        let ask = |number| proto::NodeAsked {
            number,
            ask: Some(node_asked::Ask::Held(proto::Done {})),
        };
        let node_says::Answer::Held(held) = self.asks.ask(ask).await? else {
            return Err(self.asks.out_of_turn());
        };
        let held = held.instances.iter().map(|id| text("instance", id));
        let held = held.collect::<Read<_>>();
        held.map_err(|error| self.asks.broken(&error.to_string()))
    }
}

/// What comes out of a channel until `ended`, as a stream of messages. What is in it then still
/// comes: the last of it may say why.
fn messages<T: Send + 'static>(
    receiver: mpsc::Receiver<Result<T, Status>>,
    ended: CancellationToken,
) -> Messages<T> {
    Box::pin(unfold((receiver, ended), |(mut receiver, ended)| async {
        let message = tokio::select! {
            biased;
            message = receiver.recv() => message,
            () = ended.cancelled() => receiver.try_recv().ok(),
        };
        Some((message?, (receiver, ended)))
    }))
}

#[cfg(test)]
mod tests;
