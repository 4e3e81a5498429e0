//! The admission side: HTTPS with a certificate that can be exchanged while serving.

mod handshake;
mod listener;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use tracing::{Instrument, Span, info, warn};

pub use self::handshake::{HandshakeError, check as check_handshake};
pub use self::listener::{ServingCertificate, serve};
use crate::audit::Sender;
use crate::metrics::Metrics;
use crate::review::{self, Answer, Outcome, Review, approval, notification, workflow_execution};

/// Where the API server sends reviews of executions' status.
pub const EXECUTION_PATH: &str = "/mutate-workflowexecution";
/// Where it sends reviews of approval requests' status.
pub const APPROVAL_PATH: &str = "/mutate-remediationapprovalrequest";
/// Where it sends reviews of notifications' deletion.
pub const NOTIFICATION_PATH: &str = "/validate-notificationrequest-delete";
/// Two objects of the largest size the API server stores, and some.
const MAX_REVIEW_BYTES: usize = 8 * 1024 * 1024;

/// What every review can reach.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Takes the audit events.
    pub audit: Sender,
    /// What is measured.
    pub metrics: Arc<Metrics>,
}

/// The routes of the admission side.
pub fn router(webhook: Webhook) -> Router {
    Router::new()
        .route(
            EXECUTION_PATH,
            post(async |State(webhook), body| {
                review(webhook, "workflowexecution", workflow_execution::answer, body).await
            }),
        )
        .route(
            APPROVAL_PATH,
            post(async |State(webhook), body| {
                review(webhook, "remediationapprovalrequest", approval::answer, body).await
            }),
        )
        .route(
            NOTIFICATION_PATH,
            post(async |State(webhook), body| {
                review(webhook, "notificationrequest", notification::answer, body).await
            }),
        )
        .route("/healthz", get(async || "ok"))
        .layer(DefaultBodyLimit::max(MAX_REVIEW_BYTES))
        .layer(middleware::from_fn(traced))
        .with_state(webhook)
}

/// Every request in a span, of the API server's trace if that has one.
async fn traced(request: Request, next: Next) -> Response {
    let span = telemetry::answering(request.method(), request.uri().path(), request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    telemetry::answered(&span, response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// Answers a review of `kind`; the audit event is handed in, and DataStorage is not waited for.
async fn review(
    webhook: Webhook,
    kind: &'static str,
    answer: fn(review::Request, Timestamp) -> Answer,
    body: Bytes,
) -> Response {
    let started = Instant::now();
    let malformed = |text: String| {
        warn!(kind, text, "review refused");
        webhook.metrics.reviewed(kind, Outcome::Malformed, started.elapsed());
        (StatusCode::BAD_REQUEST, text).into_response()
    };
    let review: Review = match serde_json::from_slice(&body) {
        Ok(review) => review,
        Err(error) => return malformed(format!("the body is not an AdmissionReview: {error}")),
    };
    if review.api_version != "admission.k8s.io/v1" {
        return malformed(format!(
            "AdmissionReview version `{}` is not supported; send v1",
            review.api_version
        ));
    }
    let user = review.request.user_info.username.clone();
    let Answer { response, outcome, event } = answer(review.request, Timestamp::now());
    if let Some(event) = event {
        info!(user, kind, resource = event.resource_id, event = event.event_type, "attributed");
        webhook.audit.send(*event, telemetry::traceparent(&Span::current())).await;
    }
    if let Some(status) = &response.status {
        warn!(user, kind, %status, "write refused");
    }
    webhook.metrics.reviewed(kind, outcome, started.elapsed());
    axum::Json(response.into_review()).into_response()
}
