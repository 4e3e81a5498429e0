//! The HTTP side: one listener for the API, health and metrics.

mod listen;

mod answer;
mod auth;
mod body;
mod json_path;
mod rate;

mod catalog;
mod chain;
mod events;
mod export;
mod health;
mod hold;
mod notifications;
mod openapi;
mod query;
mod success_rate;
mod timeline;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::connect_info::{Connected, IntoMakeServiceWithConnectInfo};
use axum::middleware;
use axum::routing::{delete, get, patch, post};
use axum::serve::{IncomingStream, Listener};
use tower_http::catch_panic::CatchPanicLayer;

pub use self::auth::{Authorization, KubernetesAuthorizer};
pub use self::listen::{Peer, PlainListener, TlsError, TlsFiles, TlsListener};
pub use self::openapi::{Document, document};
use self::rate::Limiter;
use crate::metrics::Metrics;
use crate::options::Limits;
use crate::repository::Repository;
use crate::sign::SigningKey;

/// What every request can reach.
#[derive(Debug)]
pub struct Service {
    /// Where events are kept.
    pub repository: Repository,
    /// What may be asked.
    pub limits: Limits,
    /// Who may ask.
    pub authorization: Authorization,
    /// Signs exports.
    pub signing: SigningKey,
    /// What is measured.
    pub metrics: Metrics,
    /// The contract, as served.
    pub openapi: Document,
    /// Set when the process has been told to end.
    pub draining: AtomicBool,
    limiter: Limiter,
}

impl Service {
    /// A service on `repository`.
    pub fn new(
        repository: Repository,
        limits: Limits,
        authorization: Authorization,
        signing: SigningKey,
    ) -> Self {
        Self {
            limiter: Limiter::new(limits.rate_limit),
            repository,
            limits,
            authorization,
            signing,
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
        .route("/api/v1/audit/notifications", post(notifications::record_notification))
        .route("/api/v1/audit/verify-chain", post(chain::verify_chain))
        .route("/api/v1/audit/legal-hold", get(hold::list_holds).post(hold::place_hold))
        .route("/api/v1/audit/legal-hold/{correlation_id}", delete(hold::release_hold))
        .route("/api/v1/audit/export", get(export::export))
        .route("/api/v1/audit/export/certificate", get(export::certificate))
        .route("/api/v1/audit/remediation-requests/{correlation_id}/reconstruct", post(timeline::reconstruct))
        .route("/api/v1/workflows", get(catalog::list).post(catalog::create))
        .route("/api/v1/workflows/search", post(catalog::search))
        .route("/api/v1/workflows/by-name/{workflow_name}/versions", get(catalog::versions))
        .route("/api/v1/workflows/{workflow_id}", get(catalog::get).patch(catalog::update))
        .route("/api/v1/workflows/{workflow_id}/disable", patch(catalog::disable))
        .route("/api/v1/success-rate/incident-type", get(success_rate::by_incident_type))
        .route("/api/v1/success-rate/workflow", get(success_rate::by_workflow))
        .route("/api/v1/success-rate/multi-dimensional", get(success_rate::by_anything))
        .route("/health", get(health::health))
        .route("/health/ready", get(health::ready))
        .route("/health/live", get(health::live))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::serve))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        // Bodies are read by `body`, which knows the limit and says so.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(service.clone(), auth::check))
        .layer(middleware::from_fn_with_state(service.clone(), rate::check))
        .layer(CatchPanicLayer::custom(answer::panicked))
        .layer(middleware::from_fn_with_state(service.clone(), answer::finish))
        .with_state(service)
}

/// The routes for a listener that knows who connects.
pub(crate) fn make_service<L: Listener>(service: Arc<Service>) -> IntoMakeServiceWithConnectInfo<Router, Peer>
where
    Peer: for<'a> Connected<IncomingStream<'a, L>>,
{
    router(service).into_make_service_with_connect_info::<Peer>()
}
