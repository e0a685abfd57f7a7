//! Opening a session: a tool server in walls of its own, and the handshake with it.

use std::sync::Arc;

use aims_crypto::base64url;
use aims_json::{Object, Value};
use aims_mcp::http::SessionId;
use aims_mcp::initialize::{InitializeError, ServerHello, initialize_request};
use aims_mcp::{Message, ProtocolVersion, build, limits};
use aims_types::{self as types, Id, Name};
use aims_wal::Class;
use tokio::sync::oneshot;

use super::session::{ListFault, Opening, Session, ToolTable, supervise};
use crate::authn::{AuthnError, Caller};
use crate::core::Core;
use crate::journal::JournalError;
use crate::live::{Kind, Live};
use crate::state::State;
use crate::tool::peer::{Peer, PeerFault};
use crate::tool::{StartFault, ToolChild, ToolProcess};
use aims_decision::short;

/// The name under which the gateway speaks to tool servers.
const CLIENT_NAME: &str = "aims-gateway";
/// Bytes of randomness in a session's id.
const SESSION_ID_BYTES: usize = 32;

/// A session that was opened, and what its server said.
pub(crate) struct Opened {
    pub(crate) session: Arc<Session>,
    pub(crate) hello: ServerHello,
}

/// Why a session was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenFault {
    /// There are too many already.
    #[error("too many sessions are open: end one, or wait until an idle one ends")]
    Busy,
    /// Cut off meanwhile.
    #[error(transparent)]
    Caller(#[from] AuthnError),
    /// Nothing can be recorded.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] types::EntropyError),
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartFault),
    /// It does not speak the protocol.
    #[error("the tool server does not speak MCP: {0}")]
    Hello(#[from] HelloFault),
    /// It was not ready in time.
    #[error("the tool server did not start in time")]
    Late,
}

/// Why a server's greeting failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloFault {
    /// The conversation failed.
    #[error(transparent)]
    Peer(#[from] PeerFault),
    /// The answer to `initialize` is malformed.
    #[error(transparent)]
    Initialize(#[from] InitializeError),
    /// The list of tools failed.
    #[error(transparent)]
    List(#[from] ListFault),
}

/// Opens a session in a task of its own, so that it is either registered or ended even if the
/// agent goes away meanwhile.
pub(crate) async fn open(
    core: &Arc<Core>,
    caller: Caller,
    state: Arc<State>,
    server: Name,
    version: ProtocolVersion,
) -> Result<Opened, OpenFault> {
    let (reply, opened) = oneshot::channel();
    let task = Arc::clone(core);
    core.tasks.spawn(async move {
        let opened = open_tracked(&task, &caller, &state, server, version).await;
        if let Err(Ok(unwanted)) = reply.send(opened) {
            unwanted.session.stop.cancel();
        }
    });
    opened.await.unwrap_or(Err(OpenFault::Late))
}

async fn open_tracked(
    core: &Arc<Core>,
    caller: &Caller,
    state: &State,
    server: Name,
    version: ProtocolVersion,
) -> Result<Opened, OpenFault> {
    let slot = core
        .sessions
        .take(caller.token.instance)
        .ok_or(OpenFault::Busy)?;
    let live = core.live.enter(
        Arc::clone(&caller.subjects),
        caller.token.revision,
        Kind::Server,
    );
    core.look_again(caller)?;
    let key: Id<types::Session> = core.id()?;
    let note = Object::new()
        .with("session", key.to_string())
        .with("server", server.as_str())
        .with("instance", caller.token.instance.to_string());
    let task = Some(caller.token.task);
    core.note_session(Class::Intent, task, note.clone().with("what", "started"))
        .await?;
    let started = start(core, state, &server, (caller, &live)).await;
    let (peer, process, hello, tools) = match started {
        Ok(started) => started,
        Err(fault) => {
            let body = note
                .with("what", "refused")
                .with("why", short(&fault.to_string()));
            core.note_session(Class::Outcome, task, body).await?;
            return Err(fault);
        }
    };
    let session = Session::new(
        Opening {
            id: session_id(core)?,
            key,
            server,
            instance: caller.token.instance,
            task: caller.token.task,
            version,
            peer,
            tools,
        },
        core.clock.boot(),
    );
    let session = Arc::new(session);
    note_strays(core, state, &session).await?;
    core.sessions.add(Arc::clone(&session));
    core.tasks.spawn(supervise(
        Arc::clone(core),
        Arc::clone(&session),
        process,
        live,
        slot,
    ));
    Ok(Opened { session, hello })
}

/// Records the tools that are not as registered; they are hidden.
pub(crate) async fn note_strays(
    core: &Core,
    state: &State,
    session: &Session,
) -> Result<(), JournalError> {
    let strays = session.tools().strays(state, &session.server);
    if strays.is_empty() {
        return Ok(());
    }
    let tool = |(how, tool): &(&'static str, String)| {
        Value::from(Object::new().with("tool", short(tool)).with("how", *how))
    };
    let tools: Vec<Value> = strays
        .iter()
        .take(aims_model::server::TOOLS_MAX)
        .map(tool)
        .collect();
    let body = session.describe("not_as_pinned").with("tools", tools);
    core.note_session(Class::Outcome, Some(session.task), body)
        .await
}

type Started = (Peer, Box<dyn ToolProcess>, ServerHello, ToolTable);

/// Starts a server and greets it. On failure, and when it is cut off, nothing of it runs on; what
/// starts is waited for, so that it is not left behind.
async fn start(
    core: &Arc<Core>,
    state: &State,
    server: &Name,
    (caller, live): (&Caller, &Live),
) -> Result<Started, OpenFault> {
    let registered = state.server(server).ok_or(OpenFault::Late)?;
    core.look_again(caller)?;
    if !live.effect().begin() {
        return Err(OpenFault::Late);
    }
    let child = core.tools.start(server, &registered.spec).await;
    let child = child.inspect_err(|_| live.effect().settle())?;
    let (peer, process) = converse(core, child);
    let greeted = tokio::select! {
        biased;
        () = live.cut().cancelled() => Err(OpenFault::Late),
        greeted = tokio::time::timeout(core.config.limits.tool_start, greet(core, &peer)) => {
            greeted.map_or(Err(OpenFault::Late), |greeted| greeted.map_err(OpenFault::Hello))
        }
    };
    match greeted {
        Ok((hello, tools)) => Ok((peer, process, hello, tools)),
        Err(fault) => {
            peer.stop(PeerFault::Stopped);
            if let Err(error) = process.end().await {
                tracing::warn!(%error, "a tool server could not be ended");
            }
            if !live.cut().is_cancelled() {
                live.effect().settle();
            }
            Err(fault)
        }
    }
}

/// Starts the conversation with a child.
pub(crate) fn converse(core: &Core, child: ToolChild) -> (Peer, Box<dyn ToolProcess>) {
    let rate = core.config.limits.tool_messages_per_sec;
    Peer::start(child, rate, Arc::clone(&core.clock), &core.tasks)
}

/// The handshake toward the tool, and its tools.
pub(crate) async fn greet(
    core: &Core,
    peer: &Peer,
) -> Result<(ServerHello, ToolTable), HelloFault> {
    let within = core.config.limits.tool_start;
    let version = env!("CARGO_PKG_VERSION");
    let ask = |id: i64| initialize_request(&id.into(), CLIENT_NAME, version);
    let answer = peer.ask_within(within, ask).await?;
    let message = Message::parse(&answer.bytes, &limits::TOOL_MESSAGE);
    let Ok(Message::Response(response)) = message else {
        return Err(PeerFault::Garbage("no response".to_owned()).into());
    };
    let hello = ServerHello::read(&response)?;
    peer.send(build::initialized()).await?;
    let tools = if hello.has_tools {
        ToolTable::fetch(peer, within).await?
    } else {
        ToolTable::default()
    };
    Ok((hello, tools))
}

fn session_id(core: &Core) -> Result<SessionId, types::EntropyError> {
    let mut random = [0; SESSION_ID_BYTES];
    core.entropy.fill(&mut random)?;
    SessionId::new(&base64url::encode(&random)).ok_or(types::EntropyError)
}
