-- The audit trail: append-only, one hash chain per correlation in the order of acceptance.
CREATE TABLE audit_events (
    sequence            INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id            TEXT    NOT NULL UNIQUE,
    event_version       TEXT    NOT NULL,
    event_timestamp     INTEGER NOT NULL, -- microseconds since 1970-01-01T00:00:00Z
    event_date          TEXT    NOT NULL,
    event_type          TEXT    NOT NULL,
    event_category      TEXT    NOT NULL,
    event_action        TEXT    NOT NULL,
    event_outcome       TEXT    NOT NULL,
    correlation_id      TEXT    NOT NULL,
    event_data          TEXT    NOT NULL,
    actor_type          TEXT    NOT NULL,
    actor_id            TEXT    NOT NULL,
    resource_type       TEXT    NOT NULL,
    resource_id         TEXT    NOT NULL,
    parent_event_id     TEXT    REFERENCES audit_events (event_id) DEFERRABLE INITIALLY DEFERRED,
    namespace           TEXT,
    cluster_name        TEXT,
    severity            TEXT    NOT NULL,
    duration_ms         INTEGER,
    event_hash          TEXT    NOT NULL,
    previous_event_hash TEXT    NOT NULL,
    recorded_at         INTEGER NOT NULL  -- microseconds since 1970-01-01T00:00:00Z, by the storing clock
) STRICT;

CREATE INDEX audit_events_by_time ON audit_events (event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_by_correlation ON audit_events (correlation_id, event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_by_type ON audit_events (event_type, event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_chain ON audit_events (correlation_id, sequence);

CREATE TRIGGER audit_events_are_not_deleted BEFORE DELETE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit events are append-only');
END;

CREATE TRIGGER audit_events_are_not_changed BEFORE UPDATE ON audit_events
BEGIN
    SELECT RAISE(ABORT, 'audit events are append-only');
END;

-- One row, rewritten to learn whether writing works.
CREATE TABLE write_probe (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    count INTEGER NOT NULL
) STRICT;
