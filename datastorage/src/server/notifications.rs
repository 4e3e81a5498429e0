//! Recording deliveries of notifications.

use std::sync::Arc;
use std::time::Instant;

use api::audit::{NotificationAudit, NotificationAuditRecord};
use api::problem::Problem;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use super::Service;
use super::answer::Failure;
use super::body;
use crate::metrics::{Status, Table};
use crate::repository::NotificationError;

/// Record the delivery of a notification.
#[utoipa::path(
    post, path = "/api/v1/audit/notifications", tag = "audit", operation_id = "createNotificationAudit",
    request_body = NotificationAudit,
    responses(
        (status = 201, description = "Recorded, durably.", body = NotificationAuditRecord),
        (status = 400, description = "A field is refused; `field_errors` says why.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The notification is already recorded.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn record_notification(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<(StatusCode, Json<NotificationAuditRecord>), Failure> {
    let text = body::read(&service, &headers, request_body).await?;
    let notification: NotificationAudit = body::parse_one(&service, &text)?;
    let errors = notification.validate(Timestamp::now());
    if !errors.is_empty() {
        return Err(body::invalid(&service, "invalid", &errors));
    }
    let started = Instant::now();
    let recorded = service.repository.record_notification(notification).await;
    let status = match &recorded {
        Ok(_) => Status::success,
        Err(NotificationError::Recorded(_)) => Status::duplicate,
        Err(NotificationError::Database(_)) => Status::failure,
    };
    service.metrics.wrote(Table::notification_audit, status, started.elapsed());
    match recorded {
        Ok(record) => Ok((StatusCode::CREATED, Json(record))),
        Err(NotificationError::Database(error)) => Err(error.into()),
        Err(NotificationError::Recorded(id)) => {
            let detail = format!("notification `{id}` is already recorded");
            let problem =
                Problem::new(409, "conflict", "Conflict", detail).with("resource", "notification-audit");
            Err(problem.with("field", "notification_id").with("value", id).into())
        }
    }
}
