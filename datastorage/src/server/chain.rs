//! Verifying the hash chain of a correlation.

use std::sync::Arc;
use std::time::Instant;

use api::audit::{VerifyChainRequest, VerifyChainResponse};
use api::problem::Problem;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;

use super::Service;
use super::answer::Failure;
use super::body;
use crate::metrics::Status;

/// Verify that a correlation's events are as they were accepted.
#[utoipa::path(
    post, path = "/api/v1/audit/verify-chain", tag = "audit", operation_id = "verifyAuditChain",
    request_body = VerifyChainRequest,
    responses(
        (status = 200, description = "What was found; a broken chain is an answer too.", body = VerifyChainResponse),
        (status = 400, description = "The request is refused.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn verify_chain(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Json<VerifyChainResponse>, Failure> {
    let VerifyChainRequest { correlation_id } = body::valid(&service, &headers, request_body).await?;
    let started = Instant::now();
    let verified = service.repository.verify_chain(&correlation_id).await;
    let status = if verified.is_ok() { Status::success } else { Status::failure };
    service.metrics.queried("verify_chain", status, started.elapsed());
    Ok(Json(verified?))
}
