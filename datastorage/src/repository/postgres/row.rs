//! The statements that read and write rows of `audit_events`. Types that the driver would need a feature for travel as text.

use api::audit::AuditEvent;
use serde_json::Value;
use sqlx::postgres::{PgArguments, Postgres};
use sqlx::query::Query;

use crate::chain::ChainedEvent;

/// Everything about an event; a WHERE clause follows.
pub(super) const SELECT: &str = "SELECT event_id::text, event_version, \
    (extract(epoch FROM event_timestamp) * 1000000)::bigint AS event_timestamp, event_date::text, event_type, \
    event_category, event_action, event_outcome, correlation_id, event_data::text, actor_type, actor_id, resource_type, \
    resource_id, parent_event_id::text, namespace, cluster_name, severity, duration_ms, event_hash, previous_event_hash \
    FROM audit_events";

/// One array per column, for one statement whatever the size of the batch; rows keep their order, which is the chain's.
const INSERT: &str = "INSERT INTO audit_events (event_id, event_version, event_timestamp, event_date, event_type, \
    event_category, event_action, event_outcome, correlation_id, event_data, actor_type, actor_id, resource_type, \
    resource_id, parent_event_id, namespace, cluster_name, severity, duration_ms, event_hash, previous_event_hash) \
    SELECT a::uuid, b, c::timestamptz, d::date, e, f, g, h, i, j::json, k, l, m, n, o::uuid, p, q, r, s, t, u \
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
    $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], \
    $18::text[], $19::bigint[], $20::text[], $21::text[]) \
    WITH ORDINALITY AS rows (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, nth) ORDER BY nth";

/// A batch, column by column.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) event_id: Vec<String>,
    pub(super) event_date: Vec<String>,
    version: Vec<String>,
    event_timestamp: Vec<String>,
    event_type: Vec<String>,
    event_category: Vec<&'static str>,
    event_action: Vec<String>,
    event_outcome: Vec<&'static str>,
    correlation_id: Vec<String>,
    event_data: Vec<String>,
    actor_type: Vec<String>,
    actor_id: Vec<String>,
    resource_type: Vec<String>,
    resource_id: Vec<String>,
    parent_event_id: Vec<Option<String>>,
    namespace: Vec<Option<String>>,
    cluster_name: Vec<Option<String>>,
    severity: Vec<String>,
    duration_ms: Vec<Option<i64>>,
    hash: Vec<String>,
    previous_hash: Vec<String>,
}

impl Columns {
    /// The columns of these events.
    pub(super) fn of(events: &[ChainedEvent]) -> Columns {
        let mut columns = Columns::default();
        for chained in events {
            columns.push(chained.clone());
        }
        columns
    }

    fn push(&mut self, ChainedEvent { event, hash, previous_hash }: ChainedEvent) {
        let AuditEvent {
            event_id,
            event_date,
            version,
            event_type,
            event_timestamp,
            event_category,
            event_action,
            event_outcome,
            correlation_id,
            event_data,
            actor_type,
            actor_id,
            resource_type,
            resource_id,
            parent_event_id,
            namespace,
            cluster_name,
            severity,
            duration_ms,
        } = event;
        self.event_id.push(event_id.to_string());
        self.event_date.push(event_date);
        self.version.push(version);
        self.event_timestamp.push(event_timestamp.to_string());
        self.event_type.push(event_type);
        self.event_category.push(event_category.as_str());
        self.event_action.push(event_action);
        self.event_outcome.push(event_outcome.as_str());
        self.correlation_id.push(correlation_id);
        self.event_data.push(Value::Object(event_data).to_string());
        self.actor_type.push(actor_type);
        self.actor_id.push(actor_id);
        self.resource_type.push(resource_type);
        self.resource_id.push(resource_id);
        self.parent_event_id.push(parent_event_id.map(|id| id.to_string()));
        self.namespace.push(namespace);
        self.cluster_name.push(cluster_name);
        self.severity.push(severity);
        self.duration_ms.push(duration_ms);
        self.hash.push(hash);
        self.previous_hash.push(previous_hash);
    }

    /// The statement that stores them.
    pub(super) fn insert(self) -> Query<'static, Postgres, PgArguments> {
        sqlx::query(INSERT)
            .bind(self.event_id)
            .bind(self.version)
            .bind(self.event_timestamp)
            .bind(self.event_date)
            .bind(self.event_type)
            .bind(self.event_category)
            .bind(self.event_action)
            .bind(self.event_outcome)
            .bind(self.correlation_id)
            .bind(self.event_data)
            .bind(self.actor_type)
            .bind(self.actor_id)
            .bind(self.resource_type)
            .bind(self.resource_id)
            .bind(self.parent_event_id)
            .bind(self.namespace)
            .bind(self.cluster_name)
            .bind(self.severity)
            .bind(self.duration_ms)
            .bind(self.hash)
            .bind(self.previous_hash)
    }
}
