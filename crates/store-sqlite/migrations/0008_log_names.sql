-- By what an entry of the log is found without reading the log.

CREATE TABLE log_names (
    name TEXT NOT NULL CHECK (length(name) > 0),
    leaf INTEGER NOT NULL REFERENCES log_entries (leaf),
    PRIMARY KEY (name, leaf)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER log_names_as_written BEFORE UPDATE ON log_names
BEGIN SELECT RAISE(ABORT, 'names of log entries are never changed'); END;

CREATE TRIGGER log_names_stay BEFORE DELETE ON log_names
BEGIN SELECT RAISE(ABORT, 'names of log entries are never deleted'); END;

-- The entries of before: what records of each kind are found by.
WITH named (kind, member) AS (VALUES
    ('key.enrolled', 'kid'), ('key.enrolled', 'owner'), ('person.enrolled', 'person'),
    ('agent.registered', 'agent'), ('server.registered', 'name'), ('policy.activated', 'policy'),
    ('task.started', 'grant_digest'), ('delegation.granted', 'grant_digest'),
    ('instance.attested', 'instance'), ('token.issued', 'jti'), ('approval.asked', 'approval'),
    ('approval.answered', 'approval'), ('call.intent', 'decision_id'),
    ('call.outcome', 'decision_id')
),
entries (leaf, kind, body) AS NOT MATERIALIZED (
    SELECT leaf, CAST(record AS TEXT) ->> '$.kind', CAST(record AS TEXT) -> '$.body'
    FROM log_entries
)
INSERT INTO log_names (name, leaf)
SELECT kind || ' ' || member || ' ' || (body ->> member), leaf
FROM entries CROSS JOIN named USING (kind)
WHERE json_type(body, '$.' || member) = 'text'
    AND length(CAST(body ->> member AS BLOB)) <= 256
UNION ALL
SELECT 'domain.created  ', leaf FROM entries WHERE kind = 'domain.created'
UNION ALL
SELECT 'tree.owned epoch ' || (body ->> 'task') || '/' || (body ->> 'epoch'), leaf FROM entries
WHERE kind = 'tree.owned' AND json_type(body, '$.task') = 'text'
    AND json_type(body, '$.epoch') = 'integer'
    AND length(CAST((body ->> 'task') || '/' || (body ->> 'epoch') AS BLOB)) <= 256;
