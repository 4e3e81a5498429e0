//! Questions that store nothing: token and access reviews, and tokens for service accounts.

mod access;
mod rules;
mod token;
mod token_request;

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::write::body;
use super::{Answer, Api, Call};
use crate::status::Status;

/// Answers a `create` of a resource that is never stored, and of `serviceaccounts/token`.
pub async fn review(api: &Arc<Api>, call: Call) -> Result<Answer, Status> {
    let decoded = body::decode(&call.headers, &call.body)?.value;
    let mut question = if decoded.is_object() { decoded } else { json!({}) };
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
            let named = json!({"name": call.info.name, "namespace": call.info.namespace,
                "creationTimestamp": token_request::now()});
            return Ok(created(&json!({
                "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
                "metadata": named, "spec": spec, "status": status,
            })));
        }
        _ => return Err(Status::no_such_resource()),
    };
    if let Some(fields) = question.as_object_mut() {
        fields.insert("kind".into(), json!(call.resource.kind));
        fields.insert("apiVersion".into(), json!(call.resource.api_version()));
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        if !metadata.is_object() {
            *metadata = json!({});
        }
        fields.insert("status".into(), status);
    }
    Ok(created(&question))
}

/// The texts of a list.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn created(value: &Value) -> Answer {
    let mut answer = Answer::new(value.to_string().into());
    *answer.status_mut() = StatusCode::CREATED;
    answer
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}
