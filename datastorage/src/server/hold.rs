//! Legal holds.

use std::sync::Arc;

use api::audit::{
    FieldError, LegalHoldList, PlaceHoldRequest, PlaceHoldResponse, ReleaseHoldRequest, ReleaseHoldResponse,
    required_text,
};
use api::problem::Problem;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use tracing::info;

use super::Service;
use super::answer::Failure;
use super::auth::{self, User};
use super::body;
use crate::repository::HoldError;

/// Place a legal hold: the events of a correlation are kept whatever their age.
#[utoipa::path(
    post, path = "/api/v1/audit/legal-hold", tag = "legal hold", operation_id = "placeLegalHold",
    request_body = PlaceHoldRequest,
    responses(
        (status = 200, description = "The hold is in force.", body = PlaceHoldResponse),
        (status = 400, description = "The request is refused.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Nobody says who asks.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "The correlation has no events.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another hold is in force.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn place_hold(
    State(service): State<Arc<Service>>,
    user: Option<Extension<User>>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Json<PlaceHoldResponse>, Failure> {
    let user = auth::required(user.map(|Extension(user)| user))?;
    let PlaceHoldRequest { correlation_id, reason } = body::valid(&service, &headers, request_body).await?;
    let placed = service.repository.place_hold(&correlation_id, &reason, &user).await;
    let placed = placed.map_err(|error| refused(&service, error))?;
    service.metrics.hold_changed("place");
    info!(correlation = correlation_id, user, reason, "legal hold placed");
    Ok(Json(placed))
}

/// Release a legal hold.
#[utoipa::path(
    delete, path = "/api/v1/audit/legal-hold/{correlation_id}", tag = "legal hold", operation_id = "releaseLegalHold",
    params(("correlation_id" = String, Path, description = "Whose events.", min_length = 1, max_length = 255)),
    request_body = ReleaseHoldRequest,
    responses(
        (status = 200, description = "The hold is no longer in force.", body = ReleaseHoldResponse),
        (status = 400, description = "The request is refused.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Nobody says who asks.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No hold is in force.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn release_hold(
    State(service): State<Arc<Service>>,
    Path(correlation_id): Path<String>,
    user: Option<Extension<User>>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Json<ReleaseHoldResponse>, Failure> {
    let user = auth::required(user.map(|Extension(user)| user))?;
    correlation(&service, &correlation_id)?;
    let ReleaseHoldRequest { release_reason } = body::valid(&service, &headers, request_body).await?;
    let released = service.repository.release_hold(&correlation_id, &release_reason, &user).await;
    let released = released.map_err(|error| refused(&service, error))?;
    service.metrics.hold_changed("release");
    info!(correlation = correlation_id, user, reason = release_reason, "legal hold released");
    Ok(Json(released))
}

/// List the legal holds in force, newest first.
#[utoipa::path(
    get, path = "/api/v1/audit/legal-hold", tag = "legal hold", operation_id = "listLegalHolds",
    responses(
        (status = 200, description = "Every hold in force.", body = LegalHoldList),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_holds(State(service): State<Arc<Service>>) -> Result<Json<LegalHoldList>, Failure> {
    let holds = service.repository.holds().await?;
    Ok(Json(LegalHoldList { total: holds.len() as u64, holds }))
}

/// Refuses a correlation id that cannot be one.
pub(super) fn correlation(service: &Service, id: &str) -> Result<(), Failure> {
    match required_text("correlation_id", id, 255) {
        None => Ok(()),
        Some(error) => Err(body::invalid(service, "invalid", &[FieldError::new(error.field, error.reason)])),
    }
}

fn refused(service: &Service, error: HoldError) -> Failure {
    let detail = error.to_string();
    let (reason, failure) = match error {
        HoldError::NoEvents(id) | HoldError::NotHeld(id) => {
            let problem = Problem::new(404, "not-found", "Not found", detail);
            ("not-found", problem.with("resource", "legal-hold").with("id", id).into())
        }
        HoldError::Held(hold) => {
            let problem = Problem::new(409, "conflict", "Conflict", detail).with("resource", "legal-hold");
            let problem = problem.with("field", "correlation_id").with("value", hold.correlation_id.as_str());
            ("conflict", problem.into())
        }
        HoldError::Database(error) => ("database", error.into()),
    };
    service.metrics.hold_refused(reason);
    failure
}
