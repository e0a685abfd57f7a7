CREATE TABLE agents (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    spiffe_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL REFERENCES people (id),
    body TEXT NOT NULL
) STRICT;

CREATE TRIGGER agents_stay BEFORE DELETE ON agents
BEGIN SELECT RAISE(ABORT, 'agents are never deleted'); END;

CREATE TABLE cutoffs (
    subject TEXT NOT NULL,
    at_or_before INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (subject, at_or_before)
) STRICT;

CREATE TRIGGER cutoffs_as_written BEFORE UPDATE ON cutoffs
BEGIN SELECT RAISE(ABORT, 'cut-offs are never changed'); END;

CREATE TRIGGER cutoffs_stay BEFORE DELETE ON cutoffs
BEGIN SELECT RAISE(ABORT, 'cut-offs are never deleted'); END;

CREATE TABLE enrolled_keys (
    kid TEXT PRIMARY KEY NOT NULL,
    purpose TEXT NOT NULL,
    enrolled_at INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX enrolled_keys_by_purpose ON enrolled_keys (purpose, enrolled_at, kid);

CREATE TABLE grants (
    id TEXT PRIMARY KEY NOT NULL,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    task TEXT NOT NULL REFERENCES tasks (id),
    jws TEXT NOT NULL
) STRICT;

CREATE TABLE instances (
    id TEXT PRIMARY KEY NOT NULL,
    agent TEXT NOT NULL REFERENCES agents (id),
    task TEXT NOT NULL REFERENCES tasks (id),
    run TEXT NOT NULL REFERENCES runs (id),
    stage TEXT NOT NULL CHECK (stage IN ('live', 'ended')),
    body TEXT NOT NULL
) STRICT;

CREATE INDEX instances_by_task ON instances (task, id);

CREATE INDEX instances_live ON instances (id) WHERE stage = 'live';

CREATE TABLE log_entries (
    leaf INTEGER PRIMARY KEY CHECK (leaf >= 0),
    source TEXT NOT NULL,
    seq INTEGER NOT NULL,
    task TEXT,
    record BLOB NOT NULL,
    UNIQUE (source, seq)
) STRICT;

CREATE INDEX log_entries_by_task ON log_entries (task, leaf) WHERE task IS NOT NULL;

CREATE TRIGGER log_entries_as_written BEFORE UPDATE ON log_entries
BEGIN SELECT RAISE(ABORT, 'log entries are never changed'); END;

CREATE TRIGGER log_entries_stay BEFORE DELETE ON log_entries
BEGIN SELECT RAISE(ABORT, 'log entries are never deleted'); END;

CREATE TABLE log_head (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    checkpoint TEXT NOT NULL
) STRICT;

CREATE TABLE log_sources (
    source TEXT PRIMARY KEY NOT NULL,
    seq INTEGER NOT NULL CHECK (seq > 0),
    digest BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT;

CREATE TABLE materials (
    commitment BLOB PRIMARY KEY NOT NULL CHECK (length(commitment) = 32),
    task TEXT NOT NULL,
    salt BLOB NOT NULL CHECK (length(salt) = 16),
    bytes BLOB NOT NULL
) STRICT;

CREATE INDEX materials_by_task ON materials (task);

CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY CHECK (seq > 0),
    record BLOB NOT NULL
) STRICT;

CREATE TRIGGER outbox_as_written BEFORE UPDATE ON outbox
BEGIN SELECT RAISE(ABORT, 'records are never changed'); END;

CREATE TABLE outbox_head (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    digest BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT;

CREATE TABLE people (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;

CREATE TRIGGER people_stay BEFORE DELETE ON people
BEGIN SELECT RAISE(ABORT, 'people are never deleted'); END;

CREATE TABLE policies (
    id TEXT PRIMARY KEY NOT NULL,
    number INTEGER NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE replays (
    kind TEXT NOT NULL,
    value BLOB NOT NULL CHECK (length(value) = 32),
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

CREATE INDEX replays_by_expiry ON replays (expires_at);

CREATE TABLE revision_head (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0)
) STRICT;

CREATE TABLE runs (
    id TEXT PRIMARY KEY NOT NULL,
    ticket BLOB NOT NULL UNIQUE CHECK (length(ticket) = 32),
    task TEXT NOT NULL REFERENCES tasks (id),
    agent TEXT NOT NULL REFERENCES agents (id),
    requested_by TEXT NOT NULL REFERENCES people (id),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE servers (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;

CREATE TRIGGER servers_stay BEFORE DELETE ON servers
BEGIN SELECT RAISE(ABORT, 'servers are never deleted'); END;

CREATE TABLE tasks (
    id TEXT PRIMARY KEY NOT NULL,
    agent TEXT NOT NULL REFERENCES agents (id),
    initiator TEXT NOT NULL REFERENCES people (id),
    root TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE trust_domain (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
