//! Health and metrics over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;

/// Media type of the metrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether this replica has seen the cluster, so that it acts, or may act at once when it comes to lead.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicU8>);

/// What [`Readiness`] can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The watches have not delivered everything yet.
    Cold = 0,
    /// Everything that exists is known.
    Ready = 1,
    /// Told to end.
    Draining = 2,
}

impl Readiness {
    /// From now on it is `state`.
    pub fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Release);
    }

    fn answer(&self) -> (StatusCode, &'static str) {
        match self.0.load(Ordering::Acquire) {
            1 => (StatusCode::OK, "ok"),
            2 => (StatusCode::SERVICE_UNAVAILABLE, "told to end"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "watches are starting"),
        }
    }
}

/// `/healthz` and `/readyz`.
pub fn health(readiness: Readiness) -> Router {
    let ready = move || std::future::ready(readiness.answer());
    Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(ready))
}

/// `/metrics`, made anew each time by `text`.
pub fn metrics(text: impl Fn() -> String + Clone + Send + Sync + 'static) -> Router {
    let answer = move || std::future::ready(([(header::CONTENT_TYPE, OPENMETRICS)], text()));
    Router::new().route("/metrics", get(answer))
}

/// Serves `router` at `address` until the process ends.
pub async fn serve(address: SocketAddr, router: Router) -> Result<(), crate::Error> {
    let failed = |source| crate::Error::Listen { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
    axum::serve(listener, router).await.map_err(failed)
}
