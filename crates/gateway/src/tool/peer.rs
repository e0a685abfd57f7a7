//! The conversation with one tool server over its standard streams.
//!
//! The server is not trusted: lines are bounded, everything is parsed strictly, a response must
//! answer a request that is open, and unasked messages are counted. The first violation ends the
//! conversation.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_crypto::sha256;
use aims_json::Value;
use aims_mcp::build::{self, ErrorAnswer};
use aims_mcp::stdio::{frame, single_line};
use aims_mcp::{
    Message, Notice, Notification, ProgressToken, Request, RequestId, Response, code, limits,
};
use aims_types::{BootTime, Clock, Digest};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod pump;

use super::ToolChild;

/// Most messages that wait for the tool to read them.
const LINES_WAITING_MAX: usize = 64;
/// Most cancelled requests whose late answers are still expected.
const CANCELLED_MAX: usize = 1024;

/// How the conversation ended, or why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PeerFault {
    /// The process closed its output.
    #[error("it ended")]
    Ended,
    /// It said something that is no message.
    #[error("it sent what is no message: {0}")]
    Garbage(String),
    /// It answered a request that is not open: never asked, or answered before.
    #[error("it answered request {0}, which is not open")]
    Unasked(String),
    /// It sends more than it may.
    #[error("it sent more than it may: {0}")]
    Flood(&'static str),
    /// It no longer reads.
    #[error("it does not read what it is sent")]
    Deaf,
    /// It did not answer in time.
    #[error("it did not answer in time")]
    Silent,
    /// We ended it.
    #[error("it was ended")]
    Stopped,
    /// Too many calls were taken back that may go on.
    #[error("too many of its calls were taken back and not answered")]
    Abandoned,
    /// What it worked for is cut off.
    #[error("what it worked for is cut off")]
    CutOff,
    /// When its turn came, the request was not allowed to go out any more.
    #[error("the request was not sent: it may not begin any more")]
    Withheld,
}

/// An answer, ready for whoever asked.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The response, under the asker's id if there was one, else as it came.
    pub(crate) bytes: Vec<u8>,
    /// Digest of the response as it came.
    pub(crate) digest: Digest,
    /// Whether it is an error, or a result that says `isError`.
    pub(crate) is_error: bool,
}

/// How a request is asked.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    /// Under which id the answer is wanted.
    pub(crate) answer_as: Option<RequestId>,
    /// Under which token progress is wanted, and where it goes.
    pub(crate) progress: Option<(ProgressToken, mpsc::Sender<Vec<u8>>)>,
    /// Asked right before the first byte goes out.
    pub(crate) leave: Option<Leave>,
}

/// Whether a request may go out, asked right before it does.
pub(crate) struct Leave(Box<dyn FnOnce() -> Option<Went> + Send>);

/// Called right after each piece of a request went out.
pub(crate) type Went = Box<dyn Fn() + Send + Sync>;

/// One line toward the tool.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    /// The request that it is, and whether it may go out.
    leave: Option<(i64, Leave)>,
}

/// A request that was sent. Dropping it forgets it: a late answer is then dropped too.
#[derive(Debug)]
pub(crate) struct Asked {
    id: i64,
    answer: oneshot::Receiver<Result<Answer, PeerFault>>,
    shared: Arc<Shared>,
    done: bool,
}

/// One side of the conversation: ours.
#[derive(Debug, Clone)]
pub(crate) struct Peer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    outgoing: mpsc::Sender<Line>,
    state: Mutex<State>,
    stopped: CancellationToken,
    tools_changed: AtomicBool,
    messages_per_sec: u32,
}

#[derive(Debug, Default)]
struct State {
    next: i64,
    open: HashMap<i64, Waiting>,
    cancelled: HashSet<i64>,
    fault: Option<PeerFault>,
    /// The second in which unasked messages are counted, and how many there were.
    window: Option<(BootTime, u32)>,
}

#[derive(Debug)]
struct Waiting {
    asking: Asking,
    reply: oneshot::Sender<Result<Answer, PeerFault>>,
}

impl Leave {
    /// A leave that `may` gives or refuses.
    pub(crate) fn new(may: impl FnOnce() -> Option<Went> + Send + 'static) -> Self {
        Self(Box::new(may))
    }

    fn ask(self) -> Option<Went> {
        (self.0)()
    }
}

impl std::fmt::Debug for Leave {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leave")
    }
}

impl Peer {
    /// Starts the conversation with a child; its process is returned for whoever ends it.
    pub(crate) fn start(
        child: ToolChild,
        messages_per_sec: u32,
        clock: Arc<dyn Clock>,
        tasks: &TaskTracker,
    ) -> (Self, Box<dyn super::ToolProcess>) {
        let ToolChild {
            stdin,
            stdout,
            stderr,
            process,
            hidden,
        } = child;
        let (outgoing, lines) = mpsc::channel(LINES_WAITING_MAX);
        let shared = Arc::new(Shared {
            outgoing,
            state: Mutex::default(),
            stopped: CancellationToken::new(),
            tools_changed: AtomicBool::new(false),
            messages_per_sec,
        });
        tasks.spawn(pump::write(Arc::clone(&shared), stdin, lines));
        tasks.spawn(pump::read(Arc::clone(&shared), stdout, clock));
        tasks.spawn(pump::log(shared.stopped.clone(), stderr, hidden));
        (Self(shared), process)
    }

    /// Sends a request made by `message` under our own id.
    pub(crate) async fn ask(
        &self,
        mut asking: Asking,
        message: impl FnOnce(i64) -> Vec<u8>,
    ) -> Result<Asked, PeerFault> {
        let leave = asking.leave.take();
        let (reply, answer) = oneshot::channel();
        let id = {
            let mut state = self.0.state();
            if let Some(fault) = &state.fault {
                return Err(fault.clone());
            }
            state.next += 1;
            let id = state.next;
            state.open.insert(id, Waiting { asking, reply });
            id
        };
        let asked = Asked {
            id,
            answer,
            shared: Arc::clone(&self.0),
            done: false,
        };
        let line = Line {
            bytes: line(&message(id))?,
            leave: leave.map(|leave| (id, leave)),
        };
        self.queue(line).await?;
        Ok(asked)
    }

    /// Asks and waits for at most `within`.
    pub(crate) async fn ask_within(
        &self,
        within: Duration,
        message: impl FnOnce(i64) -> Vec<u8>,
    ) -> Result<Answer, PeerFault> {
        let answer = async { self.ask(Asking::default(), message).await?.answer().await };
        match tokio::time::timeout(within, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(PeerFault::Silent),
        }
    }

    /// Sends a message as one line.
    pub(crate) async fn send(&self, message: Vec<u8>) -> Result<(), PeerFault> {
        let bytes = line(&message)?;
        self.queue(Line { bytes, leave: None }).await
    }

    async fn queue(&self, line: Line) -> Result<(), PeerFault> {
        let sent = tokio::select! {
            biased;
            () = self.0.stopped.cancelled() => return Err(self.fault()),
            sent = self.0.outgoing.send(line) => sent,
        };
        sent.map_err(|_| self.fault())
    }

    /// Ends the conversation from our side, unless it has ended already.
    pub(crate) fn stop(&self, why: PeerFault) {
        self.0.fail(why);
    }

    /// Tells when the conversation has ended.
    pub(crate) fn stopped(&self) -> &CancellationToken {
        &self.0.stopped
    }

    /// How the conversation ended.
    pub(crate) fn fault(&self) -> PeerFault {
        self.0.state().fault.clone().unwrap_or(PeerFault::Ended)
    }

    /// Whether the server said that its tools changed since this was last asked.
    pub(crate) fn take_tools_changed(&self) -> bool {
        self.0.tools_changed.swap(false, Ordering::AcqRel)
    }
}

impl Asked {
    /// Under which id the tool knows the request.
    pub(crate) const fn id(&self) -> i64 {
        self.id
    }

    /// Waits for the answer; may be called again if it was given up.
    pub(crate) async fn answer(&mut self) -> Result<Answer, PeerFault> {
        let answer = (&mut self.answer).await;
        self.done = true;
        answer.unwrap_or_else(|_| {
            let fault = self.shared.state().fault.clone();
            Err(fault.unwrap_or(PeerFault::Ended))
        })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let mut state = self.shared.state();
        if state.open.remove(&self.id).is_some() && state.cancelled.len() < CANCELLED_MAX {
            state.cancelled.insert(self.id);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, fault: PeerFault) {
        let mut state = self.state();
        state.fault.get_or_insert(fault);
        state.open.clear();
        drop(state);
        self.stopped.cancel();
    }

    /// A request did not go out.
    fn withhold(&self, id: i64) {
        let waiting = self.state().open.remove(&id);
        if let Some(Waiting { reply, .. }) = waiting {
            let _ = reply.send(Err(PeerFault::Withheld));
        }
    }

    fn take(&self, line: &[u8], clock: &dyn Clock) -> Result<(), PeerFault> {
        let message = Message::parse(line, &limits::TOOL_MESSAGE)
            .map_err(|refused| PeerFault::Garbage(refused.to_string()))?;
        match message {
            Message::Response(response) => self.answered(&response),
            Message::Request(request) => {
                self.count(clock.boot())?;
                self.asked(&request)
            }
            Message::Notification(notification) => {
                self.count(clock.boot())?;
                self.noticed(&notification);
                Ok(())
            }
        }
    }

    fn answered(&self, response: &Response<'_>) -> Result<(), PeerFault> {
        let unasked = || {
            let id = response
                .id()
                .map_or_else(|| "null".to_owned(), ToString::to_string);
            Err(PeerFault::Unasked(id.chars().take(64).collect()))
        };
        let Some(RequestId::Integer(id)) = response.id() else {
            return unasked();
        };
        let waiting = {
            let mut state = self.state();
            if state.cancelled.remove(id) {
                return Ok(());
            }
            state.open.remove(id)
        };
        let Some(Waiting { asking, reply }) = waiting else {
            return unasked();
        };
        let bytes = match &asking.answer_as {
            Some(id) => build::with_id(response, id),
            None => response.bytes().to_vec(),
        };
        let says_error = |result: &Value| result.get("isError").and_then(Value::as_bool);
        let answer = Answer {
            bytes,
            digest: sha256(response.bytes()),
            is_error: response.error().is_some()
                || response.result().and_then(says_error) == Some(true),
        };
        // Whoever gave up meanwhile does not hear it.
        let _ = reply.send(Ok(answer));
        Ok(())
    }

    /// A tool's server may ask for a sign of life and for nothing else: sampling, elicitation and
    /// roots were not offered, as they would pass the enforcement point undecided.
    fn asked(&self, request: &Request<'_>) -> Result<(), PeerFault> {
        let answer = if request.method_name() == "ping" {
            build::pong(request.id())
        } else {
            let error = ErrorAnswer {
                code: code::METHOD_NOT_FOUND,
                message: "this client offers no methods".to_owned(),
                data: None,
            };
            build::error(Some(request.id()), &error)
        };
        let bytes = line(&answer)?;
        self.outgoing
            .try_send(Line { bytes, leave: None })
            .map_err(|_| PeerFault::Flood("requests"))
    }

    fn noticed(&self, notification: &Notification<'_>) {
        match notification.notice() {
            Ok(Notice::Progress(progress)) => self.progressed(notification, &progress.token),
            Ok(Notice::ToolsListChanged) => self.tools_changed.store(true, Ordering::Release),
            // Others are not offered to the agent, and a malformed one says nothing.
            _ => {}
        }
    }

    /// Our token is our id: progress goes to the request that is open under it, or nowhere.
    fn progressed(&self, notification: &Notification<'_>, token: &ProgressToken) {
        let Some(id) = token.to_value().as_i64() else {
            return;
        };
        let state = self.state();
        let progress = state
            .open
            .get(&id)
            .and_then(|open| open.asking.progress.as_ref());
        if let Some((wanted, events)) = progress
            && let Some(message) = build::with_progress_token(notification, wanted)
        {
            // Progress may be left out when the agent reads too slowly.
            let _ = events.try_send(message);
        }
    }

    fn count(&self, now: BootTime) -> Result<(), PeerFault> {
        let mut state = self.state();
        let (since, count) = match state.window {
            Some((since, count)) if now.since(since) < Duration::from_secs(1) => (since, count + 1),
            _ => (now, 1),
        };
        state.window = Some((since, count));
        if count > self.messages_per_sec {
            Err(PeerFault::Flood("messages"))
        } else {
            Ok(())
        }
    }
}

/// A message as one line.
fn line(message: &[u8]) -> Result<Vec<u8>, PeerFault> {
    frame(&single_line(message)).map_err(|error| PeerFault::Garbage(error.to_string()))
}
