//! The contract as an OpenAPI 3.1 document, made from the types that parse the requests.

mod refine;

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use utoipa::OpenApi;

use self::refine::refine;
use super::{
    Service, catalog, chain, events, export, health, hold, notifications, query, success_rate, timeline,
};
use crate::chain::hex;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "DataStorage",
        description = "The audit trail: events are accepted once, kept as they were accepted, and found again. And the \
            catalog of workflows. Every error is a problem (RFC 9457) of one shape.",
    ),
    paths(
        events::write_event,
        events::write_batch,
        query::list_events,
        notifications::record_notification,
        chain::verify_chain,
        timeline::reconstruct,
        hold::place_hold,
        hold::release_hold,
        hold::list_holds,
        export::export,
        export::certificate,
        catalog::create,
        catalog::list,
        catalog::versions,
        catalog::search,
        catalog::get,
        catalog::update,
        catalog::disable,
        success_rate::by_incident_type,
        success_rate::by_workflow,
        success_rate::by_anything,
        health::health,
        health::ready,
        health::live,
        health::metrics,
        serve,
    ),
    tags(
        (name = "audit", description = "Writing, querying and verifying events."),
        (name = "legal hold", description = "Keeping events whatever their age."),
        (name = "export", description = "Signed copies for people without access."),
        (name = "catalog", description = "Workflows: what may be run, for which signal."),
        (name = "success rate", description = "How often workflows succeed, counted from the audit trail."),
        (name = "health", description = "For probes, monitoring and tools."),
    )
)]
struct Contract;

/// The document as it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Pretty-printed JSON with a final newline.
    pub text: String,
    /// `sha256:` and the hex SHA-256 of [`text`](Self::text).
    pub digest: String,
}

/// The document of this version.
pub fn document() -> Document {
    // The document is made of text and maps with text keys: it always has a JSON form.
    let mut document = serde_json::to_value(Contract::openapi()).unwrap_or_default();
    refine(&mut document);
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    let digest = format!("sha256:{}", hex(&Sha256::digest(text.as_bytes())));
    Document { text, digest }
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "health", operation_id = "openapi",
    responses(
        (status = 200, description = "The document; `X-OpenAPI-Digest` and `ETag` carry its SHA-256.", body = String, content_type = "application/json"),
        (status = 304, description = "It still has the digest in `If-None-Match`."),
    )
)]
pub(super) async fn serve(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    let Document { text, digest } = service.openapi.clone();
    let tag = format!("\"{digest}\"");
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|sent| sent.as_bytes() == tag.as_bytes());
    let headers = [
        (header::ETAG.as_str(), tag),
        ("x-openapi-digest", digest),
        (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_schema_put_together_from_parts_has_the_members_of_all_of_them() {
        let document: Value = serde_json::from_str(&document().text).unwrap();
        let schemas = &document["components"]["schemas"];
        let workflow = &schemas["Workflow"];
        assert!(
            workflow["properties"]["workflow_id"].is_object()
                && workflow["properties"]["content"].is_object()
        );
        assert!(workflow["required"].as_array().unwrap().contains(&json!("labels")), "{workflow}");
        assert!(workflow["additionalProperties"].is_null() && workflow["allOf"].is_null(), "{workflow}");
        assert_eq!(schemas["NewWorkflow"]["additionalProperties"], false);
        assert_eq!(schemas["Problem"]["properties"]["title"]["type"], "string");
    }

    #[test]
    fn texts_of_requests_have_no_nul_and_those_of_answers_are_free() {
        let document: Value = serde_json::from_str(&document().text).unwrap();
        let text = "^[^\\u0000]*$";
        let schemas = &document["components"]["schemas"];
        for pointer in [
            "/PlaceHoldRequest/properties/reason",
            "/NewWorkflow/properties/custom_labels/propertyNames",
            "/NewWorkflow/properties/custom_labels/additionalProperties/items",
            "/WorkflowExecutionAuditPayload/properties/workflow_id",
        ] {
            assert_eq!(schemas.pointer(pointer).unwrap()["pattern"], text, "{pointer}");
        }
        let batch = &document["paths"]["/api/v1/audit/events/batch"]["post"]["requestBody"];
        assert_eq!(batch["content"]["application/json"]["schema"]["minItems"], 1);
        assert!(schemas["Problem"]["properties"]["detail"]["pattern"].is_null());
    }
}
