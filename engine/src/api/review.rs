//! Questions that store nothing: token and access reviews, and tokens for service accounts.

mod access;
mod rules;
mod token;
mod token_request;

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::request::RequestInfo;
use super::write::body;
use super::{Answer, Api, Call, answer};
use crate::status::Status;

/// Answers a `create` of a resource that is never stored, and of `serviceaccounts/token`.
pub async fn review(api: &Arc<Api>, call: Call) -> Result<Answer, Status> {
    let decoded = body::decode(&call.headers, &call.body)?.value;
    let mut question = if decoded.is_object() { decoded } else { json!({}) };
    let mut kind = (call.resource.kind.as_str(), call.resource.api_version());
    let status = match (call.resource.plural.as_str(), call.info.subresource.as_str()) {
        ("tokenreviews", "") => token::review(api, &question["spec"])?,
        ("subjectaccessreviews", "") => access::review(api, &question["spec"], None)?,
        ("localsubjectaccessreviews", "") => {
            access::review(api, &question["spec"], Some(&call.info.namespace))?
        }
        ("selfsubjectaccessreviews", "") => access::self_review(api, &call.user, &question["spec"])?,
        ("selfsubjectrulesreviews", "") => rules::review(api, &call.user, &question["spec"])?,
        ("selfsubjectreviews", "") => json!({"userInfo": call.user.to_json()}),
        ("serviceaccounts", "token") => {
            let (spec, status) = token_request::answer(api, &call, &question["spec"])?;
            kind = ("TokenRequest", "authentication.k8s.io/v1".to_owned());
            let RequestInfo { name, namespace, .. } = &call.info;
            let created = token_request::now();
            question = json!({"metadata": {"name": name, "namespace": namespace, "creationTimestamp": created}, "spec": spec});
            status
        }
        _ => return Err(Status::no_such_resource()),
    };
    if let Some(fields) = question.as_object_mut() {
        fields.insert("kind".into(), json!(kind.0));
        fields.insert("apiVersion".into(), json!(kind.1));
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if !metadata.is_object() {
            *metadata = json!({});
        }
        fields.insert("status".into(), status);
    }
    Ok(answer::json(StatusCode::CREATED, &question))
}

/// The texts of a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}
