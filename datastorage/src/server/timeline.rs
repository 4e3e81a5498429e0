//! The story of a remediation.

use std::sync::Arc;
use std::time::Instant;

use api::audit::Timeline;
use api::problem::Problem;
use axum::Json;
use axum::extract::{Path, State};

use super::Service;
use super::answer::Failure;
use super::hold::correlation;
use crate::metrics::Status;
use crate::timeline;

/// Reconstruct what happened to a remediation from its audit events.
#[utoipa::path(
    post, path = "/api/v1/audit/remediation-requests/{correlation_id}/reconstruct", tag = "audit",
    operation_id = "reconstructRemediationRequest",
    params(("correlation_id" = String, Path, description = "The remediation.", min_length = 1, max_length = 255)),
    responses(
        (status = 200, description = "What happened, oldest first.", body = Timeline),
        (status = 400, description = "The id cannot be one.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The remediation has no events.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn reconstruct(
    State(service): State<Arc<Service>>,
    Path(correlation_id): Path<String>,
) -> Result<Json<Timeline>, Failure> {
    correlation(&service, &correlation_id)?;
    let started = Instant::now();
    let chain = service.repository.chain(&correlation_id).await;
    let status = if chain.is_ok() { Status::success } else { Status::failure };
    service.metrics.queried("reconstruct", status, started.elapsed());
    let story = timeline::reconstruct(&correlation_id, &chain?);
    story.map(Json).ok_or_else(|| {
        let detail = format!("no events are stored for correlation `{correlation_id}`");
        let problem =
            Problem::new(404, "not-found", "Not found", detail).with("resource", "remediation-request");
        problem.with("id", correlation_id).into()
    })
}
