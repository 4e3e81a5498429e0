//! Handing out a signed copy of the trail.

use std::sync::Arc;
use std::time::Instant;

use api::audit::{
    AuditExport, DEFAULT_EXPORT_LIMIT, ExportFilters, ExportMetadata, ExportQuery, ExportedEvent, FieldError,
    HashChainVerification, MAX_EXPORT_LIMIT, MAX_WHOLE,
};
use api::problem::Problem;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use jiff::Timestamp;
use tracing::{error, info};

use super::Service;
use super::answer::Failure;
use super::auth::{self, User};
use super::{body, query};
use crate::metrics::Status;
use crate::redact;
use crate::repository::{Exported, Filter};
use crate::sign::signed_bytes;

/// Export events with the verdict on their chains, signed.
#[utoipa::path(
    get, path = "/api/v1/audit/export", tag = "export", operation_id = "exportAuditEvents",
    params(ExportQuery),
    responses(
        (status = 200, description = "A signed export.", body = AuditExport),
        (status = 400, description = "A parameter is refused; `field_errors` says why.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Nobody says who asks.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More events are asked for than an export holds.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn export(
    State(service): State<Arc<Service>>,
    user: Option<Extension<User>>,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Json<AuditExport>, Failure> {
    let user = auth::required(user.map(|Extension(user)| user))?;
    let query = query::parse(&service, query)?;
    let limit = query.limit.unwrap_or(DEFAULT_EXPORT_LIMIT);
    if limit > MAX_EXPORT_LIMIT {
        let detail =
            format!("an export holds at most {MAX_EXPORT_LIMIT} events; use `offset`, or a smaller range");
        let problem = Problem::new(413, "content-too-large", "Content too large", detail);
        return Err(problem.with("max_limit", MAX_EXPORT_LIMIT).into());
    }
    let (redacted, detached) =
        (query.redact_pii == Some(true), query.include_detached_signature == Some(true));
    let filter = filter(query, limit, Timestamp::now())
        .map_err(|errors| body::invalid(&service, "invalid", &errors))?;
    let started = Instant::now();
    let found = service.repository.export(&filter).await;
    let status = if found.is_ok() { Status::success } else { Status::failure };
    service.metrics.queried("export", status, started.elapsed());
    let (events, matching) = found?;
    info!(user, events = events.len(), matching, redacted, "audit events exported");
    let user = if redacted { redact::text(&user) } else { user };
    let mut export = assemble(&service, filter, events, matching, user, redacted);
    let signature = service.signing.sign(&signed_bytes(&export)).map_err(|error| -> Failure {
        error!(%error, "an export cannot be signed");
        Problem::new(500, "internal-error", "Internal error", "the export cannot be signed").into()
    })?;
    export.detached_signature = detached.then(|| signature.clone());
    export.export_metadata.signature = Some(signature);
    Ok(Json(export))
}

/// The certificate whose key signs exports.
#[utoipa::path(
    get, path = "/api/v1/audit/export/certificate", tag = "export", operation_id = "exportCertificate",
    responses((status = 200, description = "As PEM.", body = String, content_type = "application/x-pem-file"))
)]
pub(super) async fn certificate(State(service): State<Arc<Service>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], service.signing.certificate.clone())
}

fn assemble(
    service: &Service,
    filter: Filter,
    events: Vec<Exported>,
    matching_events: u64,
    exported_by: String,
    redacted: bool,
) -> AuditExport {
    let now = Timestamp::now();
    let total = events.len() as u64;
    let tampered: Vec<_> =
        events.iter().filter(|event| !event.is_valid).map(|event| event.link.event.event_id).collect();
    let broken = tampered.len() as u64;
    let events = events.into_iter().map(|Exported { link, is_valid, is_held }| ExportedEvent {
        event: if redacted { redact::event(link.event) } else { link.event },
        event_hash: link.hash,
        previous_event_hash: link.previous_hash,
        hash_chain_valid: is_valid,
        legal_hold: is_held,
    });
    AuditExport {
        export_metadata: ExportMetadata {
            export_timestamp: now,
            export_format: "json".to_owned(),
            query_filters: ExportFilters {
                start_time: filter.since,
                end_time: filter.until,
                correlation_id: filter.correlation_id,
                event_category: filter.event_category.map(|category| category.as_str().to_owned()),
                limit: filter.limit,
                offset: filter.offset,
            },
            total_events: total,
            matching_events,
            exported_by,
            redacted,
            signature: None,
            signature_algorithm: service.signing.algorithm.to_owned(),
            certificate_fingerprint: service.signing.fingerprint.clone(),
            certificate: service.signing.certificate.clone(),
        },
        events: events.collect(),
        hash_chain_verification: HashChainVerification {
            total_events_verified: total,
            valid_chain_events: total - broken,
            broken_chain_events: broken,
            chain_integrity_percentage: match total {
                0 => 100.0,
                total => (total - broken) as f64 * 100.0 / total as f64,
            },
            verification_timestamp: now,
            tampered_event_ids: tampered,
        },
        detached_signature: None,
    }
}

/// What the parameters mean at `now`, or everything that is wrong with them.
fn filter(query: ExportQuery, limit: u32, now: Timestamp) -> Result<Filter, Vec<FieldError>> {
    let ExportQuery {
        start_time,
        end_time,
        correlation_id,
        event_category,
        format,
        include_detached_signature: _,
        limit: _,
        offset,
        redact_pii: _,
    } = query;
    let mut errors = Vec::new();
    if limit == 0 {
        errors.push(FieldError::new("limit", format!("must be between 1 and {MAX_EXPORT_LIMIT}, is 0")));
    }
    if format.as_deref().is_some_and(|format| format != "json") {
        errors.push(FieldError::new("format", "must be `json`: a CSV could not be verified"));
    }
    let correlation_id = query::text("correlation_id", correlation_id, 255, &mut errors);
    let event_category = query::named("event_category", event_category, &mut errors);
    let since = query::bound("start_time", start_time, now, &mut errors);
    let until = query::bound("end_time", end_time, now, &mut errors);
    query::in_order(("start_time", since), ("end_time", until), &mut errors);
    let offset = offset.unwrap_or_default();
    if offset > MAX_WHOLE {
        errors.push(FieldError::new("offset", "is too large"));
    }
    match errors.is_empty() {
        true => {
            Ok(Filter { event_category, correlation_id, since, until, limit, offset, ..Filter::default() })
        }
        false => Err(errors),
    }
}
