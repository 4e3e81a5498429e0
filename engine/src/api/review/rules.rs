//! SelfSubjectRulesReview: everything the caller may do in a namespace (`kubectl auth can-i --list`).

use serde_json::{Value, json};

use crate::api::Api;
use crate::api::user::User;
use crate::status::Status;

/// The status of the review.
pub fn review(api: &Api, user: &User, spec: &Value) -> Result<Value, Status> {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let policy = api.authorizer.policy(&api.store);
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in policy.rules_for(user, namespace) {
        let (of_resources, rule) = rule.to_review();
        if of_resources { resources.push(rule) } else { paths.push(rule) }
    }
    Ok(json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false}))
}
