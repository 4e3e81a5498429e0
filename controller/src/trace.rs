//! Trace ids, as W3C Trace Context writes them. An execution's is derived from its uid: the same in every process that works on it,
//! before and after a restart. So is the id of its first span, which lasts as long as the execution: all others can be its
//! children long before a collector is told of it, when the execution has ended.

use std::time::SystemTime;

use api::workflow_execution::{Phase, WorkflowExecution, WorkflowExecutionStatus};
use kube::ResourceExt;
use telemetry::Past;

use uuid::Uuid;

/// The trace of the execution with this uid: 32 hex digits.
pub fn of(uid: &str) -> String {
    let id = Uuid::parse_str(uid).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_OID, uid.as_bytes()));
    id.simple().to_string()
}

/// The value of a `traceparent` header for what is done for the execution with this uid.
pub fn parent(uid: &str) -> String {
    let trace = of(uid);
    // The half with the variant bits, so that it is never zero.
    let span = Uuid::new_v5(&Uuid::NAMESPACE_OID, trace.as_bytes()).simple().to_string();
    format!("00-{trace}-{}-01", &span[16..])
}

/// Tells the collector, if there is one, of an execution that has ended with `status`.
pub fn tell(execution: &WorkflowExecution, status: &WorkflowExecutionStatus) {
    let (Some(uid), Some(ended)) = (execution.uid(), &status.completion_time) else { return };
    let began = execution.creation_timestamp().unwrap_or_else(|| ended.clone());
    let phase = status.phase.unwrap_or(Phase::Pending);
    let failure = status.failure_details.as_ref();
    telemetry::tell(Past {
        name: format!("WorkflowExecution {}", execution.spec.workflow_ref.workflow_id),
        traceparent: parent(&uid),
        began: SystemTime::from(began.0),
        ended: SystemTime::from(ended.0),
        attributes: vec![
            ("execution.namespace", execution.namespace().unwrap_or_default()),
            ("execution.name", execution.name_any()),
            ("execution.target", execution.spec.target_resource.clone()),
            ("execution.phase", phase.as_str().to_owned()),
        ],
        failure: failure.map(|details| format!("{}: {}", details.reason.as_str(), details.message)),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_has_one_trace_in_every_process() {
        let uid = "3f1c9a52-77aa-4c1f-9c55-6d1f7a1b2c3d";
        assert_eq!(of(uid), "3f1c9a5277aa4c1f9c556d1f7a1b2c3d");
        assert_eq!((of("not a uuid").len(), of("not a uuid")), (32, of("not a uuid")));
        let parent = parent(uid);
        assert!(
            parent.starts_with("00-3f1c9a5277aa4c1f9c556d1f7a1b2c3d-") && parent.ends_with("-01"),
            "{parent}"
        );
        assert_eq!(parent.len(), 55);
        assert_eq!(parent, super::parent(uid), "so is the first span of it");
    }
}
