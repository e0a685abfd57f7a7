CREATE TABLE agents (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    spiffe_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL REFERENCES people (id),
    body TEXT NOT NULL
) STRICT;

CREATE TRIGGER agents_stay BEFORE DELETE ON agents
BEGIN SELECT RAISE(ABORT, 'agents are never deleted'); END;

CREATE TABLE approvals (
    id TEXT PRIMARY KEY NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    task TEXT NOT NULL REFERENCES tasks (id),
    initiator TEXT NOT NULL REFERENCES people (id),
    instance TEXT NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('open', 'over')),
    body TEXT NOT NULL
) STRICT;

CREATE INDEX approvals_by_task ON approvals (task);

CREATE INDEX approvals_open ON approvals (id) WHERE stage = 'open';

CREATE UNIQUE INDEX approvals_open_once ON approvals (digest) WHERE stage = 'open';

CREATE TRIGGER approvals_as_asked BEFORE UPDATE ON approvals
WHEN (NEW.id, NEW.digest, NEW.task, NEW.initiator, NEW.instance)
    IS NOT (OLD.id, OLD.digest, OLD.task, OLD.initiator, OLD.instance)
BEGIN SELECT RAISE(ABORT, 'what is asked never changes'); END;

CREATE TRIGGER approvals_over BEFORE UPDATE ON approvals WHEN OLD.stage = 'over'
BEGIN SELECT RAISE(ABORT, 'an approval that is over never changes'); END;

CREATE TRIGGER approvals_stay BEFORE DELETE ON approvals
WHEN NOT EXISTS (SELECT 1 FROM material_keys WHERE task = OLD.task AND erased = 1)
BEGIN SELECT RAISE(ABORT, 'approvals are deleted only with what is erased'); END;

CREATE TABLE credentials (
    upstream TEXT PRIMARY KEY NOT NULL REFERENCES upstreams (id),
    version INTEGER NOT NULL CHECK (version > 0),
    wrapped_key BLOB NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

CREATE TRIGGER credentials_onward BEFORE UPDATE ON credentials WHEN NEW.version <= OLD.version
BEGIN SELECT RAISE(ABORT, 'a credential never gets an earlier version back'); END;

CREATE TABLE cutoffs (
    subject TEXT NOT NULL,
    at_or_before INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (subject, at_or_before)
) STRICT;

CREATE INDEX cutoffs_in_order ON cutoffs (at_or_before, subject);

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

CREATE INDEX grants_by_task ON grants (task, id);

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

CREATE TABLE join_tokens (
    digest BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    kind TEXT NOT NULL CHECK (kind IN ('gateway', 'node')),
    made_by TEXT NOT NULL REFERENCES people (id),
    expires_at INTEGER NOT NULL,
    used_by TEXT
) STRICT, WITHOUT ROWID;

CREATE TRIGGER join_tokens_once BEFORE UPDATE ON join_tokens WHEN OLD.used_by IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a join token is used once'); END;

CREATE TRIGGER join_tokens_stay BEFORE DELETE ON join_tokens
BEGIN SELECT RAISE(ABORT, 'join tokens are never deleted'); END;

CREATE TABLE leases (
    point TEXT PRIMARY KEY NOT NULL,
    boot TEXT NOT NULL,
    boot_nanos INTEGER NOT NULL CHECK (boot_nanos >= 0),
    acknowledged INTEGER NOT NULL CHECK (acknowledged >= 0),
    address TEXT
) STRICT, WITHOUT ROWID;

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

CREATE TABLE log_names (
    name TEXT NOT NULL CHECK (length(name) > 0),
    leaf INTEGER NOT NULL REFERENCES log_entries (leaf),
    PRIMARY KEY (name, leaf)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER log_names_as_written BEFORE UPDATE ON log_names
BEGIN SELECT RAISE(ABORT, 'names of log entries are never changed'); END;

CREATE TRIGGER log_names_stay BEFORE DELETE ON log_names
BEGIN SELECT RAISE(ABORT, 'names of log entries are never deleted'); END;

CREATE TABLE log_sources (
    source TEXT PRIMARY KEY NOT NULL,
    seq INTEGER NOT NULL CHECK (seq > 0),
    digest BLOB NOT NULL CHECK (length(digest) = 32)
) STRICT;

CREATE TABLE material_keys (
    number INTEGER PRIMARY KEY NOT NULL,
    task TEXT NOT NULL UNIQUE,
    erased INTEGER NOT NULL CHECK (erased IN (0, 1)),
    sealed BLOB NOT NULL CHECK (length(sealed) = 60)
) STRICT;

CREATE TRIGGER material_keys_erased BEFORE UPDATE ON material_keys
WHEN (NEW.number, NEW.task) IS NOT (OLD.number, OLD.task)
    OR NEW.erased = 0 OR NEW.sealed <> zeroblob(60)
BEGIN SELECT RAISE(ABORT, 'a key is only erased'); END;

CREATE TRIGGER material_keys_stay BEFORE DELETE ON material_keys
BEGIN SELECT RAISE(ABORT, 'that a task was erased is never forgotten'); END;

CREATE TABLE materials (
    commitment BLOB PRIMARY KEY NOT NULL CHECK (length(commitment) = 32),
    task TEXT NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

CREATE INDEX materials_by_task ON materials (task);

CREATE TRIGGER materials_as_kept BEFORE UPDATE ON materials
BEGIN SELECT RAISE(ABORT, 'materials are never changed'); END;

CREATE TRIGGER materials_under_a_key BEFORE INSERT ON materials
WHEN NOT EXISTS (SELECT 1 FROM material_keys WHERE task = NEW.task AND erased = 0)
BEGIN SELECT RAISE(ABORT, 'materials are kept under the key of their task'); END;

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

CREATE TABLE service_instances (
    id TEXT PRIMARY KEY NOT NULL,
    service TEXT NOT NULL REFERENCES services (id),
    node TEXT NOT NULL,
    process TEXT NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('live', 'ended')),
    body TEXT NOT NULL
) STRICT;

CREATE INDEX service_instances_by_process ON service_instances (process, id);

CREATE INDEX service_instances_live ON service_instances (id) WHERE stage = 'live';

CREATE TABLE services (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    spiffe_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL REFERENCES people (id),
    body TEXT NOT NULL
) STRICT;

CREATE TRIGGER services_stay BEFORE DELETE ON services
BEGIN SELECT RAISE(ABORT, 'services are never deleted'); END;

CREATE TABLE tasks (
    id TEXT PRIMARY KEY NOT NULL,
    agent TEXT NOT NULL REFERENCES agents (id),
    initiator TEXT NOT NULL REFERENCES people (id),
    root TEXT NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE tree_owners (
    task TEXT PRIMARY KEY NOT NULL REFERENCES tasks (id),
    gateway TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch > 0),
    released INTEGER NOT NULL CHECK (released IN (0, 1))
, ahead INTEGER NOT NULL DEFAULT 0 CHECK (ahead >= 0)) STRICT, WITHOUT ROWID;

CREATE TRIGGER tree_owners_onward BEFORE UPDATE ON tree_owners WHEN NEW.epoch < OLD.epoch
BEGIN SELECT RAISE(ABORT, 'a tree never gets an earlier owner back'); END;

CREATE TRIGGER tree_owners_stay BEFORE DELETE ON tree_owners
BEGIN SELECT RAISE(ABORT, 'owners of trees are never forgotten'); END;

CREATE TABLE tree_owners_lost (
    task TEXT NOT NULL REFERENCES tree_owners (task),
    gateway TEXT NOT NULL,
    uses INTEGER NOT NULL CHECK (uses > 0),
    since INTEGER NOT NULL CHECK (since > 0),
    PRIMARY KEY (task, gateway)
) STRICT, WITHOUT ROWID;

CREATE INDEX tree_owners_lost_by_gateway ON tree_owners_lost (gateway, task);

CREATE TABLE trust_domain (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE upstreams (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;

CREATE TRIGGER upstreams_stay BEFORE DELETE ON upstreams
BEGIN SELECT RAISE(ABORT, 'upstreams are never deleted'); END;
