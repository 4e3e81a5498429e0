//! Whether the service works, for probes and for people; and its metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use api::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::Service;
use super::answer::Failure;
use crate::metrics::CONTENT_TYPE;

/// State of the service.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `healthy`, `ready` or `alive`: the answer to what was asked.
    status: &'static str,
    /// `connected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<&'static str>,
    /// Version of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    /// Digest of `/openapi.json`: the contract this process speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    openapi_digest: Option<String>,
}

/// Whether the service and its database work, and what it is.
#[utoipa::path(
    get, path = "/health", tag = "health", operation_id = "health",
    responses(
        (status = 200, description = "They work.", body = Health),
        (status = 503, description = "The database fails.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn health(State(service): State<Arc<Service>>) -> Result<Json<Health>, Failure> {
    service.repository.ping().await?;
    Ok(Json(Health {
        status: "healthy",
        database: Some("connected"),
        version: Some(env!("CARGO_PKG_VERSION")),
        openapi_digest: Some(service.openapi.digest.clone()),
    }))
}

/// Whether to send requests here.
#[utoipa::path(
    get, path = "/health/ready", tag = "health", operation_id = "ready",
    responses(
        (status = 200, description = "Yes.", body = Health),
        (status = 503, description = "No: shutting down, or the database fails.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn ready(State(service): State<Arc<Service>>) -> Result<Json<Health>, Failure> {
    if service.draining.load(Ordering::Relaxed) {
        let detail = "the service is shutting down";
        let problem = Problem::new(503, "service-unavailable", "Service unavailable", detail);
        return Err(problem.with("retry", true).into());
    }
    service.repository.ping().await?;
    Ok(Json(Health { status: "ready", database: None, version: None, openapi_digest: None }))
}

/// Whether the process answers at all.
#[utoipa::path(
    get, path = "/health/live", tag = "health", operation_id = "live",
    responses((status = 200, description = "It does.", body = Health))
)]
pub(super) async fn live() -> Json<Health> {
    Json(Health { status: "alive", database: None, version: None, openapi_digest: None })
}

/// Metrics in the OpenMetrics text format.
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, description = "All metrics.", body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], service.metrics.render())
}
