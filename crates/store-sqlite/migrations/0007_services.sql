-- Ordinary services and their attested processes.

CREATE TABLE services (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    spiffe_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL REFERENCES people (id),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE service_instances (
    id TEXT PRIMARY KEY NOT NULL,
    service TEXT NOT NULL REFERENCES services (id),
    node TEXT NOT NULL,
    process TEXT NOT NULL,
    stage TEXT NOT NULL CHECK (stage IN ('live', 'ended')),
    body TEXT NOT NULL
) STRICT;
CREATE INDEX service_instances_live ON service_instances (id) WHERE stage = 'live';
CREATE INDEX service_instances_by_process ON service_instances (process, id);

CREATE TRIGGER services_stay BEFORE DELETE ON services
BEGIN SELECT RAISE(ABORT, 'services are never deleted'); END;
