//! The sessions over which the server asks this gateway or node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aims_links::{ControlState, Cut, Enforce, EnforceError, InspectError, LinkError, Step, Vouch};
use aims_types::{self as types, Id, Instance};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Streaming;

use super::{Links, answer, no_answer, unreadable};
use crate::message::{Read, json, needed, text, to_json};
use crate::proto::{self, gateway_asked, gateway_says, node_asked, node_says};
use crate::session::ASKS_WAITING_MAX;
use crate::state::{Parts, changed};

/// First and longest pause before a session that ended is opened again.
const SESSION_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

impl Links {
    /// Keeps a session in which the server asks `gateway`, until `stopping`; opens it again when
    /// it ends.
    pub async fn keep_gateway(&self, gateway: Arc<dyn Enforce>, stopping: CancellationToken) {
        let keeping = self.keep("gateway", |pauses| self.gateway_session(&gateway, pauses));
        stopping.run_until_cancelled(keeping).await;
    }

    /// Keeps a session in which the server asks `node`, until `stopping`; opens it again when it
    /// ends.
    pub async fn keep_node(&self, node: Arc<dyn Vouch>, stopping: CancellationToken) {
        let keeping = self.keep("node", |pauses| self.node_session(&node, pauses));
        stopping.run_until_cancelled(keeping).await;
    }

    /// Opens a session again whenever it ends, for ever, and at once over a new connection.
    async fn keep<F>(&self, what: &'static str, session: impl Fn(Arc<Pauses>) -> F)
    where
        F: Future<Output = Result<(), LinkError>>,
    {
        let pauses = Arc::new(Pauses(Mutex::new(SESSION_PAUSES.0)));
        let mut redialled = self.0.redialled.subscribe();
        loop {
            let pause = tokio::select! {
                ended = session(Arc::clone(&pauses)) => {
                    if let Err(error) = ended {
                        tracing::warn!(%error, "the server does not ask this {what}");
                    }
                    pauses.next()
                }
                // The sender lives as long as this.
                _ = redialled.changed() => Duration::ZERO,
            };
            sleep(pause).await;
        }
    }

    async fn gateway_session(
        &self,
        gateway: &Arc<dyn Enforce>,
        pauses: Arc<Pauses>,
    ) -> Result<(), LinkError> {
        let (sender, says) = mpsc::channel(ASKS_WAITING_MAX);
        let mut client = self.client();
        let mut asked = answer(client.gateway_session(stream(says)))
            .await?
            .into_inner();
        let answering = Answering::default();
        let mut states = States::default();
        while let Some(ask) = next(&mut asked).await? {
            pauses.start_over();
            let (gateway, sender, number) = (Arc::clone(gateway), sender.clone(), ask.number);
            let ask = needed("ask", ask.ask).map_err(|error| unreadable(&error))?;
            let ready = states.ready(ask).map_err(|error| unreadable(&error))?;
            let Some(ready) = ready else { continue };
            answering.0.spawn(async move {
                let answer = Some(answer_of(gateway.as_ref(), ready).await);
                drop(sender.send(proto::GatewaySays { number, answer }).await);
            });
        }
        Ok(())
    }

    async fn node_session(
        &self,
        node: &Arc<dyn Vouch>,
        pauses: Arc<Pauses>,
    ) -> Result<(), LinkError> {
        let (sender, says) = mpsc::channel(ASKS_WAITING_MAX);
        let mut client = self.client();
        let mut asked = answer(client.node_session(stream(says)))
            .await?
            .into_inner();
        let answering = Answering::default();
        while let Some(ask) = next(&mut asked).await? {
            pauses.start_over();
            let (node, sender, number) = (Arc::clone(node), sender.clone(), ask.number);
            let ask = needed("ask", ask.ask).and_then(|ask| asked_of_node(&ask));
            let ask = ask.map_err(|error| unreadable(&error))?;
            answering.0.spawn(async move {
                match answer_of_node(node.as_ref(), ask).await {
                    Ok(answer) => {
                        let answer = Some(answer);
                        drop(sender.send(proto::NodeSays { number, answer }).await);
                    }
                    // Saying nothing is not an acknowledgement.
                    Err(error) => tracing::error!(%error, "the node could not do what it must"),
                }
            });
        }
        Ok(())
    }
}

/// The pause before the next session; longer each time that the server asked nothing.
struct Pauses(Mutex<Duration>);

impl Pauses {
    fn start_over(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = SESSION_PAUSES.0;
    }

    fn next(&self) -> Duration {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let longer = (*next * 2).min(SESSION_PAUSES.1);
        std::mem::replace(&mut next, longer)
    }
}

/// What a node was asked: to end something, or else what it has.
fn asked_of_node(ask: &node_asked::Ask) -> Read<Option<Cut>> {
    let node_asked::Ask::Cut(cut) = ask else {
        return Ok(None);
    };
    let instances = cut.instances.iter().map(|id| text("instance", id));
    Ok(Some(Cut {
        revision: types::Revision::new(cut.revision),
        instances: instances.collect::<Read<Vec<Id<Instance>>>>()?,
        gateways: cut.gateways.clone(),
        doors: cut.doors,
    }))
}

async fn answer_of_node(
    node: &dyn Vouch,
    cut: Option<Cut>,
) -> Result<node_says::Answer, LinkError> {
    if let Some(cut) = cut {
        let ended = node.end(cut).await?;
        return Ok(node_says::Answer::EndedJson(to_json(&ended)));
    }
    let held = node.held().await?;
    let instances = held.iter().map(ToString::to_string).collect();
    Ok(node_says::Answer::Held(proto::Held { instances }))
}

/// Answers that are being made; those of a session that ended come to their end unheard.
#[derive(Default)]
struct Answering(TaskTracker);

/// Something that was asked and read.
enum Ready {
    Apply(Arc<ControlState>),
    Inspect(types::Name, Box<aims_model::ServerSpec>),
}

/// The states of one session: the last one, and what has come of the next.
#[derive(Default)]
struct States {
    last: Option<Arc<ControlState>>,
    parts: Parts,
}

impl States {
    /// What was asked, if this completes it.
    fn ready(&mut self, ask: gateway_asked::Ask) -> Read<Option<Ready>> {
        Ok(match ask {
            gateway_asked::Ask::State(part) => match self.parts.add(&part)? {
                Some(change) => {
                    let state = Arc::new(changed(self.last.as_deref(), change)?);
                    self.last = Some(Arc::clone(&state));
                    Some(Ready::Apply(state))
                }
                None => None,
            },
            gateway_asked::Ask::Inspect(asked) => {
                let spec = Box::new(json("spec", &asked.spec_json)?);
                Some(Ready::Inspect(text("name", &asked.name)?, spec))
            }
        })
    }
}

fn step(step: &Step) -> proto::Step {
    proto::Step {
        after: step.after.number(),
        to: step.to.number(),
        ended_json: to_json(&step.ended),
    }
}

async fn answer_of(gateway: &dyn Enforce, ready: Ready) -> gateway_says::Answer {
    use gateway_says::Answer;
    let failed = |started, reason| Answer::Failed(proto::InspectFailed { started, reason });
    match ready {
        Ready::Apply(state) => {
            let wanted = state.revision.number();
            match gateway.apply(state).await {
                Ok(applied) => Answer::Applied(proto::Applied {
                    revision: applied.revision.number(),
                    ended_json: to_json(&applied.ended),
                    earlier: applied.earlier.iter().map(step).collect(),
                }),
                Err(EnforceError::Unusable { revision, reason }) => {
                    let revision = revision.number();
                    Answer::Unusable(proto::Unusable { revision, reason })
                }
                Err(EnforceError::Link(error)) => Answer::Unusable(proto::Unusable {
                    revision: wanted,
                    reason: error.to_string(),
                }),
            }
        }
        Ready::Inspect(name, spec) => match gateway.inspect(name, *spec).await {
            Ok(pins) => Answer::PinsJson(to_json(&pins)),
            Err(InspectError::Protocol(reason)) => failed(true, reason),
            Err(InspectError::Start(reason)) => failed(false, reason),
            Err(InspectError::Link(error)) => failed(false, error.to_string()),
        },
    }
}

async fn next<T>(asked: &mut Streaming<T>) -> Result<Option<T>, LinkError> {
    asked.message().await.map_err(|status| no_answer(&status))
}

fn stream<T: Send + 'static>(
    receiver: mpsc::Receiver<T>,
) -> impl futures_util::Stream<Item = T> + Send + 'static {
    Box::pin(futures_util::stream::unfold(
        receiver,
        |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
    ))
}
