-- The audit trail: append-only, one hash chain per correlation in the order of acceptance, one partition per month.

-- Ids are unique over all partitions, which a partitioned table cannot promise by itself.
CREATE TABLE audit_event_ids (
    event_id   uuid PRIMARY KEY,
    event_date date NOT NULL
);

-- The newest hash of each chain. A writer holds the row of every chain that it extends.
CREATE TABLE audit_chains (
    correlation_id text PRIMARY KEY,
    head           text NOT NULL
);

CREATE TABLE audit_events (
    sequence            bigint      GENERATED ALWAYS AS IDENTITY,
    event_id            uuid        NOT NULL REFERENCES audit_event_ids (event_id),
    event_version       text        NOT NULL,
    event_timestamp     timestamptz NOT NULL,
    event_date          date        NOT NULL,
    event_type          text        NOT NULL,
    event_category      text        NOT NULL,
    event_action        text        NOT NULL,
    event_outcome       text        NOT NULL,
    correlation_id      text        NOT NULL,
    event_data          json        NOT NULL, -- not jsonb: numbers keep their spelling, which the hash covers
    actor_type          text        NOT NULL,
    actor_id            text        NOT NULL,
    resource_type       text        NOT NULL,
    resource_id         text        NOT NULL,
    parent_event_id     uuid        REFERENCES audit_event_ids (event_id),
    namespace           text,
    cluster_name        text,
    severity            text        NOT NULL,
    duration_ms         bigint,
    event_hash          text        NOT NULL,
    previous_event_hash text        NOT NULL,
    recorded_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (event_id, event_date)
) PARTITION BY RANGE (event_date);

CREATE INDEX audit_events_by_time ON audit_events (event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_by_correlation ON audit_events (correlation_id, event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_by_type ON audit_events (event_type, event_timestamp DESC, event_id DESC);
CREATE INDEX audit_events_chain ON audit_events (correlation_id, sequence);

CREATE FUNCTION audit_events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are append-only' USING ERRCODE = 'restrict_violation';
END;
$$;

CREATE TRIGGER audit_events_are_append_only BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_events_are_append_only();

-- The partition of the month a day is in. Callers at the same time take turns.
CREATE FUNCTION audit_events_partition(day date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date := date_trunc('month', day)::date;
    name  text := 'audit_events_' || to_char(first, 'YYYY_MM');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('audit_events_partition'));
    EXECUTE format('CREATE TABLE IF NOT EXISTS %I PARTITION OF audit_events FOR VALUES FROM (%L) TO (%L)',
        name, first, (first + interval '1 month')::date);
END;
$$;

-- A row that means nothing, written to learn whether writing works.
CREATE TABLE write_probe (
    id    integer PRIMARY KEY,
    count bigint  NOT NULL
);
