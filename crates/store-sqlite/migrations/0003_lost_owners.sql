-- What owners of delegation trees may have recorded that the server has not got.

-- How far an owner may be ahead. One that was told nothing is not bounded: 0.
ALTER TABLE tree_owners ADD COLUMN ahead INTEGER NOT NULL DEFAULT 0 CHECK (ahead >= 0);

-- Earlier owners whose logs may hold uses of the tree that the server has not got.
CREATE TABLE tree_owners_lost (
    task TEXT NOT NULL REFERENCES tree_owners (task),
    gateway TEXT NOT NULL,
    uses INTEGER NOT NULL CHECK (uses > 0),
    since INTEGER NOT NULL CHECK (since > 0),
    PRIMARY KEY (task, gateway)
) STRICT, WITHOUT ROWID;
CREATE INDEX tree_owners_lost_by_gateway ON tree_owners_lost (gateway, task);
