//! Records: what happened, in one canonical encoding, chained per source.
//!
//! A record is canonical JSON (RFC 8785, integers only) with the members `v`, `source`, `seq`,
//! `prev`, `at`, `kind`, `body`, and `request` and `task` where there is one. `seq` starts at 1 and
//! has no gaps; `prev` is the SHA-256 of the previous record of the same source, so that a lost,
//! reordered or rewritten record shows.

use std::fmt;
use std::str::FromStr;

use aims_json::{Limits, Object, Value};
use aims_types::{Digest, Gateway, Id, Request, Task, Timestamp};

/// Version of the record's form.
pub const RECORD_VERSION: u64 = 1;
/// Longest record: what a C2SP entry bundle can hold (tlog-tiles: uint16 length).
pub const RECORD_LEN_MAX: usize = 65_535;
/// What `prev` says in the first record of a source.
pub const FIRST_PREV: Digest = Digest::from_bytes([0; 32]);

/// Who wrote a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The control plane.
    Server,
    /// One enforcement point.
    Gateway(Id<Gateway>),
}

macro_rules! event_kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// What kind of thing happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum EventKind { $($(#[$doc])* $name),* }

        impl EventKind {
            /// Every kind there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The kind as records write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

event_kinds! {
    /// The trust domain came into being.
    DomainCreated = "domain.created",
    /// A key was enrolled.
    KeyEnrolled = "key.enrolled",
    /// A key was retired.
    KeyRetired = "key.retired",
    /// A person was enrolled.
    PersonEnrolled = "person.enrolled",
    /// A person was removed.
    PersonRemoved = "person.removed",
    /// An agent was registered.
    AgentRegistered = "agent.registered",
    /// An agent changed its stage.
    AgentStageChanged = "agent.stage_changed",
    /// A tool server was registered.
    ServerRegistered = "server.registered",
    /// An upstream was registered, with a credential that is on no record.
    UpstreamRegistered = "upstream.registered",
    /// The credential of an upstream was replaced.
    UpstreamRotated = "upstream.rotated",
    /// An upstream was retired: nothing is asked of it any more.
    UpstreamRetired = "upstream.retired",
    /// A gateway got the credential of an upstream, to be used toward its host alone.
    UpstreamLeased = "upstream.leased",
    /// A policy version came into force.
    PolicyActivated = "policy.activated",
    /// A certificate was issued to a server, a node or a gateway.
    SvidIssued = "svid.issued",
    /// A service was registered, with leave to export keys to exactly one executable.
    ServiceRegistered = "service.registered",
    /// A service was retired.
    ServiceRetired = "service.retired",
    /// A process of a service was attested.
    ServiceAttested = "service.attested",
    /// A process of a service ended, or is not what was attested any more.
    ServiceEnded = "service.ended",
    /// A certificate and its private key were handed to a process in the open.
    KeyExported = "key.exported",
    /// A JWT-SVID was handed to a process in the open.
    JwtSvidIssued = "jwt_svid.issued",
    /// A token was made that lets one node or gateway join.
    JoinAllowed = "join.allowed",
    /// A task was started, with its root delegation.
    TaskStarted = "task.started",
    /// A task was ended.
    TaskEnded = "task.ended",
    /// A task was frozen: what was issued to its instances is dead.
    TaskFrozen = "task.frozen",
    /// A frozen task was opened again.
    TaskResumed = "task.resumed",
    /// What decisions of an ended task used was erased.
    TaskErased = "task.erased",
    /// An agent handed a narrower piece of its authority to another.
    DelegationGranted = "delegation.granted",
    /// A delegation was refused: what was asked, which constraint failed.
    DelegationRefused = "delegation.refused",
    /// An action waits for a person's answer.
    ApprovalAsked = "approval.asked",
    /// A person answered.
    ApprovalAnswered = "approval.answered",
    /// A request for approval ended without an answer, or its approval was used.
    ApprovalEnded = "approval.ended",
    /// Something was killed: the cut-off, and the revision at which it is in force.
    Killed = "killed",
    /// A kill is complete: each point, acknowledged or lapsed, and when.
    KillCompleted = "kill.completed",
    /// A gateway became the owner of a delegation tree, or gave it back.
    TreeOwned = "tree.owned",
    /// Everything that a lost owner of a delegation tree recorded about it is in the log.
    TreeAccounted = "tree.accounted",
    /// A person asked for a launch.
    RunRequested = "run.requested",
    /// A node took up a launch.
    RunRedeemed = "run.redeemed",
    /// An instance was attested and got its credential.
    InstanceAttested = "instance.attested",
    /// An instance was refused: what was expected, what was seen.
    InstanceRefused = "instance.refused",
    /// An instance ended; everything of it is cut off.
    InstanceEnded = "instance.ended",
    /// An access token was issued.
    TokenIssued = "token.issued",
    /// A request was refused: by whom, what, why.
    RequestRefused = "request.refused",
    /// An action was permitted; durable before it takes effect.
    CallIntent = "call.intent",
    /// What became of a permitted action.
    CallOutcome = "call.outcome",
    /// A part of a permitted action went out, or of an answer to an agent, after the lease had
    /// ended that allowed it: the gateway was stopped in between.
    EffectLate = "effect.late",
    /// An action was denied.
    CallDenied = "call.denied",
    /// A count of denials past the named rate, with the first and the last.
    CallDeniedMany = "call.denied_many",
    /// A tool server's session started or ended, or a tool was not as pinned.
    ServerSession = "server.session",
    /// An enforcement point started.
    GatewayStarted = "gateway.started",
}

/// Something that happened, before it has its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What kind of thing.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
    /// The request that caused it.
    pub request: Option<Id<Request>>,
    /// The task it belongs to.
    pub task: Option<Id<Task>>,
    /// What is particular to the kind.
    pub body: Object,
}

/// A record with its place in its source's sequence.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Who wrote it.
    pub source: Source,
    /// Its place: 1, 2, 3, …
    pub seq: u64,
    /// SHA-256 of the previous record of the same source.
    pub prev: Digest,
    /// What happened.
    pub event: Event,
}

/// Why bytes are not a record, or an event can't become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Not canonical JSON.
    #[error("the record is not canonical JSON: {0}")]
    Encoding(String),
    /// A member is missing, unknown or malformed.
    #[error("the record's member `{0}` is missing or malformed")]
    Member(&'static str),
    /// Longer than a log entry can be.
    #[error("the record has {0} bytes; a log entry holds at most 65535")]
    TooLong(usize),
}

impl Event {
    /// An event without request and task.
    pub fn new(kind: EventKind, at: Timestamp, body: Object) -> Self {
        Self {
            kind,
            at,
            request: None,
            task: None,
            body,
        }
    }

    /// The same event, caused by this request.
    #[must_use]
    pub fn caused_by(mut self, request: Id<Request>) -> Self {
        self.request = Some(request);
        self
    }

    /// The same event, belonging to this task.
    #[must_use]
    pub fn of_task(mut self, task: Id<Task>) -> Self {
        self.task = Some(task);
        self
    }

    /// The event as the `seq`th record of `source`, after the record with digest `prev`.
    pub fn encode(&self, source: Source, seq: u64, prev: Digest) -> Result<Vec<u8>, RecordError> {
        let mut members = Object::new()
            .with("v", RECORD_VERSION)
            .with("source", source.to_string())
            .with("seq", seq)
            .with("prev", prev.to_string())
            .with("at", self.at.unix_millis())
            .with("kind", self.kind.as_str())
            .with("body", self.body.clone());
        if let Some(request) = self.request {
            members = members.with("request", request.to_string());
        }
        if let Some(task) = self.task {
            members = members.with("task", task.to_string());
        }
        let bytes = aims_json::to_canonical(&Value::Object(members))
            .map_err(|error| RecordError::Encoding(error.to_string()))?;
        if bytes.len() > RECORD_LEN_MAX {
            return Err(RecordError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }
}

impl Record {
    /// Reads a record; any other encoding of the same content is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_LEN_MAX {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let value = aims_json::parse_canonical(bytes, &Limits::MESSAGE)
            .map_err(|error| RecordError::Encoding(error.to_string()))?;
        Self::from_value(value)
    }

    /// Reads what is part of a canonical text already.
    pub fn from_value(value: Value) -> Result<Self, RecordError> {
        let Value::Object(mut members) = value else {
            return Err(RecordError::Encoding("not an object".to_owned()));
        };
        let mut take = |name: &'static str| members.remove(name).ok_or(RecordError::Member(name));
        if take("v")?.as_u64() != Some(RECORD_VERSION) {
            return Err(RecordError::Member("v"));
        }
        let source = parsed(&take("source")?, "source")?;
        let seq = take("seq")?.as_u64().ok_or(RecordError::Member("seq"))?;
        let prev = parsed(&take("prev")?, "prev")?;
        let at = take("at")?.as_u64().ok_or(RecordError::Member("at"))?;
        let kind = parsed(&take("kind")?, "kind")?;
        let Value::Object(body) = take("body")? else {
            return Err(RecordError::Member("body"));
        };
        let request = take("request")
            .ok()
            .map(|v| parsed(&v, "request"))
            .transpose()?;
        let task = take("task").ok().map(|v| parsed(&v, "task")).transpose()?;
        if !members.is_empty() {
            return Err(RecordError::Member("unknown"));
        }
        let at = Timestamp::from_unix_millis(at);
        Ok(Self {
            source,
            seq,
            prev,
            event: Event {
                kind,
                at,
                request,
                task,
                body,
            },
        })
    }
}

fn parsed<T: FromStr>(value: &Value, name: &'static str) -> Result<T, RecordError> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or(RecordError::Member(name))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Gateway(id) => fmt::Display::fmt(id, f),
        }
    }
}

impl FromStr for Source {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "server" {
            return Ok(Self::Server);
        }
        text.parse()
            .map(Self::Gateway)
            .map_err(|_| RecordError::Member("source"))
    }
}

impl FromStr for EventKind {
    type Err = RecordError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|kind| kind.as_str() == text);
        found.copied().ok_or(RecordError::Member("kind"))
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(kind: EventKind) -> Event {
        let body = Object::new()
            .with("what", "a \u{e9} \"quoted\" thing")
            .with("n", 7_u64);
        Event::new(kind, Timestamp::from_unix_millis(1_795_307_428_007), body)
            .of_task(Id::from_u128(3))
            .caused_by(Id::from_u128(4))
    }

    #[test]
    fn every_kind_round_trips_in_both_sources() {
        for kind in EventKind::ALL {
            for source in [Source::Server, Source::Gateway(Id::from_u128(5))] {
                let bytes = event(*kind).encode(source, 9, FIRST_PREV).unwrap();
                let record = Record::decode(&bytes).unwrap();
                assert_eq!(
                    (record.source, record.seq, record.prev),
                    (source, 9, FIRST_PREV)
                );
                assert_eq!(record.event, event(*kind));
            }
        }
    }

    #[test]
    fn another_encoding_of_the_same_record_is_refused() {
        let bytes = event(EventKind::TaskStarted)
            .encode(Source::Server, 1, FIRST_PREV)
            .unwrap();
        let text = String::from_utf8(bytes).unwrap();
        for changed in [
            format!(" {text}"),
            format!("{text}\n"),
            text.replacen("\"v\":1", "\"v\":1.0", 1),
            text.replacen("\"v\":1", "\"v\":2", 1),
            text.replacen("{\"at\"", "{\"aa\":1,\"at\"", 1),
            text.replacen("\u{e9}", "\\u00e9", 1),
        ] {
            assert_ne!(changed, text);
            assert!(Record::decode(changed.as_bytes()).is_err(), "{changed}");
        }
    }

    #[test]
    fn a_record_that_no_log_entry_can_hold_is_refused() {
        let body = Object::new().with("x", "y".repeat(RECORD_LEN_MAX));
        let event = Event::new(EventKind::CallDenied, Timestamp::from_unix_secs(1), body);
        let error = event.encode(Source::Server, 1, FIRST_PREV).unwrap_err();
        assert!(matches!(error, RecordError::TooLong(_)));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Record::decode(&bytes);
        }
    }
}
