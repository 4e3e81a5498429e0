//! A RemediationApprovalRequest's status: deciding.

use api::remediation_approval_request::{
    ApprovalDecision, RemediationApprovalRequest, RemediationApprovalRequestStatus,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::{Answer, Outcome, Request, allowed, malformed, refused, set};
use crate::audit::decided_event;
use crate::rules::approval::{Verdict, judge};

/// A decision that was stamped.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The request that was decided.
    pub request: RemediationApprovalRequest,
    /// What was decided.
    pub decision: ApprovalDecision,
    /// Who decided.
    pub by: String,
    /// When.
    pub at: Time,
}

/// Answers a review of a RemediationApprovalRequest's status at `now`.
pub fn answer(request: Request, now: Timestamp) -> Answer {
    let Request { uid, user_info, object, old_object, dry_run } = request;
    let statuses =
        status("oldObject", &old_object).and_then(|old| status("object", &object).map(|new| (old, new)));
    let (old, new) = match statuses {
        Ok(statuses) => statuses,
        Err(message) => return malformed(uid, message),
    };
    let patch = |by: Option<String>, at: Option<Time>| -> Vec<Value> {
        let operations = [
            set("/status/decidedBy", by.map(Value::from), new.decided_by.is_some()),
            set("/status/decidedAt", at.map(|at| json!(at)), new.decided_at.is_some()),
        ];
        operations.into_iter().flatten().collect()
    };
    match judge(&old, &new, &user_info.username, now) {
        Verdict::Unconcerned => allowed(uid, Outcome::Unconcerned, Vec::new(), None),
        Verdict::Deny { reason } => refused(uid, Outcome::Denied, 403, "Forbidden", reason),
        Verdict::Restore { by, at } => allowed(uid, Outcome::Restored, patch(by, at), None),
        Verdict::Stamp { decision, by, at } => {
            let request = match serde_json::from_value::<RemediationApprovalRequest>(object) {
                Ok(request) => request,
                Err(error) => {
                    return malformed(uid, format!("object is not a RemediationApprovalRequest: {error}"));
                }
            };
            let operations = patch(Some(by.clone()), Some(at.clone()));
            // A dry run stores nothing, so there is nothing to report.
            let decided = (dry_run != Some(true)).then_some(Decided { request, decision, by, at });
            allowed(uid, Outcome::Stamped, operations, decided.as_ref().map(decided_event))
        }
    }
}

/// `status` of `object`; an absent one is empty.
fn status(name: &str, object: &Value) -> Result<RemediationApprovalRequestStatus, String> {
    match object.get("status") {
        None | Some(Value::Null) => Ok(RemediationApprovalRequestStatus::default()),
        Some(status) => serde_json::from_value(status.clone()).map_err(|error| {
            format!("{name}.status cannot be read: {error}; a decision is Approved, Rejected or Expired")
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    pub(crate) fn approval(status: Value) -> Value {
        json!({
            "apiVersion": "kubernaut.ai/v1alpha1", "kind": "RemediationApprovalRequest",
            "metadata": {"name": "rar-1", "namespace": "default", "uid": "u-2"},
            "spec": {"remediationRequestRef": {"name": "rr-1"}, "aiAnalysisRef": {"name": "ai-1"}},
            "status": status,
        })
    }

    pub(crate) fn decide(old: Value, new: Value) -> Answer {
        let request = json!({
            "uid": "r-1", "userInfo": {"username": "bob"}, "object": approval(new), "oldObject": approval(old),
        });
        answer(serde_json::from_value(request).unwrap(), "2026-01-10T12:00:00Z".parse().unwrap())
    }

    fn patch(answer: &Answer) -> Value {
        let patch = answer.response.patch.as_ref().map(|patch| STANDARD.decode(patch).unwrap());
        patch.map_or(Value::Null, |patch| serde_json::from_slice(&patch).unwrap())
    }

    #[test]
    fn a_decision_is_patched_with_the_callers_name_and_the_time() {
        let forged =
            json!({"decision": "Rejected", "decidedBy": "mallory", "decidedAt": "2020-01-01T00:00:00Z"});
        let answer = decide(json!({}), forged);
        assert_eq!(
            patch(&answer),
            json!([
                {"op": "add", "path": "/status/decidedBy", "value": "bob"},
                {"op": "add", "path": "/status/decidedAt", "value": "2026-01-10T12:00:00Z"},
            ])
        );
        assert_eq!(answer.outcome, Outcome::Stamped);
    }

    #[test]
    fn a_claim_before_a_decision_is_taken_away() {
        let answer = decide(json!({}), json!({"decidedBy": "mallory"}));
        assert_eq!(patch(&answer), json!([{"op": "remove", "path": "/status/decidedBy"}]));
        assert_eq!((answer.outcome, answer.event), (Outcome::Restored, None));
    }

    #[test]
    fn what_is_no_decision_is_refused_with_those_there_are() {
        let answer = decide(json!({}), json!({"decision": "Maybe"}));
        assert_eq!(answer.outcome, Outcome::Malformed);
        let message = answer.response.into_review()["response"]["status"]["message"].to_string();
        assert!(message.contains("Approved, Rejected or Expired"), "{message}");
    }

    #[test]
    fn a_second_decision_is_denied_and_nothing_new_passes() {
        let decided =
            json!({"decision": "Approved", "decidedBy": "alice", "decidedAt": "2026-01-01T00:00:00Z"});
        assert_eq!(decide(decided.clone(), json!({"decision": "Rejected"})).outcome, Outcome::Denied);
        assert_eq!(decide(decided.clone(), decided).outcome, Outcome::Unconcerned);
        assert_eq!(decide(Value::Null, json!({"conditions": []})).outcome, Outcome::Unconcerned);
    }
}
