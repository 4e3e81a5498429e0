//! The admission side: HTTPS with a certificate that can be exchanged while serving.

mod handshake;
mod listener;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::Timestamp;
use tracing::{info, warn};

pub use self::handshake::{HandshakeError, check as check_handshake};
pub use self::listener::{ServingCertificate, serve};
use crate::audit::{Sender, cleared_event};
use crate::metrics::Metrics;
use crate::review::{Answer, Outcome, Review, answer};

/// Where the API server sends reviews.
pub const MUTATE_PATH: &str = "/mutate-workflowexecution";
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
        .route(MUTATE_PATH, post(mutate))
        .route("/healthz", get(async || "ok"))
        .layer(DefaultBodyLimit::max(MAX_REVIEW_BYTES))
        .with_state(webhook)
}

async fn mutate(State(webhook): State<Webhook>, body: Bytes) -> Response {
    let started = Instant::now();
    let review: Review = match serde_json::from_slice(&body) {
        Ok(review) => review,
        Err(error) => {
            return malformed(&webhook, started, &format!("the body is not an AdmissionReview: {error}"));
        }
    };
    if review.api_version != "admission.k8s.io/v1" {
        let text = format!("AdmissionReview version `{}` is not supported; send v1", review.api_version);
        return malformed(&webhook, started, &text);
    }
    let user = review.request.user_info.username.clone();
    let Answer { response, outcome, cleared } = answer(review.request, Timestamp::now());
    if let Some(cleared) = cleared {
        let metadata = &cleared.execution.metadata;
        info!(user, namespace = metadata.namespace, execution = metadata.name, "block clearance stamped");
        webhook.audit.send(cleared_event(&cleared));
    }
    if let Some(status) = &response.status {
        warn!(user, %status, "write refused");
    }
    webhook.metrics.reviewed(outcome, started.elapsed());
    axum::Json(response.into_review()).into_response()
}

fn malformed(webhook: &Webhook, started: Instant, text: &str) -> Response {
    warn!(text, "review refused");
    webhook.metrics.reviewed(Outcome::Malformed, started.elapsed());
    (StatusCode::BAD_REQUEST, text.to_owned()).into_response()
}
