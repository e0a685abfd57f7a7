-- Upstreams and their credentials. A credential is sealed under a data key of its own, and that
-- under the master key, which is not in this file; the one before is gone when it is replaced.

CREATE TABLE upstreams (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE credentials (
    upstream TEXT PRIMARY KEY NOT NULL REFERENCES upstreams (id),
    version INTEGER NOT NULL CHECK (version > 0),
    wrapped_key BLOB NOT NULL,
    sealed BLOB NOT NULL
) STRICT;

CREATE TRIGGER upstreams_stay BEFORE DELETE ON upstreams
BEGIN SELECT RAISE(ABORT, 'upstreams are never deleted'); END;
CREATE TRIGGER credentials_onward BEFORE UPDATE ON credentials WHEN NEW.version <= OLD.version
BEGIN SELECT RAISE(ABORT, 'a credential never gets an earlier version back'); END;
