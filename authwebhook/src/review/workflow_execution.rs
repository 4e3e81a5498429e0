//! A WorkflowExecution's status: clearing a block.

use api::workflow_execution::{BlockClearance, WorkflowExecution};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Outcome, Request, allowed, malformed, refused};
use crate::audit::cleared_event;
use crate::rules::workflow_execution::{Verdict, judge};

/// A clearance that was stamped.
#[derive(Clone, Debug, PartialEq)]
pub struct Cleared {
    /// The execution whose block is cleared.
    pub execution: WorkflowExecution,
    /// As it will be stored.
    pub clearance: BlockClearance,
    /// As it was stored before, if it replaces one.
    pub replaced: Option<BlockClearance>,
}

/// Answers a review of a WorkflowExecution's status at `now`.
pub fn answer(request: Request, now: Timestamp) -> Answer {
    let Request { uid, user_info, object, old_object, dry_run } = request;
    let clearances = clearance("oldObject", &old_object)
        .and_then(|old| clearance("object", &object).map(|new| (old, new)));
    let (old, new) = match clearances {
        Ok(clearances) => clearances,
        Err(message) => return malformed(uid, message),
    };
    match judge(old.as_ref(), new.as_ref(), &user_info.username, now) {
        Verdict::Unconcerned => allowed(uid, Outcome::Unconcerned, Vec::new(), None),
        Verdict::Deny { reason } => refused(uid, Outcome::Denied, 403, "Forbidden", reason),
        Verdict::Restore { clearance } => allowed(uid, Outcome::Restored, stamps(&clearance), None),
        Verdict::Stamp { clearance } => {
            let execution = match serde_json::from_value::<WorkflowExecution>(object) {
                Ok(execution) => execution,
                Err(error) => {
                    return malformed(uid, format!("object is not a WorkflowExecution: {error}"));
                }
            };
            let operations = stamps(&clearance);
            // A dry run stores nothing, so there is nothing to report.
            let cleared = (dry_run != Some(true)).then_some(Cleared { execution, clearance, replaced: old });
            allowed(uid, Outcome::Stamped, operations, cleared.as_ref().map(cleared_event))
        }
    }
}

fn stamps(clearance: &BlockClearance) -> Vec<Value> {
    vec![
        json!({"op": "add", "path": "/status/blockClearance/clearedBy", "value": clearance.cleared_by}),
        json!({"op": "add", "path": "/status/blockClearance/clearedAt", "value": clearance.cleared_at}),
    ]
}

/// `status.blockClearance` of `object`; `null` counts as absent.
fn clearance(name: &str, object: &Value) -> Result<Option<BlockClearance>, String> {
    match object.pointer("/status/blockClearance") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value.clone())
            .map(Some)
            .map_err(|error| format!("{name}.status.blockClearance cannot be read: {error}")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const REASON: &str = "the node pool was out of memory and has been enlarged by ops";

    pub(crate) fn execution(clearance: Option<Value>) -> Value {
        let mut object = json!({
            "apiVersion": "kubernaut.ai/v1alpha1", "kind": "WorkflowExecution",
            "metadata": {"name": "we-1", "namespace": "default", "uid": "u-1"},
            "spec": {
                "remediationRequestRef": {"name": "rr-1"},
                "workflowRef": {"workflowId": "restart", "version": "1", "containerImage": "example/workflow:1"},
                "targetResource": "default/deployment/web",
            },
            "status": {"phase": "Failed"},
        });
        if let Some(clearance) = clearance {
            object["status"]["blockClearance"] = clearance;
        }
        object
    }

    pub(crate) fn request(old: Value, new: Value) -> Request {
        serde_json::from_value(json!({
            "uid": "r-1", "userInfo": {"username": "bob"}, "object": new, "oldObject": old, "dryRun": false,
        }))
        .unwrap()
    }

    fn now() -> Timestamp {
        "2026-01-10T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_clearance_is_patched_with_the_callers_name_and_the_time() {
        let new = execution(Some(json!({"clearReason": REASON, "clearedBy": "mallory"})));
        let answer = answer(request(execution(None), new), now());
        assert!(answer.response.allowed);
        let patch = STANDARD.decode(answer.response.patch.unwrap()).unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&patch).unwrap(),
            json!([
                {"op": "add", "path": "/status/blockClearance/clearedBy", "value": "bob"},
                {"op": "add", "path": "/status/blockClearance/clearedAt", "value": "2026-01-10T12:00:00Z"},
            ])
        );
        let event = answer.event.unwrap();
        assert_eq!((event.actor_id.as_deref(), event.correlation_id.as_str()), (Some("bob"), "rr-1"));
    }

    #[test]
    fn a_dry_run_is_judged_alike_and_reported_to_nobody() {
        let new = execution(Some(json!({"clearReason": REASON})));
        let dry = Request { dry_run: Some(true), ..request(execution(None), new) };
        let answer = answer(dry, now());
        assert!(answer.response.patch.is_some());
        assert_eq!(answer.event, None);
    }

    #[test]
    fn refusals_carry_the_text_and_the_uid() {
        let new = execution(Some(json!({"clearReason": "fixed"})));
        let response = answer(request(execution(None), new), now()).response.into_review();
        assert_eq!(response["response"]["allowed"], false);
        assert_eq!(response["response"]["uid"], "r-1");
        let message = response["response"]["status"]["message"].as_str().unwrap();
        assert!(message.contains("at least 10"), "{message}");
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_what_is_not_concerned_passes() {
        let check = |old: Value, new: Value| answer(request(old, new), now()).outcome;
        assert_eq!(check(Value::Null, Value::Null), Outcome::Unconcerned);
        assert_eq!(check(execution(None), execution(Some(Value::Null))), Outcome::Unconcerned);
        assert_eq!(check(execution(None), execution(Some(json!("yes")))), Outcome::Malformed);
        assert_eq!(
            check(execution(None), execution(Some(json!({"clearMethod": "Magic"})))),
            Outcome::Malformed
        );
        let stripped = json!({"status": {"blockClearance": {"clearReason": REASON}}});
        assert_eq!(check(Value::Null, stripped), Outcome::Malformed);
    }
}
