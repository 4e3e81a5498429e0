//! The client of the audit trail: it sends events in batches, again and again, until DataStorage has said of each that it is stored
//! or that it never will be. It keeps no events: where they wait, and what follows when they are settled, is the caller's.

mod deliver;

use std::time::{Duration, Instant};

use api::audit::{AuditEventRequest, BATCH_PATH};
use api::problem::Problem;
use reqwest::{Method, StatusCode};
use tracing::Instrument;

pub use deliver::{BackOff, Settle, deliver};

/// Where Kubernetes puts the token of the pod's ServiceAccount.
const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// Most characters of an answer that is no problem document.
const MAX_DETAIL: usize = 300;

/// A DataStorage, reached over HTTP.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    url: String,
}

/// Why a request did not get its events stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No whole answer came.
    #[error("failed to reach DataStorage at {url}")]
    Unreachable {
        /// Of the request.
        url: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is not that the events are stored.
    #[error("DataStorage at {url} answered {status}: {detail}")]
    Answer {
        /// Of the request.
        url: String,
        /// HTTP status.
        status: u16,
        /// The problem's detail, or the beginning of what else was answered.
        detail: String,
    },
}

impl StoreError {
    /// Whether the same events will never be accepted. Anything else may pass: a missing right, too, can be given.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Answer { status: 400 | 409 | 413 | 415 | 422, .. })
    }

    /// Whether an event with the same id and other content is stored already.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Answer { status: 409, .. })
    }
}

impl Client {
    /// For the DataStorage at `url`, for example `http://datastorage.kubernaut-system:8080`; a request that takes longer than
    /// `timeout` has failed.
    pub fn new(url: &str, timeout: Duration) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().timeout(timeout);
        // An image without root certificates can still speak plain HTTP.
        let http = if url.starts_with("https:") { http } else { http.tls_certs_only([]) }.build()?;
        Ok(Self { http, url: format!("{}{BATCH_PATH}", url.trim_end_matches('/')) })
    }

    /// Stores `events`, all or none, and returns how long DataStorage took. `traceparent` names the trace they belong to.
    pub async fn store(
        &self,
        events: &[&AuditEventRequest],
        traceparent: Option<String>,
    ) -> Result<Duration, StoreError> {
        let span = telemetry::asking(&Method::POST, &self.url, traceparent.as_deref());
        let outcome =
            self.post(events, telemetry::traceparent(&span).or(traceparent)).instrument(span.clone()).await;
        match &outcome {
            Ok(_) => telemetry::answered(&span, StatusCode::CREATED, StatusCode::BAD_REQUEST),
            Err(StoreError::Answer { status, .. }) => {
                let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                telemetry::answered(&span, status, StatusCode::BAD_REQUEST);
            }
            Err(StoreError::Unreachable { .. }) => drop(span.record("otel.status_code", "ERROR")),
        }
        outcome
    }

    async fn post(
        &self,
        events: &[&AuditEventRequest],
        traceparent: Option<String>,
    ) -> Result<Duration, StoreError> {
        let mut request = self.http.post(&self.url).json(events);
        if let Some(traceparent) = traceparent {
            request = request.header(telemetry::TRACEPARENT, traceparent);
        }
        // Read each time: Kubernetes replaces the token before it expires.
        if let Ok(token) = tokio::fs::read_to_string(TOKEN_FILE).await {
            request = request.bearer_auth(token.trim());
        }
        let started = Instant::now();
        let unreachable = |source| StoreError::Unreachable { url: self.url.clone(), source };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(started.elapsed());
        }
        let detail = serde_json::from_slice::<Problem>(&body).map_or_else(
            |_| String::from_utf8_lossy(&body).chars().take(MAX_DETAIL).collect(),
            |problem| problem.detail,
        );
        Err(StoreError::Answer { url: self.url.clone(), status: status.as_u16(), detail })
    }
}
