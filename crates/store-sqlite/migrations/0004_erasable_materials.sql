-- What decisions used, sealed under a key of its task, and erased with it.

-- Until here it was kept in the clear, in builds that were never released.
DROP TABLE materials;

-- A key is overwritten where it lies. So this is a table in the order of its numbers, to which rows
-- are only added, and each row keeps its length: none is ever moved to another place in the file.
CREATE TABLE material_keys (
    number INTEGER PRIMARY KEY NOT NULL,
    task TEXT NOT NULL UNIQUE,
    erased INTEGER NOT NULL CHECK (erased IN (0, 1)),
    sealed BLOB NOT NULL CHECK (length(sealed) = 60)
) STRICT;

CREATE TABLE materials (
    commitment BLOB PRIMARY KEY NOT NULL CHECK (length(commitment) = 32),
    task TEXT NOT NULL,
    sealed BLOB NOT NULL
) STRICT;
CREATE INDEX materials_by_task ON materials (task);
CREATE INDEX approvals_by_task ON approvals (task);

CREATE TRIGGER material_keys_stay BEFORE DELETE ON material_keys
BEGIN SELECT RAISE(ABORT, 'that a task was erased is never forgotten'); END;
CREATE TRIGGER material_keys_erased BEFORE UPDATE ON material_keys
WHEN (NEW.number, NEW.task) IS NOT (OLD.number, OLD.task)
    OR NEW.erased = 0 OR NEW.sealed <> zeroblob(60)
BEGIN SELECT RAISE(ABORT, 'a key is only erased'); END;
CREATE TRIGGER materials_as_kept BEFORE UPDATE ON materials
BEGIN SELECT RAISE(ABORT, 'materials are never changed'); END;
CREATE TRIGGER materials_under_a_key BEFORE INSERT ON materials
WHEN NOT EXISTS (SELECT 1 FROM material_keys WHERE task = NEW.task AND erased = 0)
BEGIN SELECT RAISE(ABORT, 'materials are kept under the key of their task'); END;

-- What people were asked about goes with the materials; the log keeps that they were asked.
DROP TRIGGER approvals_stay;
CREATE TRIGGER approvals_stay BEFORE DELETE ON approvals
WHEN NOT EXISTS (SELECT 1 FROM material_keys WHERE task = OLD.task AND erased = 1)
BEGIN SELECT RAISE(ABORT, 'approvals are deleted only with what is erased'); END;
