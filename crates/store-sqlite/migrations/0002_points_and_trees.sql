-- Delegation, approvals, joining, leases and the owners of delegation trees.

-- A launch says which delegation its instance acts under: so far the root of its task.
UPDATE runs SET body = json_set(body, '$.delegation',
    (SELECT root FROM tasks WHERE tasks.id = runs.task))
WHERE json_extract(body, '$.delegation') IS NULL;

CREATE INDEX grants_by_task ON grants (task, id);
CREATE INDEX cutoffs_in_order ON cutoffs (at_or_before, subject);

-- `open` is what is pending, or approved and not used.
CREATE TABLE approvals (
    id TEXT PRIMARY KEY NOT NULL,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    task TEXT NOT NULL REFERENCES tasks (id),
    initiator TEXT NOT NULL REFERENCES people (id),
    instance TEXT NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('open', 'over')),
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX approvals_open_once ON approvals (digest) WHERE stage = 'open';
CREATE INDEX approvals_open ON approvals (id) WHERE stage = 'open';

CREATE TABLE join_tokens (
    digest BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    kind TEXT NOT NULL CHECK (kind IN ('gateway', 'node')),
    made_by TEXT NOT NULL REFERENCES people (id),
    expires_at INTEGER NOT NULL,
    used_by TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    point TEXT PRIMARY KEY NOT NULL,
    boot TEXT NOT NULL,
    boot_nanos INTEGER NOT NULL CHECK (boot_nanos >= 0),
    acknowledged INTEGER NOT NULL CHECK (acknowledged >= 0),
    address TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE tree_owners (
    task TEXT PRIMARY KEY NOT NULL REFERENCES tasks (id),
    gateway TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch > 0),
    released INTEGER NOT NULL CHECK (released IN (0, 1))
) STRICT, WITHOUT ROWID;

-- What is never forgotten or rewritten, whatever a future change of this program asks for.
CREATE TRIGGER approvals_stay BEFORE DELETE ON approvals
BEGIN SELECT RAISE(ABORT, 'approvals are never deleted'); END;
CREATE TRIGGER approvals_as_asked BEFORE UPDATE ON approvals
WHEN (NEW.id, NEW.digest, NEW.task, NEW.initiator, NEW.instance)
    IS NOT (OLD.id, OLD.digest, OLD.task, OLD.initiator, OLD.instance)
BEGIN SELECT RAISE(ABORT, 'what is asked never changes'); END;
CREATE TRIGGER approvals_over BEFORE UPDATE ON approvals WHEN OLD.stage = 'over'
BEGIN SELECT RAISE(ABORT, 'an approval that is over never changes'); END;
CREATE TRIGGER join_tokens_stay BEFORE DELETE ON join_tokens
BEGIN SELECT RAISE(ABORT, 'join tokens are never deleted'); END;
CREATE TRIGGER join_tokens_once BEFORE UPDATE ON join_tokens WHEN OLD.used_by IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a join token is used once'); END;
CREATE TRIGGER tree_owners_stay BEFORE DELETE ON tree_owners
BEGIN SELECT RAISE(ABORT, 'owners of trees are never forgotten'); END;
CREATE TRIGGER tree_owners_onward BEFORE UPDATE ON tree_owners WHEN NEW.epoch < OLD.epoch
BEGIN SELECT RAISE(ABORT, 'a tree never gets an earlier owner back'); END;
