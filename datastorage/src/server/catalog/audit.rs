//! What the catalog itself reports to the audit trail: through the same door as everybody else, so hashed and kept alike.

use std::time::Duration;

use api::audit::{AuditEventRequest, EVENT_VERSION, EventCategory, EventOutcome, event_id};
use api::catalog::{Workflow, WorkflowSearch, WorkflowSearchResponse, WorkflowUpdate};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::error;
use uuid::Uuid;

use super::super::Service;
use crate::event::to_stored;

/// Stores `event`. The catalog has changed already, so a failure is only told in the log, with the event.
pub(super) async fn record(service: &Service, event: AuditEventRequest) {
    let stored = to_stored(event);
    if let Err(error) = service.repository.write(vec![stored.clone()]).await {
        let event = serde_json::to_string(&stored).unwrap_or_default();
        error!(%error, event, "AUDIT DATA LOSS: the event is only in this log line");
    }
}

pub(super) fn created(entry: &Workflow) -> AuditEventRequest {
    let workflow = &entry.workflow;
    let data = json!({
        "event_type": "datastorage.workflow.created",
        "workflow_id": entry.workflow_id,
        "workflow_name": workflow.workflow_name,
        "version": workflow.version,
        "status": workflow.status,
        "is_latest_version": entry.is_latest_version,
        "execution_engine": workflow.execution_engine,
        "name": workflow.name,
        "content_hash": workflow.content_hash,
    });
    let id = event_id(&entry.workflow_id.to_string(), "datastorage.workflow.created", 1);
    event("created", data, Some(id), entry.workflow_id.to_string(), entry.created_at)
}

pub(super) fn updated(entry: &Workflow, update: &WorkflowUpdate) -> AuditEventRequest {
    let data = json!({
        "event_type": "datastorage.workflow.updated",
        "workflow_id": entry.workflow_id,
        "updated_fields": update,
    });
    event("updated", data, None, entry.workflow_id.to_string(), entry.updated_at)
}

pub(super) fn searched(
    search: &WorkflowSearch,
    found: &WorkflowSearchResponse,
    elapsed: Duration,
) -> AuditEventRequest {
    let workflows: Vec<Value> = found
        .workflows
        .iter()
        .map(|found| json!({"workflow_id": found.workflow_id, "rank": found.rank, "final_score": found.final_score}))
        .collect();
    let data = json!({
        "event_type": "workflow.catalog.search_completed",
        "query": {"top_k": search.top(), "min_score": search.min_score, "filters": search.filters},
        "results": {"total_found": found.total_results, "returned": workflows.len(), "workflows": workflows},
        "search_metadata": {
            "duration_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            "embedding_dimensions": 0,
            "embedding_model": "none",
        },
    });
    let correlation = search.remediation_id.clone().filter(|id| !id.is_empty());
    let correlation = correlation.unwrap_or_else(|| format!("search-{}", Uuid::new_v4()));
    event("search_completed", data, None, correlation, Timestamp::now())
}

fn event(
    action: &str,
    data: Value,
    event_id: Option<Uuid>,
    correlation_id: String,
    event_timestamp: Timestamp,
) -> AuditEventRequest {
    let event_data = match data {
        Value::Object(data) => data,
        _ => Map::new(),
    };
    let event_type = event_data.get("event_type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let workflow = event_data.get("workflow_id").and_then(Value::as_str).map(str::to_owned);
    AuditEventRequest {
        event_id,
        version: EVENT_VERSION.to_owned(),
        event_type,
        event_timestamp,
        event_category: EventCategory::Workflow,
        event_action: action.to_owned(),
        event_outcome: EventOutcome::Success,
        correlation_id,
        event_data,
        actor_type: Some("service".to_owned()),
        actor_id: Some("datastorage".to_owned()),
        resource_type: Some("Workflow".to_owned()),
        resource_id: workflow,
        parent_event_id: None,
        namespace: None,
        cluster_name: None,
        severity: None,
        duration_ms: None,
    }
}

#[cfg(test)]
mod tests {
    use api::audit::validate_event;
    use api::catalog::rank;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_catalog_reports_would_be_accepted_from_anybody() {
        let entry: Workflow = serde_json::from_value(json!({
            "workflow_id": Uuid::from_u128(1), "is_latest_version": true,
            "created_at": "2026-01-10T12:00:00Z", "updated_at": "2026-01-10T12:00:00Z",
            "workflow_name": "restart", "version": "1", "name": "Restart", "description": "d", "content": "c",
            "content_hash": "0".repeat(64), "execution_engine": "job", "status": "active",
            "labels": {"signal_type": "OOMKilled", "severity": "high", "component": "*",
                "environment": "production", "priority": "P1"},
        }))
        .unwrap();
        let update: WorkflowUpdate = serde_json::from_value(json!({"status": "archived"})).unwrap();
        let search: WorkflowSearch =
            serde_json::from_value(json!({"filters": entry.workflow.labels})).unwrap();
        let found = rank(&search, vec![entry.clone()]);
        let reported =
            [created(&entry), updated(&entry, &update), searched(&search, &found, Duration::from_millis(3))];
        for event in reported {
            assert_eq!(validate_event(&event, event.event_timestamp), [], "{event:?}");
        }
    }
}
