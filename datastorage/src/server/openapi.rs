//! The contract as an OpenAPI 3.1 document, made from the types that parse the requests.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use utoipa::OpenApi;

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
    let mut text = Contract::openapi().to_pretty_json().unwrap_or_default();
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
