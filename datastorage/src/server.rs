//! The HTTP side: one listener for the API, health and metrics.

mod answer;
mod body;
mod chain;
mod events;
mod health;
mod json_path;
mod openapi;
mod query;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;

pub use self::openapi::{Document, document};
use crate::metrics::Metrics;
use crate::options::Limits;
use crate::repository::Repository;

/// What every request can reach.
#[derive(Debug)]
pub struct Service {
    /// Where events are kept.
    pub repository: Repository,
    /// What may be asked.
    pub limits: Limits,
    /// What is measured.
    pub metrics: Metrics,
    /// The contract, as served.
    pub openapi: Document,
    /// Set when the process has been told to end.
    pub draining: AtomicBool,
}

impl Service {
    /// A service on `repository`.
    pub fn new(repository: Repository, limits: Limits) -> Self {
        Self {
            repository,
            limits,
            metrics: Metrics::default(),
            openapi: document(),
            draining: AtomicBool::new(false),
        }
    }
}

/// Every route. Whatever goes wrong is answered as a problem (RFC 9457).
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/api/v1/audit/events", get(query::list_events).post(events::write_event))
        .route("/api/v1/audit/events/batch", post(events::write_batch))
        .route("/api/v1/audit/verify-chain", post(chain::verify_chain))
        .route("/health", get(health::health))
        .route("/health/ready", get(health::ready))
        .route("/health/live", get(health::live))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::serve))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        // Bodies are read by `body`, which knows the limit and says so.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(answer::panicked))
        .layer(middleware::from_fn_with_state(service.clone(), answer::finish))
        .with_state(service)
}
