//! From an AdmissionReview to its answer: what the rules say about the object, as a JSON patch or a refusal.

use api::workflow_execution::{BlockClearance, WorkflowExecution};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rules::workflow_execution::{Verdict, judge};

/// An AdmissionReview as the API server sends it (admission.k8s.io/v1), as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// `admission.k8s.io/v1`.
    pub api_version: String,
    /// What is asked.
    pub request: Request,
}

/// What is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Goes back with the answer.
    pub uid: String,
    /// Who writes.
    #[serde(default)]
    pub user_info: UserInfo,
    /// What would be stored.
    #[serde(default)]
    pub object: Value,
    /// What is stored.
    #[serde(default)]
    pub old_object: Value,
    /// Nothing will be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
}

/// Who writes.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct UserInfo {
    /// Name as authenticated by the API server.
    #[serde(default)]
    pub username: String,
}

/// The answer, and what to report once it is given.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Goes back to the API server.
    pub response: Response,
    /// For the metric and the log.
    pub outcome: Outcome,
    /// A clearance that will be stored.
    pub cleared: Option<Cleared>,
}

/// How a review ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Not touched.
    Unconcerned,
    /// Stamped with the caller's identity.
    Stamped,
    /// Edited stamps were put back.
    Restored,
    /// Refused.
    Denied,
    /// Refused because it cannot be read.
    Malformed,
}

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

/// `response` of the AdmissionReview that goes back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The request's.
    pub uid: String,
    /// Whether the write goes on.
    pub allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// JSON patch (RFC 6902), base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// `JSONPatch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_type: Option<&'static str>,
}

impl Response {
    /// The whole AdmissionReview.
    pub fn into_review(self) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": self})
    }
}

/// Answers a review of a WorkflowExecution's status at `now`.
pub fn answer(request: Request, now: Timestamp) -> Answer {
    let Request { uid, user_info, object, old_object, dry_run } = request;
    let clearances = clearance("oldObject", &old_object)
        .and_then(|old| clearance("object", &object).map(|new| (old, new)));
    let (old, new) = match clearances {
        Ok(clearances) => clearances,
        Err(message) => return refused(uid, Outcome::Malformed, 400, "BadRequest", message),
    };
    match judge(old.as_ref(), new.as_ref(), &user_info.username, now) {
        Verdict::Unconcerned => allowed(uid, Outcome::Unconcerned, None, None),
        Verdict::Deny { reason } => refused(uid, Outcome::Denied, 403, "Forbidden", reason),
        Verdict::Restore { clearance } => allowed(uid, Outcome::Restored, Some(&clearance), None),
        Verdict::Stamp { clearance } => {
            let execution = match serde_json::from_value::<WorkflowExecution>(object) {
                Ok(execution) => execution,
                Err(error) => {
                    let message = format!("object is not a WorkflowExecution: {error}");
                    return refused(uid, Outcome::Malformed, 400, "BadRequest", message);
                }
            };
            let stamped = clearance.clone();
            // A dry run stores nothing, so there is nothing to report.
            let cleared = (dry_run != Some(true)).then_some(Cleared { execution, clearance, replaced: old });
            allowed(uid, Outcome::Stamped, Some(&stamped), cleared)
        }
    }
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

fn allowed(
    uid: String,
    outcome: Outcome,
    stamps: Option<&BlockClearance>,
    cleared: Option<Cleared>,
) -> Answer {
    let patch = stamps.map(|clearance| {
        let operations = json!([
            {"op": "add", "path": "/status/blockClearance/clearedBy", "value": clearance.cleared_by},
            {"op": "add", "path": "/status/blockClearance/clearedAt", "value": clearance.cleared_at},
        ]);
        STANDARD.encode(operations.to_string())
    });
    let patch_type = patch.is_some().then_some("JSONPatch");
    Answer { response: Response { uid, allowed: true, status: None, patch, patch_type }, outcome, cleared }
}

fn refused(uid: String, outcome: Outcome, code: u16, reason: &str, message: String) -> Answer {
    let status = json!({"status": "Failure", "code": code, "reason": reason, "message": message});
    let response = Response { uid, allowed: false, status: Some(status), patch: None, patch_type: None };
    Answer { response, outcome, cleared: None }
}

#[cfg(test)]
pub(crate) mod tests {
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
        let cleared = answer.cleared.unwrap();
        assert_eq!(cleared.clearance.cleared_by, "bob");
        assert_eq!(cleared.execution.correlation_id(), "rr-1");
    }

    #[test]
    fn a_dry_run_is_judged_alike_and_reported_to_nobody() {
        let new = execution(Some(json!({"clearReason": REASON})));
        let dry = Request { dry_run: Some(true), ..request(execution(None), new) };
        let answer = answer(dry, now());
        assert!(answer.response.patch.is_some());
        assert_eq!(answer.cleared, None);
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
