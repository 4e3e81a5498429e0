//! A wire before a registry that is as slow and as unreliable as asked for, and counts what goes over it. For measurements, and for
//! tests of what happens to those who talk to registries.
//!
//! Time passes on the connection (`slow`): every byte arrives later than it was sent, in each direction, however many are under way.
//! Counting happens above it: a request is read, noted and passed on to the real registry.

mod fault;
mod slow;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::response::Response;
use futures::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use fault::{Dice, Fault};
use slow::SlowListener;

/// What a wire does to those who use it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How long a byte is under way, each way; half a round trip.
    pub delay: Duration,
    /// Each connection breaks after some number of bytes in this range.
    pub cut_after: Option<Range<u64>>,
    /// What happens to requests.
    pub faults: Option<Faults>,
    /// So many bytes of blobs may be sent to the registry; with the next one everything stands still.
    pub upload_limit: Option<u64>,
}

/// Faults of all kinds: refusals, with and without a time to wait, cuts, lost answers, damage, silence.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Decides which fault happens when.
    pub seed: u64,
    /// One of so many requests meets one.
    pub one_in: u64,
    /// How many there are before the wire is a good one.
    pub most: usize,
    /// How long silence lasts.
    pub silence: Duration,
}

/// One request, as far as it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// As in HTTP.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Status of the answer; 0 while there is none.
    pub status: u16,
    /// Bytes of the request's body.
    pub sent: u64,
    /// Bytes of the answer's body.
    pub received: u64,
}

/// A wire that lasts as long as this value.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    registry: SocketAddr,
    http: reqwest::Client,
    notes: Mutex<Vec<Arc<Note>>>,
    /// How many requests there ever were.
    requests: watch::Sender<usize>,
    dice: Option<(Dice, Duration)>,
    /// How much of blobs may be sent.
    upload_limit: watch::Sender<u64>,
    /// How much of blobs was sent to the registry.
    uploaded: watch::Sender<u64>,
}

#[derive(Debug)]
struct Note {
    method: Method,
    path: String,
    status: AtomicU16,
    sent: AtomicU64,
    received: AtomicU64,
}

/// A wire could not be laid.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// No port is free.
    #[error("listen on the loopback interface")]
    Listen(#[from] io::Error),
    /// There is no HTTP client.
    #[error("make an HTTP client")]
    Client(#[from] reqwest::Error),
}

impl Wire {
    /// Lays a wire to a registry; its end is on a free port of the loopback interface.
    pub async fn to(registry: SocketAddr, options: Options) -> Result<Wire, WireError> {
        // Whoever installs a provider first decides for the process; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let (requests, _) = watch::channel(0);
        let (uploaded, _) = watch::channel(0);
        let dice = options.faults.map(|faults| (Dice::new(faults), faults.silence));
        let (upload_limit, _) = watch::channel(options.upload_limit.unwrap_or(u64::MAX));
        let notes = Mutex::default();
        let shared = Arc::new(Shared { registry, http, notes, requests, dice, upload_limit, uploaded });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let router = Router::new().fallback(pass_on).with_state(shared.clone());
        let listener = SlowListener::new(listener, options);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the wire ended");
            }
        });
        Ok(Wire { address, shared, task })
    }

    /// The host part of references over this wire.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// How many requests ever came.
    pub fn count(&self) -> usize {
        *self.shared.requests.borrow()
    }

    /// Waits until so many requests have come.
    pub async fn reached(&self, count: usize) {
        // The sender is as old as the wire.
        let _ = self.shared.requests.subscribe().wait_for(|requests| *requests >= count).await;
    }

    /// From now on any number of bytes may be sent. What stands still already breaks off.
    pub fn lift_upload_limit(&self) {
        self.shared.upload_limit.send_replace(u64::MAX);
    }

    /// Waits until so many bytes of blobs were sent to the registry.
    pub async fn uploaded(&self, bytes: u64) {
        // The sender is as old as the wire.
        let _ = self.shared.uploaded.subscribe().wait_for(|uploaded| *uploaded >= bytes).await;
    }

    /// The requests since the wire was laid or told to forget, in the order they came.
    pub fn exchanges(&self) -> Vec<Exchange> {
        let notes = self.shared.notes();
        notes.iter().map(|note| note.read()).collect()
    }

    /// Begins a new list.
    pub fn forget(&self) {
        self.shared.notes().clear();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn notes(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Note>>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Note {
    fn read(&self) -> Exchange {
        Exchange {
            method: self.method.clone(),
            path: self.path.clone(),
            status: self.status.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }
}

/// Headers that are about one connection, and those that hyper writes itself.
const OF_THE_CONNECTION: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::EXPECT, header::UPGRADE];

async fn pass_on(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let note = Arc::new(Note {
        method: parts.method.clone(),
        path,
        status: AtomicU16::new(0),
        sent: AtomicU64::new(0),
        received: AtomicU64::new(0),
    });
    shared.notes().push(note.clone());
    shared.requests.send_modify(|requests| *requests += 1);
    let fault = shared.dice.as_ref().and_then(|(dice, _)| dice.roll(&parts.method, &note.path));
    if let Some(refusal) = fault.and_then(fault::refusal) {
        note.status.store(refusal.status().as_u16(), Ordering::Relaxed);
        return refusal;
    }
    let response = reach(&shared, &note, parts, body, fault).await;
    note.status.store(response.status().as_u16(), Ordering::Relaxed);
    match (fault, &shared.dice) {
        (Some(fault), Some((_, silence))) => fault::befall(response, fault, *silence),
        _ => response,
    }
}

/// Asks the registry itself.
async fn reach(
    shared: &Arc<Shared>,
    note: &Arc<Note>,
    parts: Parts,
    body: Body,
    fault: Option<Fault>,
) -> Response {
    let mut headers = parts.headers;
    // The host stays: registries that answer with complete addresses then name this wire.
    OF_THE_CONNECTION.iter().for_each(|name| _ = headers.remove(name));
    let has_body = headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
        || matches!(parts.method, Method::PUT | Method::PATCH);
    let url = format!("http://{}{}", shared.registry, note.path);
    let mut upstream = shared.http.request(parts.method.clone(), url).headers(headers);
    if has_body {
        let (counted, shared) = (note.clone(), shared.clone());
        let is_blob = note.path.contains("/blobs/uploads/");
        let pieces = body.into_data_stream().then(move |piece| {
            let (counted, shared) = (counted.clone(), shared.clone());
            async move {
                let length = piece.as_ref().map_or(0, |piece| piece.len() as u64);
                if is_blob && *shared.uploaded.borrow() >= *shared.upload_limit.borrow() {
                    // The sender is as old as the wire.
                    let _ = shared.upload_limit.subscribe().changed().await;
                    return Err(axum::Error::new(io::Error::other("it stood still")));
                }
                counted.sent.fetch_add(length, Ordering::Relaxed);
                shared.uploaded.send_modify(|uploaded| *uploaded += if is_blob { length } else { 0 });
                piece
            }
        });
        upstream = upstream.body(match fault {
            Some(Fault::RequestCut(at)) => reqwest::Body::wrap_stream(fault::cut(pieces, at)),
            _ => reqwest::Body::wrap_stream(pieces),
        });
    }
    let mut response = Response::new(Body::empty());
    match upstream.send().await {
        Ok(answer) => {
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            OF_THE_CONNECTION.iter().for_each(|name| _ = response.headers_mut().remove(name));
            if parts.method != Method::HEAD {
                let counted = note.clone();
                *response.body_mut() = Body::from_stream(answer.bytes_stream().inspect(move |piece| {
                    let length = piece.as_ref().map_or(0, |piece| piece.len() as u64);
                    counted.received.fetch_add(length, Ordering::Relaxed);
                }));
            }
        }
        Err(error) => {
            tracing::debug!(%error, "the registry behind the wire does not answer");
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
    }
    response
}
