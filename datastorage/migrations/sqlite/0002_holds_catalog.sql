-- Legal holds, removal by retention, notification records and the workflow catalog. Times are microseconds since
-- 1970-01-01T00:00:00Z.

CREATE TABLE legal_holds (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    correlation_id TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    placed_by      TEXT    NOT NULL,
    placed_at      INTEGER NOT NULL,
    release_reason TEXT,
    released_by    TEXT,
    released_at    INTEGER
) STRICT;

CREATE UNIQUE INDEX legal_holds_in_force ON legal_holds (correlation_id) WHERE released_at IS NULL;

-- Correlations whose time is over, named here only while they are being removed.
CREATE TABLE audit_removals (
    correlation_id TEXT PRIMARY KEY
) STRICT;

DROP TRIGGER audit_events_are_not_deleted;

CREATE TRIGGER audit_events_under_hold_are_not_deleted BEFORE DELETE ON audit_events
WHEN EXISTS (SELECT 1 FROM legal_holds WHERE correlation_id = OLD.correlation_id AND released_at IS NULL)
BEGIN
    SELECT RAISE(ABORT, 'audit events are under legal hold');
END;

CREATE TRIGGER audit_events_are_not_deleted BEFORE DELETE ON audit_events
WHEN NOT EXISTS (SELECT 1 FROM audit_removals WHERE correlation_id = OLD.correlation_id)
BEGIN
    SELECT RAISE(ABORT, 'audit events are append-only');
END;

CREATE INDEX audit_events_parent ON audit_events (parent_event_id) WHERE parent_event_id IS NOT NULL;

CREATE TABLE notification_audit (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    notification_id  TEXT    NOT NULL UNIQUE,
    remediation_id   TEXT    NOT NULL,
    recipient        TEXT    NOT NULL,
    channel          TEXT    NOT NULL,
    message_summary  TEXT    NOT NULL,
    status           TEXT    NOT NULL,
    sent_at          INTEGER NOT NULL,
    delivery_status  TEXT,
    error_message    TEXT,
    escalation_level INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL
) STRICT;

CREATE INDEX notification_audit_by_remediation ON notification_audit (remediation_id, sent_at);

-- What is searched for has columns; `document` is the whole entry as it is answered.
CREATE TABLE workflow_catalog (
    workflow_id   TEXT    PRIMARY KEY,
    workflow_name TEXT    NOT NULL,
    version       TEXT    NOT NULL,
    status        TEXT    NOT NULL,
    is_latest     INTEGER NOT NULL,
    signal_type   TEXT    NOT NULL,
    severity      TEXT    NOT NULL,
    component     TEXT    NOT NULL,
    environment   TEXT    NOT NULL,
    priority      TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    document      TEXT    NOT NULL,
    UNIQUE (workflow_name, version)
) STRICT;

CREATE UNIQUE INDEX workflow_catalog_latest ON workflow_catalog (workflow_name) WHERE is_latest = 1;
CREATE INDEX workflow_catalog_by_time ON workflow_catalog (created_at DESC, workflow_id DESC);
