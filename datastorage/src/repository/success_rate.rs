//! Counting executions and their outcomes in the audit trail.

use jiff::Timestamp;

use super::either::snapshot;
use super::{DatabaseError, Repository};

/// Which executions to count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executions {
    /// Of remediations whose signal has this alert name.
    pub incident_type: Option<String>,
    /// Of this workflow.
    pub workflow_id: Option<String>,
    /// Of this version of it.
    pub workflow_version: Option<String>,
}

impl Repository {
    /// How many executions ended since `since`, and how many of them well.
    pub async fn count_executions(
        &self,
        which: &Executions,
        since: Timestamp,
    ) -> Result<(u64, u64), DatabaseError> {
        let Executions { incident_type, workflow_id, workflow_version } = which;
        let statement = format!(
            "SELECT COUNT(*), COALESCE(SUM(CASE WHEN event_type = 'workflowexecution.workflow.completed' THEN 1 \
             ELSE 0 END), 0) FROM audit_events \
             WHERE event_type IN ('workflowexecution.workflow.completed', 'workflowexecution.workflow.failed') \
             AND event_timestamp >= {} \
             AND ($2 IS NULL OR event_data ->> 'workflow_id' = $2) \
             AND ($3 IS NULL OR event_data ->> 'workflow_version' = $3) \
             AND ($4 IS NULL OR correlation_id IN (SELECT correlation_id FROM audit_events \
             WHERE event_type = 'gateway.signal.received' AND event_data ->> 'alert_name' = $4))",
            self.moment("$1")
        );
        let (total, successful): (i64, i64) = snapshot!(self, |connection| {
            sqlx::query_as(sqlx::AssertSqlSafe(statement))
                .bind(since.as_microsecond())
                .bind(workflow_id)
                .bind(workflow_version)
                .bind(incident_type)
                .fetch_one(connection)
                .await?
        });
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok((count(total), count(successful)))
    }
}
