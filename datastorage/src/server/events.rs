//! Writing events: one, or many at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::audit::{
    AuditBatchResponse, AuditEvent, AuditEventRequest, AuditEventResponse, FieldError, validate_batch,
    validate_event,
};
use api::problem::Problem;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::Service;
use super::answer::Failure;
use super::body;
use crate::event::to_stored;
use crate::metrics::{Status, Table};
use crate::repository::{WriteError, Written};

/// Write one event.
#[utoipa::path(
    post, path = "/api/v1/audit/events", tag = "audit", operation_id = "createAuditEvent",
    request_body = AuditEventRequest,
    responses(
        (status = 201, description = "Stored, durably.", body = AuditEventResponse),
        (status = 200, description = "The same event had been stored before.", body = AuditEventResponse),
        (status = 400, description = "The event is refused; `field_errors` says why.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The id is taken by another event.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn write_event(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<(StatusCode, Json<AuditEventResponse>), Failure> {
    let text = body::read(&service, &headers, request_body).await?;
    let request: AuditEventRequest = body::parse_one(&service, &text)?;
    let errors = validate_event(&request, Timestamp::now());
    if !errors.is_empty() {
        return Err(body::invalid(&service, "invalid", &errors));
    }
    let event = to_stored(request);
    let event_timestamp = event.event_timestamp;
    let written = store(&service, vec![event], |_| "event".to_owned()).await?;
    let Some(&Written { event_id, created }) = written.first() else {
        return Err(Problem::new(500, "internal-error", "Internal error", "nothing was written").into());
    };
    let (status, message) =
        if created { (StatusCode::CREATED, "stored") } else { (StatusCode::OK, "stored before") };
    Ok((status, Json(AuditEventResponse { event_id, event_timestamp, message: message.to_owned() })))
}

/// Write many events: all of them or none.
#[utoipa::path(
    post, path = "/api/v1/audit/events/batch", tag = "audit", operation_id = "createAuditEventsBatch",
    request_body = Vec<AuditEventRequest>,
    responses(
        (status = 201, description = "Stored, durably; ids in the order sent.", body = AuditBatchResponse),
        (status = 200, description = "All of them had been stored before.", body = AuditBatchResponse),
        (status = 400, description = "An event is refused; `field_errors` names its index and field.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "An id is taken by another event.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body or the batch is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn write_batch(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<(StatusCode, Json<AuditBatchResponse>), Failure> {
    let text = body::read(&service, &headers, request_body).await?;
    let requests: Vec<AuditEventRequest> = body::parse_many(&service, &text)?;
    let errors = validate_batch(&requests, Timestamp::now());
    if !errors.is_empty() {
        return Err(body::invalid(&service, "invalid", &errors));
    }
    let events = requests.into_iter().map(to_stored).collect();
    let written = store(&service, events, |index| format!("[{index}]")).await?;
    let created = written.iter().filter(|written| written.created).count();
    let message = match written.len() - created {
        0 => format!("{created} stored"),
        before => format!("{created} stored, {before} stored before"),
    };
    let status = if created > 0 { StatusCode::CREATED } else { StatusCode::OK };
    let event_ids = written.into_iter().map(|written| written.event_id).collect();
    Ok((status, Json(AuditBatchResponse { event_ids, message })))
}

/// Stores the events and counts what became of them. `place` names an event of the request by its index.
async fn store(
    service: &Service,
    events: Vec<AuditEvent>,
    place: impl Fn(usize) -> String,
) -> Result<Vec<Written>, Failure> {
    let sent: Vec<(&'static str, Timestamp)> =
        events.iter().map(|event| (event.event_category.as_str(), event.event_timestamp)).collect();
    let started = Instant::now();
    let outcome = service.repository.write(events).await;
    let any_created = outcome.as_ref().map(|written| written.iter().any(|written| written.created));
    let status = match any_created {
        Ok(true) => Status::success,
        Ok(false) => Status::duplicate,
        Err(_) => Status::failure,
    };
    service.metrics.wrote(Table::audit_events, status, started.elapsed());
    let now = Timestamp::now();
    for (index, (category, timestamp)) in sent.into_iter().enumerate() {
        let status = match &outcome {
            Ok(written) if written.get(index).is_some_and(|written| written.created) => Status::success,
            Ok(_) => Status::duplicate,
            Err(_) => Status::failure,
        };
        let lag = Duration::try_from(now.duration_since(timestamp)).unwrap_or_default();
        service.metrics.event(category, status, lag);
    }
    outcome.map_err(|error| match error {
        WriteError::Conflict { index, event_id, ref differing } => {
            let detail = format!("{}: {error}", place(index));
            Problem::new(409, "conflict", "Conflict", detail)
                .with("event_id", event_id.to_string())
                .with("index", index)
                .with("differing", differing.clone())
                .into()
        }
        WriteError::UnknownParent { index, .. } => {
            let field = match place(index).as_str() {
                "event" => "parent_event_id".to_owned(),
                place => format!("{place}.parent_event_id"),
            };
            body::invalid(service, "invalid", &[FieldError::new(field, error.to_string())])
        }
        WriteError::Database(error) => error.into(),
    })
}
