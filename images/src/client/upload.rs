//! Blobs from a file to a registry: mounted from a neighbour if that works, else sent whole, in pieces where it must be, and continued where it broke
//! off.

mod session;
mod source;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};

use self::session::{Session, arrived};
pub use self::source::Source;
use super::answer::{location, protocol, refused};
use super::download::Progress;
use super::error::ClientError;
use super::host::Action;
use super::ledger::{Entry, Ledger};
use super::retry::Trouble;
use super::transport::{Failed, Request};
use super::{Repository, Scopes, redirect};
use crate::document::Descriptor;

/// Piece size once a registry has refused a larger body. What every registry known to have a limit accepts.
const SMALL_PIECE: u64 = 4 << 20;

const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// How a blob came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The registry had it in another repository.
    Mounted,
    /// It was sent.
    Uploaded,
}

impl Repository {
    /// Brings a blob to the repository. `mount_from` is a repository of the same registry that may have it. Whoever calls has asked before whether
    /// it is missing at all.
    pub async fn push_blob(
        &self,
        blob: &Descriptor,
        source: &Source,
        mount_from: Option<&str>,
        progress: &Progress,
    ) -> Result<Moved, ClientError> {
        match self.begin(blob, mount_from, None).await? {
            Begun::Mounted => Ok(Moved::Mounted),
            Begun::Session(session) => self.upload(*session, 0, blob, source, progress).await,
        }
    }

    /// Sends a blob as [`Repository::push_blob`] does, from where an earlier process was interrupted, as far as the registry still knows.
    pub async fn push_blob_continued(
        &self,
        blob: &Descriptor,
        source: &Source,
        ledger: &Ledger,
        progress: &Progress,
    ) -> Result<Moved, ClientError> {
        let mut entry = ledger.entry(self.registry(), &self.name, &blob.digest);
        if let Some(location) = entry.as_mut().and_then(Entry::location) {
            let mut session = Session::new(self, location, 0, entry.take());
            session.is_inherited = true;
            // A registry that does not know it any more may say so in any way.
            match session.ask(self).await {
                Ok(Some(arrived)) if arrived <= blob.size => {
                    return self.upload(session, arrived, blob, source, progress).await;
                }
                Ok(_) | Err(_) => entry = session.entry.take(),
            }
        }
        match self.begin(blob, None, entry).await? {
            Begun::Mounted => Ok(Moved::Mounted),
            Begun::Session(session) => self.upload(*session, 0, blob, source, progress).await,
        }
    }

    /// Sends everything from `at` on.
    async fn upload(
        &self,
        mut session: Session,
        mut at: u64,
        blob: &Descriptor,
        source: &Source,
        progress: &Progress,
    ) -> Result<Moved, ClientError> {
        let mut piece = self.client.options().piece;
        let mut furthest = at;
        let mut attempt = 1;
        loop {
            let outcome = match self.step(&mut session, blob, source, at, piece, progress).await {
                // What an earlier process sent was not what it should have been.
                Err(ClientError::Refused { .. }) if session.is_inherited => {
                    match self.begin(blob, None, session.entry.take()).await? {
                        Begun::Mounted => return Ok(Moved::Mounted),
                        Begun::Session(fresh) => session = *fresh,
                    }
                    at = 0;
                    continue;
                }
                outcome => outcome?,
            };
            let failed = match outcome {
                Step::Done => {
                    session.done();
                    return Ok(Moved::Uploaded);
                }
                Step::Accepted { until } => {
                    let progressed = until > at;
                    at = until.min(blob.size);
                    // An upload that gets further each time is never given up; one that begins again and again is.
                    if at > furthest {
                        (furthest, attempt) = (at, 1);
                    }
                    if progressed {
                        continue;
                    }
                    let problem = "it takes pieces without keeping anything of them";
                    Failed { trouble: Trouble::Connection, error: protocol(&session.url, problem) }
                }
                Step::TooLarge(error) => {
                    let smaller = piece.map_or(SMALL_PIECE, |piece| piece / 2).max(session.least_piece);
                    if piece.is_some_and(|piece| smaller >= piece) || smaller == 0 {
                        return Err(error);
                    }
                    piece = Some(smaller);
                    Failed { trouble: Trouble::Status { status: 413, wait: None }, error }
                }
                Step::Failed(failed) => failed,
            };
            attempt = self.client.next_attempt(&self.host, Action::Write, attempt, failed).await?;
            at = match session.ask(self).await? {
                // The registry lost what it said it had: the same answer again and again would be a circle.
                Some(arrived) if arrived <= blob.size => arrived,
                _ if self.head_blob(&blob.digest).await?.is_some() => {
                    session.done();
                    return Ok(Moved::Uploaded);
                }
                _ => {
                    session = match self.begin(blob, None, session.entry.take()).await? {
                        Begun::Mounted => return Ok(Moved::Mounted),
                        Begun::Session(session) => *session,
                    };
                    0
                }
            };
            if at > furthest {
                (furthest, attempt) = (at, 1);
            }
        }
    }

    /// Gets a blob from another repository of the same registry, if the registry does that. Nothing is sent.
    pub async fn mount(&self, blob: &Descriptor, from: &str) -> Result<bool, ClientError> {
        match self.begin(blob, Some(from), None).await? {
            Begun::Mounted => Ok(true),
            // Dropping the upload cancels it.
            Begun::Session(_) => Ok(false),
        }
    }

    /// Opens an upload, or gets the blob mounted. A registry that does not mount opens an upload instead, and that one is used.
    async fn begin(
        &self,
        blob: &Descriptor,
        mount_from: Option<&str>,
        entry: Option<Entry>,
    ) -> Result<Begun, ClientError> {
        let mut url = self.url("blobs/uploads/")?;
        let mut scopes = self.push();
        if let Some(from) = mount_from {
            url.query_pairs_mut().append_pair("mount", &blob.digest.to_string()).append_pair("from", from);
            scopes = scopes.and(Scopes::of(from, "pull"));
        }
        let request = Request::new(Method::POST, url.clone(), scopes, Action::Write);
        let response = self.client.send(&self.host, request).await?;
        match response.status() {
            StatusCode::CREATED if mount_from.is_some() => Ok(Begun::Mounted),
            // The specification says 202; some say 200 or 201 and mean it.
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::CREATED => {
                let target = location(&url, response.headers())?;
                redirect::check(&self.host.base, &target, self.host.private_redirects)?;
                let least = response.headers().get(CHUNK_MIN_LENGTH);
                let least_piece =
                    least.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default();
                let mut session = Session::new(self, target, least_piece, entry);
                session.note();
                Ok(Begun::Session(Box::new(session)))
            }
            // Some refuse to mount what they do not have instead of opening an upload.
            _ if mount_from.is_some() => Box::pin(self.begin(blob, None, entry)).await,
            _ => Err(refused(&self.host, &Method::POST, response).await),
        }
    }

    /// Sends what comes next: the rest, or one piece.
    async fn step(
        &self,
        session: &mut Session,
        blob: &Descriptor,
        source: &Source,
        at: u64,
        piece: Option<u64>,
        progress: &Progress,
    ) -> Result<Step, ClientError> {
        let rest = blob.size - at;
        let length = piece.map_or(rest, |piece| piece.max(session.least_piece).max(1)).min(rest);
        let last = length == rest;
        let (method, mut url) = match last {
            true => (Method::PUT, session.url.clone()),
            false => (Method::PATCH, session.url.clone()),
        };
        if last {
            url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        }
        let mut request = Request::new(method.clone(), url, session.scopes.clone(), Action::Write);
        request.headers = piece_headers(at, length, blob.size);
        let body = source.open(at..at + length, progress.clone()).await?;
        let response = match self.client.send_once(&self.host, request, body).await? {
            Ok(response) => response,
            Err(failed) => return Ok(Step::Failed(failed)),
        };
        match response.status() {
            status if status.is_success() && last => Ok(Step::Done),
            status if status.is_success() => {
                session.follow(&response)?;
                Ok(Step::Accepted { until: arrived(response.headers()).unwrap_or(at + length) })
            }
            StatusCode::PAYLOAD_TOO_LARGE => Ok(Step::TooLarge(refused(&self.host, &method, response).await)),
            // Out of step with the registry, or an upload it has forgotten: ask, then go on.
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => {
                let trouble = Trouble::Status { status: response.status().as_u16(), wait: None };
                Ok(Step::Failed(Failed { trouble, error: refused(&self.host, &method, response).await }))
            }
            _ => Err(refused(&self.host, &method, response).await),
        }
    }
}

enum Begun {
    Mounted,
    Session(Box<Session>),
}

enum Step {
    /// The blob is complete.
    Done,
    /// The registry has everything up to here.
    Accepted {
        until: u64,
    },
    TooLarge(ClientError),
    Failed(Failed),
}

fn piece_headers(at: u64, length: u64, size: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if length < size
        && length > 0
        && let Ok(range) = HeaderValue::from_str(&format!("{at}-{}", at + length - 1))
    {
        headers.insert(CONTENT_RANGE, range);
    }
    headers
}
