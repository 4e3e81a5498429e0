//! How often workflows succeed.

use std::sync::Arc;
use std::time::Instant;

use api::audit::{FieldError, MAX_WHOLE};
use api::problem::Problem;
use api::success_rate::{DEFAULT_TIME_RANGE, SuccessRate, SuccessRateQuery};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;

use super::Service;
use super::answer::Failure;
use super::body;
use super::query;
use crate::metrics::Status;
use crate::repository::Executions;
use crate::time_bound;

type Sent = Result<Query<SuccessRateQuery>, QueryRejection>;

/// How often workflows succeed for a kind of incident.
#[utoipa::path(
    get, path = "/api/v1/success-rate/incident-type", tag = "success rate", operation_id = "getSuccessRateByIncidentType",
    params(SuccessRateQuery),
    responses(
        (status = 200, description = "The rate.", body = SuccessRate),
        (status = 400, description = "`incident_type` is missing, or a parameter is refused.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn by_incident_type(
    State(service): State<Arc<Service>>,
    query: Sent,
) -> Result<Json<SuccessRate>, Failure> {
    rate(&service, query, |query| match query.incident_type {
        None => Some("incident_type"),
        Some(_) => None,
    })
    .await
}

/// How often a workflow succeeds.
#[utoipa::path(
    get, path = "/api/v1/success-rate/workflow", tag = "success rate", operation_id = "getSuccessRateByWorkflow",
    params(SuccessRateQuery),
    responses(
        (status = 200, description = "The rate.", body = SuccessRate),
        (status = 400, description = "`workflow_id` is missing, or a parameter is refused.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn by_workflow(
    State(service): State<Arc<Service>>,
    query: Sent,
) -> Result<Json<SuccessRate>, Failure> {
    rate(&service, query, |query| match query.workflow_id {
        None => Some("workflow_id"),
        Some(_) => None,
    })
    .await
}

/// How often workflows succeed, by any of incident type, workflow and version.
#[utoipa::path(
    get, path = "/api/v1/success-rate/multi-dimensional", tag = "success rate", operation_id = "getSuccessRateMultiDimensional",
    params(SuccessRateQuery),
    responses(
        (status = 200, description = "The rate.", body = SuccessRate),
        (status = 400, description = "Nothing is asked for, or a parameter is refused.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn by_anything(
    State(service): State<Arc<Service>>,
    query: Sent,
) -> Result<Json<SuccessRate>, Failure> {
    rate(&service, query, |query| {
        let none = query.incident_type.is_none() && query.workflow_id.is_none();
        none.then_some("incident_type")
    })
    .await
}

/// The rate that `query` asks for; `missing` names a parameter that has to be there and is not.
async fn rate(
    service: &Service,
    query: Sent,
    missing: fn(&SuccessRateQuery) -> Option<&'static str>,
) -> Result<Json<SuccessRate>, Failure> {
    let query = query::parse(service, query)?;
    let mut errors = Vec::new();
    for (field, text, max) in [
        ("incident_type", &query.incident_type, 255),
        ("workflow_id", &query.workflow_id, 255),
        ("workflow_version", &query.workflow_version, 50),
    ] {
        query::text(field, text.clone(), max, &mut errors);
    }
    if query.min_samples.is_some_and(|samples| samples > MAX_WHOLE) {
        errors.push(FieldError::new("min_samples", "is too large"));
    }
    errors.extend(missing(&query).map(|field| FieldError::new(field, "is required")));
    if query.workflow_version.is_some() && query.workflow_id.is_none() {
        errors.push(FieldError::new("workflow_version", "means nothing without `workflow_id`"));
    }
    let range = query.time_range.as_deref().unwrap_or(DEFAULT_TIME_RANGE);
    let since = time_bound::parse(range, Timestamp::now());
    let since = match since {
        Ok(since) if errors.is_empty() => since,
        Ok(_) => return Err(body::invalid(service, "invalid", &errors)),
        Err(reason) => {
            errors.push(FieldError::new("time_range", reason));
            return Err(body::invalid(service, "invalid", &errors));
        }
    };
    let which = Executions {
        incident_type: query.incident_type.clone(),
        workflow_id: query.workflow_id.clone(),
        workflow_version: query.workflow_version.clone(),
    };
    let started = Instant::now();
    let counted = service.repository.count_executions(&which, since).await;
    let status = if counted.is_ok() { Status::success } else { Status::failure };
    service.metrics.queried("success_rate", status, started.elapsed());
    let (total, successful) = counted?;
    Ok(Json(SuccessRate::new(query, total, successful)))
}
