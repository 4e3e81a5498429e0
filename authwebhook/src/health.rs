//! Whether the webhook works, for probes and for people; and its metrics. Plain HTTP, a port of its own.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::metrics::{CONTENT_TYPE, Metrics};

/// What must hold before the webhook is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The Secret holds a usable certificate.
    Certificate,
    /// The listener answered a handshake with that certificate.
    Listener,
    /// The API server is told to trust it and to send reviews here.
    Registration,
    /// The process has not been told to end.
    Serving,
}

impl Check {
    const ALL: [Self; 4] = [Self::Certificate, Self::Listener, Self::Registration, Self::Serving];

    fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Listener => "listener",
            Self::Registration => "registration",
            Self::Serving => "serving",
        }
    }
}

/// The state of every check. Nothing holds until it was seen to hold.
#[derive(Debug, Default)]
pub struct Readiness {
    failing: Mutex<BTreeMap<Check, Result<(), String>>>,
}

impl Readiness {
    /// Records how a check went; an error says why it does not hold.
    pub fn set(&self, check: Check, outcome: Result<(), String>) {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).insert(check, outcome);
    }

    /// Whether every check holds.
    pub fn is_ready(&self) -> bool {
        self.report().0
    }

    /// Whether every check holds, and a line for each, in the form of Kubernetes' own components.
    pub fn report(&self) -> (bool, String) {
        let checks = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready = true;
        let mut text = String::new();
        for check in Check::ALL {
            let failure = match checks.get(&check) {
                Some(Ok(())) => None,
                Some(Err(reason)) => Some(reason.as_str()),
                None => Some("not checked yet"),
            };
            ready &= failure.is_none();
            let _ = match failure {
                None => writeln!(text, "[+]{} ok", check.name()),
                Some(reason) => writeln!(text, "[-]{} failed: {reason}", check.name()),
            };
        }
        text.push_str(if ready { "readyz check passed\n" } else { "readyz check failed\n" });
        (ready, text)
    }
}

/// `/healthz`, `/readyz` and `/metrics`.
pub fn router(readiness: Arc<Readiness>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics))
}

async fn ready(State(readiness): State<Arc<Readiness>>) -> (StatusCode, String) {
    let (ready, text) = readiness.report();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

async fn render(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_check_was_seen_to_hold() {
        let readiness = Readiness::default();
        assert!(!readiness.is_ready());
        for check in Check::ALL {
            readiness.set(check, Ok(()));
        }
        assert_eq!(
            readiness.report(),
            (
                true,
                "[+]certificate ok\n[+]listener ok\n[+]registration ok\n[+]serving ok\nreadyz check passed\n"
                    .into()
            )
        );
        readiness.set(Check::Registration, Err("forbidden".into()));
        let (ready, text) = readiness.report();
        assert!(!ready && text.contains("[-]registration failed: forbidden"), "{text}");
    }
}
