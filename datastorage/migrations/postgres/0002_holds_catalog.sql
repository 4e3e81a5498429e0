-- Legal holds, removal by retention, notification records and the workflow catalog. Times are microseconds since
-- 1970-01-01T00:00:00Z, so that these statements are the same for every database.

CREATE TABLE legal_holds (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    correlation_id text   NOT NULL,
    reason         text   NOT NULL,
    placed_by      text   NOT NULL,
    placed_at      bigint NOT NULL,
    release_reason text,
    released_by    text,
    released_at    bigint
);

CREATE UNIQUE INDEX legal_holds_in_force ON legal_holds (correlation_id) WHERE released_at IS NULL;

-- Correlations whose time is over, named here only while they are being removed.
CREATE TABLE audit_removals (
    correlation_id text PRIMARY KEY
);

CREATE OR REPLACE FUNCTION audit_events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF EXISTS (SELECT 1 FROM legal_holds WHERE correlation_id = OLD.correlation_id AND released_at IS NULL) THEN
            RAISE EXCEPTION 'audit events are under legal hold' USING ERRCODE = 'restrict_violation';
        END IF;
        IF EXISTS (SELECT 1 FROM audit_removals WHERE correlation_id = OLD.correlation_id) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit events are append-only' USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE INDEX audit_events_parent ON audit_events (parent_event_id) WHERE parent_event_id IS NOT NULL;

CREATE TABLE notification_audit (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notification_id  text   NOT NULL UNIQUE,
    remediation_id   text   NOT NULL,
    recipient        text   NOT NULL,
    channel          text   NOT NULL,
    message_summary  text   NOT NULL,
    status           text   NOT NULL,
    sent_at          bigint NOT NULL,
    delivery_status  text,
    error_message    text,
    escalation_level bigint NOT NULL,
    created_at       bigint NOT NULL,
    updated_at       bigint NOT NULL
);

CREATE INDEX notification_audit_by_remediation ON notification_audit (remediation_id, sent_at);

-- What is searched for has columns; `document` is the whole entry as it is answered.
CREATE TABLE workflow_catalog (
    workflow_id   text   PRIMARY KEY,
    workflow_name text   NOT NULL,
    version       text   NOT NULL,
    status        text   NOT NULL,
    is_latest     bigint NOT NULL,
    signal_type   text   NOT NULL,
    severity      text   NOT NULL,
    component     text   NOT NULL,
    environment   text   NOT NULL,
    priority      text   NOT NULL,
    created_at    bigint NOT NULL,
    document      text   NOT NULL,
    UNIQUE (workflow_name, version)
);

CREATE UNIQUE INDEX workflow_catalog_latest ON workflow_catalog (workflow_name) WHERE is_latest = 1;
CREATE INDEX workflow_catalog_by_time ON workflow_catalog (created_at DESC, workflow_id DESC);

-- As before, but a partition that is there is not asked for again: that would lock what writers use.
CREATE OR REPLACE FUNCTION audit_events_partition(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('month', day)::date;
    name  text := 'audit_events_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('audit_events_partition'));
    IF to_regclass(format('%I', name)) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF audit_events FOR VALUES FROM (%L) TO (%L)',
            name, first, (first + interval '1 month')::date);
    END IF;
END;
$$;
