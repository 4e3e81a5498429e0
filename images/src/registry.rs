//! An OCI distribution registry in this process: pull, push, discovery, management, mounts and referrers, kept on disk.
//!
//! A request is read once, in `route`; `blobs`, `uploads`, `manifests` and `listing` answer it; `store` is the directory behind
//! them. Whatever becomes visible was written aside, verified, flushed and renamed, so a kill at any moment costs unfinished uploads
//! their last bytes and nothing else. Blobs go from socket to disk and back in pieces; memory does not grow with their size.
//!
//! It knows no users: it listens where it is told to, on the loopback interface unless something else is asked for.

mod accept;
mod answer;
mod blobs;
mod listing;
mod manifests;
mod range;
mod receive;
mod route;
mod store;
mod uploads;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use answer::Fault;
use route::{Query, Route};
use store::Store;
pub use store::{Collected, StoreError};

/// Largest manifest accepted. The specification asks for at least this much.
pub const MANIFEST_LIMIT: usize = 4 << 20;

/// Where a registry listens and what it serves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of its content; made if there is none.
    pub dir: PathBuf,
    /// Address to listen on; port 0 takes any free one.
    pub address: SocketAddr,
}

impl Options {
    /// Serves `dir` on a free port of the loopback interface.
    pub fn on_loopback(dir: impl Into<PathBuf>) -> Options {
        Options { dir: dir.into(), address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) }
    }
}

/// The registry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its directory cannot be used.
    #[error("open the registry's store")]
    Store(#[from] StoreError),
    /// Its address cannot be used.
    #[error("listen on {address} for the registry")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// A registry that answers until this is dropped or [`Running::stop`] is called.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The host part of references to its images, e.g. `127.0.0.1:40123`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Answers what was already asked, then ends.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        // The only other way for the task to end is a panic inside axum, which has nothing left to clean up either.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}

/// Starts a registry. It answers as soon as this returns.
pub async fn serve(options: Options) -> Result<Running, ServeError> {
    let Options { dir, address } = options;
    let store = Store::open(dir)?;
    let listen = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    // A blob is written after the head of its answer: the kernel would hold its beginning back until the head was acknowledged, for 40 ms.
    // One whose connection is gone already is noticed when it is read.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    let shutdown = CancellationToken::new();
    let stopped = shutdown.clone().cancelled_owned();
    let task = tokio::spawn(async move {
        let server = axum::serve(listener, router(store)).with_graceful_shutdown(stopped);
        if let Err(error) = server.await {
            tracing::error!(%error, "the registry ended");
        }
    });
    Ok(Running { address, shutdown, task })
}

/// Removes what no manifest refers to any more from a registry's directory, except what is young enough to be part of a push
/// under way. Safe while a registry serves the directory.
pub fn collect_garbage(dir: &Path) -> Result<Collected, StoreError> {
    Store::open(dir.to_path_buf())?.collect()
}

fn router(store: Store) -> Router {
    Router::new().fallback(handle).with_state(Arc::new(store))
}

async fn handle(State(store): State<Arc<Store>>, RawQuery(query): RawQuery, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let query = Query::parse(query.as_deref().unwrap_or_default());
    let mut response = match dispatch(store, query, request).await {
        Ok(response) => response,
        Err(fault) => {
            tracing::debug!(%method, path, code = fault.code(), "the registry refuses");
            fault.into_response()
        }
    };
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert("docker-distribution-api-version", version);
    response
}

async fn dispatch(store: Arc<Store>, query: Query, request: Request) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let route = route::parse(parts.uri.path())?;
    let headers = &parts.headers;
    match (route, parts.method) {
        (Route::Base, Method::GET | Method::HEAD) => Ok(answer::json(&serde_json::json!({}))),
        (Route::Catalog, Method::GET) => listing::catalog(store, &query).await,
        (Route::Tags(repository), Method::GET) => listing::tags(store, repository, &query).await,
        (Route::Referrers(repository, subject), Method::GET) => {
            listing::referrers(store, repository, subject, &query).await
        }
        (Route::Manifest(repository, version), Method::GET | Method::HEAD) => {
            manifests::get(store, repository, version, headers).await
        }
        (Route::Manifest(repository, version), Method::PUT) => {
            manifests::put(store, repository, version, &query, headers, body).await
        }
        (Route::Manifest(repository, version), Method::DELETE) => {
            manifests::delete(store, repository, version).await
        }
        (Route::Blob(repository, digest), Method::GET) => {
            blobs::get(store, repository, digest, headers).await
        }
        (Route::Blob(repository, digest), Method::HEAD) => blobs::head(store, repository, digest).await,
        (Route::Blob(repository, digest), Method::DELETE) => blobs::delete(store, repository, digest).await,
        (Route::Uploads(repository), Method::POST) => {
            uploads::begin(store, repository, &query, headers, body).await
        }
        (Route::Upload(repository, upload), Method::GET) => uploads::status(store, repository, upload).await,
        (Route::Upload(repository, upload), Method::PATCH) => {
            uploads::append(store, repository, upload, headers, body).await
        }
        (Route::Upload(repository, upload), Method::PUT) => {
            uploads::finish(store, repository, upload, &query, headers, body).await
        }
        (Route::Upload(repository, upload), Method::DELETE) => {
            uploads::cancel(store, repository, upload).await
        }
        (_, method) => Err(Fault::Method(method)),
    }
}
