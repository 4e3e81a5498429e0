//! Blobs from a registry to a file: hashed on the way, continued where they broke off.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc;

use super::Repository;
use super::error::ClientError;
use super::retry::Trouble;
use super::transport::{Action, Failed, Request, protocol, refused, shown};
use crate::digest::{Digest, Hasher};
use crate::document::Descriptor;
use crate::layout::Layout;

/// Pieces on their way from the socket to the disk.
const IN_FLIGHT: usize = 8;

/// Told how many bytes have just moved.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What the writing thread is told.
enum Step {
    Piece(Bytes),
    /// The registry begins again from the first byte.
    Restart,
}

impl Repository {
    /// The size of a blob, by HEAD. Nothing if the repository does not have it.
    pub async fn head_blob(&self, digest: &Digest) -> Result<Option<u64>, ClientError> {
        let request =
            Request::new(Method::HEAD, self.url(&format!("blobs/{digest}"))?, self.pull(), Action::Read);
        let response = self.client.send(&self.host, request).await?;
        let length =
            response.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        match response.status() {
            StatusCode::OK => Ok(Some(length.unwrap_or_default())),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refused(&self.host, &Method::HEAD, response).await),
        }
    }

    /// Reads a small blob, verified.
    pub async fn blob(&self, blob: &Descriptor, limit: usize) -> Result<Bytes, ClientError> {
        let what = self.blob_name(blob);
        let request = Request::new(
            Method::GET,
            self.url(&format!("blobs/{}", blob.digest))?,
            self.pull(),
            Action::Download,
        );
        let answer = self.client.fetch(&self.host, request, &what, limit).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(ClientError::NotFound { registry: self.registry().to_string(), what });
        }
        let mut hasher = Hasher::new(blob.digest.algorithm());
        hasher.update(&answer.body);
        match hasher.finish() {
            found if found == blob.digest => Ok(answer.body),
            found => Err(ClientError::Corrupt { what, found }),
        }
    }

    /// Fetches a blob of any size into a layout, unless it is there. Nothing becomes visible before it is verified. Returns the bytes moved.
    pub async fn fetch_blob(
        &self,
        blob: &Descriptor,
        layout: &Layout,
        progress: &Progress,
    ) -> Result<u64, ClientError> {
        if layout.has(blob) {
            return Ok(0);
        }
        let staged = layout.stage_file()?;
        let path = staged.path().to_path_buf();
        let file = staged.reopen().map_err(|source| ClientError::Local { step: "open", path, source })?;
        let moved = self.download(blob, file, progress).await?;
        layout.adopt(staged, &blob.digest)?;
        Ok(moved)
    }

    /// Writes a blob to a file, from its beginning, and verifies size and digest. Returns the bytes moved, which can be more than the blob has.
    pub async fn download(
        &self,
        blob: &Descriptor,
        file: File,
        progress: &Progress,
    ) -> Result<u64, ClientError> {
        let what = self.blob_name(blob);
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        let hasher = Hasher::new(blob.digest.algorithm());
        let writer = tokio::task::spawn_blocking(move || write(file, hasher, receiver));
        let received = self.receive(blob, &what, &sender, progress).await;
        drop(sender);
        let local = |source| ClientError::Local { step: "write", path: what.clone().into(), source };
        let written = writer.await.map_err(|error| local(std::io::Error::other(error)))?;
        // A full disk stops the receiving, too; it is the better reason.
        let found = written.map_err(local)?;
        let moved = received?;
        match found == blob.digest {
            true => Ok(moved),
            false => Err(ClientError::Corrupt { what, found }),
        }
    }

    /// Receives until all is there, however often it breaks off.
    async fn receive(
        &self,
        blob: &Descriptor,
        what: &str,
        sender: &mpsc::Sender<Step>,
        progress: &Progress,
    ) -> Result<u64, ClientError> {
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        let (mut at, mut furthest, mut moved, mut attempt) = (0, 0, 0, 1);
        loop {
            let mut request = Request::new(Method::GET, url.clone(), self.pull(), Action::Download);
            request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            if at > 0 {
                request
                    .headers
                    .extend(HeaderValue::from_str(&format!("bytes={at}-")).ok().map(|range| (RANGE, range)));
            }
            let response = self.client.send(&self.host, request).await?;
            match response.status() {
                StatusCode::PARTIAL_CONTENT if starts_at(&response) == Some(at) => {}
                StatusCode::OK => {
                    if at > 0 && sender.send(Step::Restart).await.is_err() {
                        return Ok(moved);
                    }
                    at = 0;
                }
                StatusCode::PARTIAL_CONTENT => {
                    return Err(protocol(&url, "it sends another range than the one asked for"));
                }
                StatusCode::NOT_FOUND => {
                    return Err(ClientError::NotFound {
                        registry: self.registry().to_string(),
                        what: what.to_string(),
                    });
                }
                _ => return Err(refused(&self.host, &Method::GET, response).await),
            }
            let address = shown(response.url());
            let mut stream = response.bytes_stream();
            let mut broken = None;
            while let Some(piece) = stream.next().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(source) => {
                        let source = source.without_url();
                        broken = Some(ClientError::Connection {
                            action: "read".to_string(),
                            url: address,
                            source,
                        });
                        break;
                    }
                };
                at += piece.len() as u64;
                moved += piece.len() as u64;
                if at > blob.size {
                    return Err(ClientError::TooLarge { what: what.to_string(), limit: blob.size });
                }
                progress(piece.len() as u64);
                // A writer that is gone says why when it is joined.
                if sender.send(Step::Piece(piece)).await.is_err() {
                    return Ok(moved);
                }
            }
            if at == blob.size {
                return Ok(moved);
            }
            let truncated = ClientError::Truncated { what: what.to_string(), found: at, expected: blob.size };
            let failed = Failed { trouble: Trouble::Connection, error: broken.unwrap_or(truncated) };
            // A blob that gets further each time is never given up; one that begins again and again is.
            if at > furthest {
                (furthest, attempt) = (at, 1);
            }
            attempt = self.client.next_attempt(&self.host, Action::Download, attempt, failed).await?;
        }
    }

    pub(super) fn blob_name(&self, blob: &Descriptor) -> String {
        format!("the blob {}/{}@{}", self.registry(), self.name, blob.digest)
    }
}

/// Runs on a thread of its own until the sender is gone.
fn write(mut file: File, hasher: Hasher, mut receiver: mpsc::Receiver<Step>) -> std::io::Result<Digest> {
    let fresh = hasher.clone();
    let mut hasher = hasher;
    while let Some(step) = receiver.blocking_recv() {
        match step {
            Step::Piece(piece) => {
                hasher.update(&piece);
                file.write_all(&piece)?;
            }
            Step::Restart => {
                hasher = fresh.clone();
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
            }
        }
    }
    Ok(hasher.finish())
}

/// The first byte of `Content-Range: bytes <first>-<last>/<size>`.
fn starts_at(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}
