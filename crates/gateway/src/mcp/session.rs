//! One session of an agent with its own tool server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aims_crypto::sha256;
use aims_json::Object;
use aims_mcp::http::SessionId;
use aims_mcp::tools::{Tool, ToolList, ToolListError};
use aims_mcp::{Message, ProtocolVersion, RequestId, build, limits};
use aims_types::{self as types, BootTime, Digest, Id, Name};
use aims_wal::Class;
use tokio_util::sync::CancellationToken;

use super::registry::Slot;
use crate::core::Core;
use crate::live::Live;
use crate::state::State;
use crate::tool::ToolProcess;
use crate::tool::peer::{Peer, PeerFault};
use aims_decision::short;

/// How often a session is asked whether it is idle.
const IDLE_CHECK: Duration = Duration::from_secs(5);

/// Most calls of one session that were taken back and not answered.
const LINGERING_MAX: usize = 256;

/// A session. Only the instance that opened it may speak in it, and only to its server.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) key: Id<types::Session>,
    pub(crate) server: Name,
    pub(crate) instance: Id<types::Instance>,
    pub(crate) task: Id<types::Task>,
    pub(crate) version: ProtocolVersion,
    pub(crate) peer: Peer,
    /// Ends the session.
    pub(crate) stop: CancellationToken,
    /// The tool server and everything it started have ended.
    pub(crate) reaped: CancellationToken,
    tools: Mutex<Arc<ToolTable>>,
    calls: Mutex<HashMap<RequestId, CancellationToken>>,
    used: Mutex<BootTime>,
    /// How many calls were taken back that may go on.
    lingering: Arc<AtomicUsize>,
}

/// One call that was taken back and may go on.
pub(crate) struct Lingering(Arc<AtomicUsize>);

/// The tools as the server describes them now.
#[derive(Debug, Default)]
pub(crate) struct ToolTable {
    list: ToolList,
    digests: HashMap<String, Digest>,
}

/// A call in flight under an agent's id; dropping it ends the entry.
pub(crate) struct CallEntry {
    session: Arc<Session>,
    id: RequestId,
    /// The agent does not want the answer any more.
    pub(crate) cancelled: CancellationToken,
}

/// Why a call may not be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallRefused {
    /// Another request of this session has the id.
    IdInUse,
    /// Too many calls are in flight.
    TooMany,
}

/// Why the tools of a server are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListFault {
    /// The conversation failed.
    #[error(transparent)]
    Peer(#[from] PeerFault),
    /// The list is malformed.
    #[error(transparent)]
    List(#[from] ToolListError),
}

/// What a session needs when it begins.
pub(crate) struct Opening {
    pub(crate) id: SessionId,
    pub(crate) key: Id<types::Session>,
    pub(crate) server: Name,
    pub(crate) instance: Id<types::Instance>,
    pub(crate) task: Id<types::Task>,
    pub(crate) version: ProtocolVersion,
    pub(crate) peer: Peer,
    pub(crate) tools: ToolTable,
}

impl Session {
    /// A session that begins now.
    pub(crate) fn new(opening: Opening, now: BootTime) -> Self {
        let Opening {
            id,
            key,
            server,
            instance,
            task,
            version,
            peer,
            tools,
        } = opening;
        Self {
            id,
            key,
            server,
            instance,
            task,
            version,
            peer,
            stop: CancellationToken::new(),
            reaped: CancellationToken::new(),
            tools: Mutex::new(Arc::new(tools)),
            calls: Mutex::default(),
            used: Mutex::new(now),
            lingering: Arc::default(),
        }
    }

    /// Notes that the session is used.
    pub(crate) fn touch(&self, now: BootTime) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    /// The tools as they were last listed.
    pub(crate) fn tools(&self) -> Arc<ToolTable> {
        Arc::clone(&self.tools.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lists the tools anew.
    pub(crate) async fn refresh(&self, within: Duration) -> Result<Arc<ToolTable>, ListFault> {
        let table = Arc::new(ToolTable::fetch(&self.peer, within).await?);
        *self.tools.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&table);
        Ok(table)
    }

    /// Enters a call under the agent's id.
    pub(crate) fn enter(
        self: &Arc<Self>,
        id: &RequestId,
        max: usize,
    ) -> Result<CallEntry, CallRefused> {
        let mut calls = self.calls();
        if calls.contains_key(id) {
            return Err(CallRefused::IdInUse);
        }
        if calls.len() >= max {
            return Err(CallRefused::TooMany);
        }
        let cancelled = CancellationToken::new();
        calls.insert(id.clone(), cancelled.clone());
        Ok(CallEntry {
            session: Arc::clone(self),
            id: id.clone(),
            cancelled,
        })
    }

    /// The agent takes a request back.
    pub(crate) fn cancel(&self, id: &RequestId) {
        if let Some(cancelled) = self.calls().get(id) {
            cancelled.cancel();
        }
    }

    /// Counts a call that was taken back and may go on. Too many of them cost the session: nothing
    /// else ends what the tool does.
    pub(crate) fn lingers(&self) -> Lingering {
        if self.lingering.fetch_add(1, Ordering::Relaxed) >= LINGERING_MAX {
            self.peer.stop(PeerFault::Abandoned);
        }
        Lingering(Arc::clone(&self.lingering))
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<RequestId, CancellationToken>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self, now: BootTime, limit: Duration) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.calls().is_empty() && now.since(used) >= limit
    }

    /// What records say of the session.
    pub(crate) fn describe(&self, what: &'static str) -> Object {
        Object::new()
            .with("session", self.key.to_string())
            .with("server", self.server.as_str())
            .with("instance", self.instance.to_string())
            .with("what", what)
    }
}

impl ToolTable {
    /// All pages of the server's tools, within limits.
    pub(crate) async fn fetch(peer: &Peer, within: Duration) -> Result<Self, ListFault> {
        let pages = async {
            let mut list = ToolList::new();
            let mut cursor: Option<String> = None;
            loop {
                let page = cursor.take();
                let ask = |id: i64| build::tools_list(&id.into(), page.as_deref());
                let answer = peer.ask_within(within, ask).await?;
                let message = Message::parse(&answer.bytes, &limits::TOOL_MESSAGE);
                let Ok(Message::Response(response)) = message else {
                    let fault = PeerFault::Garbage("no response".to_owned());
                    return Err(ListFault::Peer(fault));
                };
                cursor = list.add_page(&response)?;
                if cursor.is_none() {
                    return Ok(list);
                }
            }
        };
        let list = match tokio::time::timeout(within, pages).await {
            Ok(list) => list?,
            Err(_) => return Err(PeerFault::Silent.into()),
        };
        let digest = |tool: &Tool| (tool.name().to_owned(), sha256(tool.pin_bytes()));
        let digests = list.tools().iter().map(digest).collect();
        Ok(Self { list, digests })
    }

    /// The tools.
    pub(crate) fn tools(&self) -> &[Tool] {
        self.list.tools()
    }

    /// Whether the tool is there and is exactly as it was registered.
    pub(crate) fn is_as_pinned(&self, state: &State, server: &Name, tool: &str) -> bool {
        let pin = state.server(server).and_then(|server| server.pin(tool));
        pin.is_some_and(|pin| self.digests.get(tool) == Some(&pin.digest))
    }

    /// The tools that are not as registered: changed, new, gone or malformed.
    pub(crate) fn strays(&self, state: &State, server: &Name) -> Vec<(&'static str, String)> {
        let Some(registered) = state.server(server) else {
            return Vec::new();
        };
        let mut strays = Vec::new();
        for (tool, digest) in &self.digests {
            match registered.pin(tool) {
                None => strays.push(("new", tool.clone())),
                Some(pin) if pin.digest != *digest => strays.push(("changed", tool.clone())),
                Some(_) => {}
            }
        }
        let gone = registered
            .tools()
            .filter(|tool| !self.digests.contains_key(*tool));
        strays.extend(gone.map(|tool| ("gone", tool.to_owned())));
        let refused = self.list.refused().iter();
        strays.extend(refused.map(|tool| ("malformed", tool.name.clone().unwrap_or_default())));
        strays.sort();
        strays
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for CallEntry {
    fn drop(&mut self) {
        self.session.calls().remove(&self.id);
    }
}

/// Watches over a session to its end: cut-off, end by the agent, end of the conversation, idleness.
/// Whatever the reason, it returns only when the tool server is reaped and that is recorded.
pub(crate) async fn supervise(
    core: Arc<Core>,
    session: Arc<Session>,
    process: Box<dyn ToolProcess>,
    live: Live,
    slot: Slot,
) {
    let (why, fault) = loop {
        tokio::select! {
            biased;
            () = live.cut().cancelled() => break ("cut_off", PeerFault::CutOff),
            () = session.peer.stopped().cancelled() => break ("fault", session.peer.fault()),
            () = session.stop.cancelled() => break ("ended", PeerFault::Stopped),
            () = core.stopping.cancelled() => break ("drained", PeerFault::Stopped),
            () = tokio::time::sleep(IDLE_CHECK) => {
                if session.is_idle(core.clock.boot(), core.config.limits.session_idle) {
                    break ("idle", PeerFault::Stopped);
                }
            }
        }
    };
    core.sessions.remove(session.id.as_str());
    session.peer.stop(fault.clone());
    let ended = process.end().await;
    if ended.is_ok() {
        session.reaped.cancel();
    }
    let (how, is_over) = match ended {
        Ok(how) => (how, true),
        Err(error) => (format!("could not be ended: {error}"), false),
    };
    let body = session
        .describe("ended")
        .with("why", why)
        .with("fault", short(&fault.to_string()))
        .with("how", how.as_str());
    // The journal raises the alarm if this can't be written; the session is over either way.
    let _ = core
        .note_session(Class::Outcome, Some(session.task), body)
        .await;
    if !is_over {
        // Something of it may run on: whoever waits for its end waits on.
        tracing::error!(how, "a tool server could not be ended");
        std::mem::forget((live, slot));
        return;
    }
    if why != "cut_off" {
        live.effect().settle();
    }
    drop((live, slot));
}
