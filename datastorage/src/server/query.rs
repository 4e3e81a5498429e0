//! Asking for events.

use std::sync::Arc;
use std::time::Instant;

use api::audit::{AuditQuery, AuditQueryResponse, FieldError, MAX_WHOLE, Pagination, optional_text};
use api::problem::Problem;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Service;
use super::answer::Failure;
use super::body;
use crate::metrics::Status;
use crate::repository::Filter;
use crate::time_bound;

/// Query events, newest first.
#[utoipa::path(
    get, path = "/api/v1/audit/events", tag = "audit", operation_id = "queryAuditEvents",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page of the matching events.", body = AuditQueryResponse),
        (status = 400, description = "A parameter is refused; `field_errors` says why.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_events(
    State(service): State<Arc<Service>>,
    query: Result<Query<AuditQuery>, QueryRejection>,
) -> Result<Json<AuditQueryResponse>, Failure> {
    let query = parse(&service, query)?;
    let filter =
        filter(query, Timestamp::now()).map_err(|errors| body::invalid(&service, "invalid", &errors))?;
    let started = Instant::now();
    let page = service.repository.query(&filter).await;
    let status = if page.is_ok() { Status::success } else { Status::failure };
    service.metrics.queried("list", status, started.elapsed());
    let page = page?;
    let pagination = Pagination::new(filter.limit, filter.offset, page.events.len() as u64, page.total);
    Ok(Json(AuditQueryResponse { data: page.events, pagination }))
}

/// The parameters, if they have the form of a `T`.
pub(super) fn parse<T>(service: &Service, query: Result<Query<T>, QueryRejection>) -> Result<T, Failure> {
    query.map(|Query(query)| query).map_err(|rejection| unreadable(service, &rejection))
}

/// The parameters do not have the form of a query: an unknown name, or text where a number belongs.
fn unreadable(service: &Service, rejection: &QueryRejection) -> Failure {
    let text = rejection.body_text();
    let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
    let (field, reason) = text.split_once(": ").unwrap_or(("query", text));
    body::invalid(service, "malformed", &[FieldError::new(field, reason)])
}

/// What the parameters mean at `now`, or everything that is wrong with them.
fn filter(query: AuditQuery, now: Timestamp) -> Result<Filter, Vec<FieldError>> {
    let mut errors = query.validate();
    let (limit, offset) = (query.limit(), query.offset());
    let AuditQuery {
        event_type,
        event_category,
        event_outcome,
        severity,
        correlation_id,
        since,
        until,
        limit: _,
        offset: _,
    } = query;
    let event_type = text("event_type", event_type, 100, &mut errors);
    let severity = text("severity", severity, 20, &mut errors);
    let correlation_id = text("correlation_id", correlation_id, 255, &mut errors);
    let event_category = named("event_category", event_category, &mut errors);
    let event_outcome = named("event_outcome", event_outcome, &mut errors);
    let since = bound("since", since, now, &mut errors);
    let until = bound("until", until, now, &mut errors);
    in_order(("since", since), ("until", until), &mut errors);
    if offset > MAX_WHOLE {
        errors.push(FieldError::new("offset", "is too large"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Filter {
        event_type,
        event_category,
        event_outcome,
        severity,
        correlation_id,
        since,
        until,
        limit,
        offset,
    })
}

/// A text to compare with. Left out by mistake, an empty one would match everything.
pub(super) fn text(
    field: &str,
    value: Option<String>,
    max: usize,
    errors: &mut Vec<FieldError>,
) -> Option<String> {
    if value.as_deref() == Some("") {
        errors.push(FieldError::new(field, "must not be empty; leave the parameter out to match all"));
    }
    errors.extend(optional_text(field, &value, max));
    value
}

/// The enum value with this wire name.
pub(super) fn named<T: DeserializeOwned>(
    field: &str,
    text: Option<String>,
    errors: &mut Vec<FieldError>,
) -> Option<T> {
    serde_json::from_value(Value::String(text?))
        .map_err(|error| errors.push(FieldError::new(field, error.to_string())))
        .ok()
}

/// A range begins before it ends.
pub(super) fn in_order(
    (field, since): (&str, Option<Timestamp>),
    (end, until): (&str, Option<Timestamp>),
    errors: &mut Vec<FieldError>,
) {
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        errors.push(FieldError::new(field, format!("{since} is after `{end}`, {until}")));
    }
}

/// The moment a parameter means.
pub(super) fn bound(
    field: &str,
    text: Option<String>,
    now: Timestamp,
    errors: &mut Vec<FieldError>,
) -> Option<Timestamp> {
    time_bound::parse(&text?, now).map_err(|reason| errors.push(FieldError::new(field, reason))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-10T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn parameters_are_judged_together() {
        let query = AuditQuery {
            event_category: Some("workflows".into()),
            event_outcome: Some("Success".into()),
            correlation_id: Some(String::new()),
            since: Some("soon".into()),
            limit: Some(0),
            offset: Some(u64::MAX),
            ..AuditQuery::default()
        };
        let mut fields: Vec<String> =
            filter(query, now()).unwrap_err().into_iter().map(|error| error.field).collect();
        fields.sort();
        let expected = ["correlation_id", "event_category", "event_outcome", "limit", "offset", "since"];
        assert_eq!(fields, expected);
    }

    #[test]
    fn bounds_are_relative_to_now_and_in_order() {
        let query = |since: &str, until: &str| AuditQuery {
            since: Some(since.into()),
            until: Some(until.into()),
            ..AuditQuery::default()
        };
        let good = filter(query("24h", "1h"), now()).unwrap();
        assert_eq!(good.since, "2026-01-09T12:00:00Z".parse().ok());
        assert_eq!((good.limit, good.offset), (50, 0));
        assert_eq!(filter(query("1h", "24h"), now()).unwrap_err()[0].field, "since");
    }
}
