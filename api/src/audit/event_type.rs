//! The event types DataStorage accepts, and the fields each one's payload must have (ADR-034 v1.5).
//!
//! `workflowexecution.*` and `webhook.*` payloads are types of this crate and are checked by parsing; the others belong to
//! services that are written elsewhere, so only their names and required fields are known here.

/// What an event type's payload must look like.
pub(super) struct PayloadSchema {
    /// Name in the OpenAPI document.
    pub(super) name: &'static str,
    /// Fields it must have besides `event_type`.
    pub(super) required: &'static [&'static str],
}

/// Payload by event type. Sorted by type.
const KNOWN: &[(&str, &PayloadSchema)] = &[
    ("aianalysis.analysis.completed", AI_ANALYSIS),
    ("aianalysis.analysis.failed", AI_ANALYSIS),
    ("aianalysis.approval.decision", UNCHECKED),
    ("aianalysis.error.occurred", UNCHECKED),
    ("aianalysis.holmesgpt.call", UNCHECKED),
    ("aianalysis.phase.transition", UNCHECKED),
    ("aianalysis.rego.evaluation", UNCHECKED),
    ("datastorage.workflow.created", CATALOG_CREATED),
    ("datastorage.workflow.updated", CATALOG_UPDATED),
    ("gateway.crd.created", GATEWAY),
    ("gateway.crd.failed", GATEWAY),
    ("gateway.signal.deduplicated", GATEWAY),
    ("gateway.signal.received", GATEWAY),
    ("holmesgpt.response.complete", UNCHECKED),
    ("llm_request", UNCHECKED),
    ("llm_response", UNCHECKED),
    ("llm_tool_call", UNCHECKED),
    ("notification.message.acknowledged", UNCHECKED),
    ("notification.message.escalated", UNCHECKED),
    ("notification.message.failed", UNCHECKED),
    ("notification.message.sent", UNCHECKED),
    ("orchestrator.approval.approved", ORCHESTRATOR),
    ("orchestrator.approval.rejected", ORCHESTRATOR),
    ("orchestrator.approval.requested", ORCHESTRATOR),
    ("orchestrator.lifecycle.completed", ORCHESTRATOR),
    ("orchestrator.lifecycle.failed", ORCHESTRATOR),
    ("orchestrator.lifecycle.started", ORCHESTRATOR),
    ("orchestrator.lifecycle.transitioned", ORCHESTRATOR),
    ("signalprocessing.business.classified", SIGNAL_PROCESSING),
    ("signalprocessing.classification.decision", SIGNAL_PROCESSING),
    ("signalprocessing.enrichment.completed", SIGNAL_PROCESSING),
    ("signalprocessing.error.occurred", SIGNAL_PROCESSING),
    ("signalprocessing.phase.transition", SIGNAL_PROCESSING),
    ("signalprocessing.signal.processed", SIGNAL_PROCESSING),
    ("webhook.approval.decided", APPROVAL_DECIDED),
    ("webhook.notification.acknowledged", NOTIFICATION),
    ("webhook.notification.cancelled", NOTIFICATION),
    ("workflow.catalog.search_completed", CATALOG_SEARCH),
    ("workflow_validation_attempt", UNCHECKED),
    ("workflowexecution.block.cleared", BLOCK_CLEARANCE),
    ("workflowexecution.execution.started", WORKFLOW_EXECUTION),
    ("workflowexecution.selection.completed", WORKFLOW_EXECUTION),
    ("workflowexecution.workflow.completed", WORKFLOW_EXECUTION),
    ("workflowexecution.workflow.failed", WORKFLOW_EXECUTION),
    ("workflowexecution.workflow.started", WORKFLOW_EXECUTION),
];

const AI_ANALYSIS: &PayloadSchema = &PayloadSchema {
    name: "AIAnalysisAuditPayload",
    required: &[
        "analysis_name",
        "namespace",
        "phase",
        "approval_required",
        "degraded_mode",
        "warnings_count",
    ],
};
const APPROVAL_DECIDED: &PayloadSchema =
    &PayloadSchema { name: "RemediationApprovalAuditPayload", required: &[] };
const BLOCK_CLEARANCE: &PayloadSchema =
    &PayloadSchema { name: "WorkflowExecutionWebhookAuditPayload", required: &[] };
const CATALOG_CREATED: &PayloadSchema = &PayloadSchema {
    name: "WorkflowCatalogCreatedPayload",
    required: &[
        "workflow_id",
        "workflow_name",
        "version",
        "status",
        "is_latest_version",
        "execution_engine",
        "name",
    ],
};
const CATALOG_SEARCH: &PayloadSchema =
    &PayloadSchema { name: "WorkflowSearchAuditPayload", required: &["query", "results", "search_metadata"] };
const CATALOG_UPDATED: &PayloadSchema =
    &PayloadSchema { name: "WorkflowCatalogUpdatedPayload", required: &["workflow_id", "updated_fields"] };
const GATEWAY: &PayloadSchema = &PayloadSchema {
    name: "GatewayAuditPayload",
    required: &["signal_type", "alert_name", "namespace", "fingerprint"],
};
const NOTIFICATION: &PayloadSchema = &PayloadSchema { name: "NotificationAuditPayload", required: &[] };
const ORCHESTRATOR: &PayloadSchema =
    &PayloadSchema { name: "RemediationOrchestratorAuditPayload", required: &["rr_name", "namespace"] };
const SIGNAL_PROCESSING: &PayloadSchema =
    &PayloadSchema { name: "SignalProcessingAuditPayload", required: &["phase", "signal"] };
const UNCHECKED: &PayloadSchema = &PayloadSchema { name: "OtherAuditPayload", required: &[] };
const WORKFLOW_EXECUTION: &PayloadSchema =
    &PayloadSchema { name: "WorkflowExecutionAuditPayload", required: &[] };

/// Every event type that is accepted, with its payload.
pub(super) fn payloads() -> impl Iterator<Item = (&'static str, &'static PayloadSchema)> {
    KNOWN.iter().copied()
}

/// Fields that the payload of `event_type` must have besides `event_type`; `None` for a type nobody has declared.
pub fn required_fields(event_type: &str) -> Option<&'static [&'static str]> {
    KNOWN.iter().find(|(known, _)| *known == event_type).map(|(_, payload)| payload.required)
}

/// Every event type that is accepted.
pub fn event_types() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|(event_type, _)| *event_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{BLOCK_CLEARED, WorkflowExecutionEventType};

    #[test]
    fn types_are_sorted_and_unique_and_hold_those_of_this_crate() {
        assert!(KNOWN.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for event_type in WorkflowExecutionEventType::ALL {
            assert!(required_fields(event_type.as_str()).is_some(), "{event_type}");
        }
        assert!(required_fields(BLOCK_CLEARED).is_some());
        assert!(required_fields("workflowexecution.workflow.exploded").is_none());
    }
}
