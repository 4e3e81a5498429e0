//! Blobs from a registry to a file: hashed on the way, continued where they broke off.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc;

use super::Repository;
use super::answer::{protocol, refused, shown};
use super::arrival::{Arrival, Writer};
use super::error::ClientError;
use super::host::Action;
use super::retry::Trouble;
use super::transport::{Failed, Request};
use crate::digest::{Digest, Hasher};
use crate::document::Descriptor;
use crate::layout::{Layout, Partial};

/// Pieces on their way from the socket to the disk.
const IN_FLIGHT: usize = 8;
/// Read at once of what an earlier process left.
const REHASH: usize = 256 << 10;

/// Told how many bytes have just moved.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// What the one who keeps a blob is told.
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

    /// Fetches a blob of any size into a layout, unless it is there; see [`Repository::fetch_blob_followed`].
    pub async fn fetch_blob(
        &self,
        blob: &Descriptor,
        layout: &Layout,
        progress: &Progress,
    ) -> Result<u64, ClientError> {
        self.fetch(blob, layout, progress, None).await
    }

    /// Fetches a blob of any size into a layout, unless it is there. Nothing becomes visible before it is verified; what an earlier process left
    /// of it is hashed again and continued. Returns the bytes moved.
    /// `arrival` tells a [`super::Source::Arriving`] how far it may read: to the end only when all of it was verified.
    pub async fn fetch_blob_followed(
        &self,
        blob: &Descriptor,
        layout: &Layout,
        progress: &Progress,
        arrival: &Arrival,
    ) -> Result<u64, ClientError> {
        let moved = self.fetch(blob, layout, progress, Some(arrival)).await?;
        arrival.complete(layout.blob_path(&blob.digest), blob.size);
        Ok(moved)
    }

    async fn fetch(
        &self,
        blob: &Descriptor,
        layout: &Layout,
        progress: &Progress,
        arrival: Option<&Arrival>,
    ) -> Result<u64, ClientError> {
        if layout.has(blob) {
            return Ok(0);
        }
        let partial = layout.partial(&blob.digest)?;
        let mut arrived = partial.size()?;
        if arrived > blob.size {
            partial.clear()?;
            arrived = 0;
        }
        // What an earlier process left may turn out to be damaged: nobody reads it before all of it was verified.
        let arrival = arrival.filter(|_| arrived == 0);
        let told = || arrival.map(|arrival| arrival.writer(partial.path(), blob.size));
        let mut outcome = self.download(blob, &partial, arrived, progress, told()).await;
        if arrived > 0 && matches!(outcome, Err(ClientError::Corrupt { .. })) {
            // What was continued was not what it seemed to be: everything has to come again.
            partial.clear()?;
            outcome = self.download(blob, &partial, 0, progress, told()).await;
        }
        match outcome {
            Ok(moved) => {
                partial.complete()?;
                Ok(moved)
            }
            Err(error @ ClientError::Corrupt { .. }) => {
                partial.discard();
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Appends to a file that has the first bytes of a blob, and verifies size and digest. Returns the bytes moved, which can be more than the
    /// blob has.
    async fn download(
        &self,
        blob: &Descriptor,
        partial: &Partial,
        arrived: u64,
        progress: &Progress,
        told: Option<Writer>,
    ) -> Result<u64, ClientError> {
        let what = self.blob_name(blob);
        let local = |source| ClientError::Local { step: "write", path: what.clone().into(), source };
        // Beside the network, which takes about as long.
        let (to_file, pieces) = mpsc::channel(IN_FLIGHT);
        let (file, hasher) = (partial.reopen()?, Hasher::new(blob.digest.algorithm()));
        let keeper = tokio::task::spawn_blocking(move || keep(file, hasher, arrived, pieces, told));
        let received = self.receive(blob, arrived, &what, &to_file, progress).await;
        drop(to_file);
        // A full disk stops the receiving, too; it is the better reason.
        let found = keeper.await.map_err(|error| local(io::Error::other(error)))?.map_err(local)?;
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
        arrived: u64,
        what: &str,
        to_file: &mpsc::Sender<Step>,
        progress: &Progress,
    ) -> Result<u64, ClientError> {
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        let (mut at, mut furthest, mut moved, mut attempt) = (arrived, arrived, 0, 1);
        while at < blob.size {
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
                    if at > 0 && to_file.send(Step::Restart).await.is_err() {
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
                // Who is gone says why when he is joined.
                if to_file.send(Step::Piece(piece)).await.is_err() {
                    return Ok(moved);
                }
            }
            if at == blob.size {
                break;
            }
            let truncated = ClientError::Truncated { what: what.to_string(), found: at, expected: blob.size };
            let failed = Failed { trouble: Trouble::Connection, error: broken.unwrap_or(truncated) };
            // A blob that gets further each time is never given up; one that begins again and again is.
            if at > furthest {
                (furthest, attempt) = (at, 1);
            }
            attempt = self.client.next_attempt(&self.host, Action::Download, attempt, failed).await?;
        }
        Ok(moved)
    }

    pub(super) fn blob_name(&self, blob: &Descriptor) -> String {
        format!("the blob {}/{}@{}", self.registry(), self.name, blob.digest)
    }
}

/// Hashes what the file has already, then writes and hashes what comes until the sender is gone. One thread does both: a second would have
/// to be woken for each piece, too, which takes longer than it saves.
fn keep(
    mut file: File,
    mut hasher: Hasher,
    arrived: u64,
    mut pieces: mpsc::Receiver<Step>,
    mut told: Option<Writer>,
) -> io::Result<Digest> {
    let fresh = hasher.clone();
    let mut before = vec![0; if arrived > 0 { REHASH } else { 0 }];
    let mut rest = arrived;
    while rest > 0 {
        let wanted = before.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        file.read_exact(&mut before[..wanted])?;
        hasher.update(&before[..wanted]);
        rest -= wanted as u64;
    }
    while let Some(step) = pieces.blocking_recv() {
        match step {
            Step::Piece(piece) => {
                file.write_all(&piece)?;
                // Before it is hashed: somebody waits for it.
                if let Some(told) = &mut told {
                    told.wrote(piece.clone());
                }
                hasher.update(&piece);
            }
            Step::Restart => {
                // Writing goes on at the end of the file, which is its beginning now.
                file.set_len(0)?;
                hasher = fresh.clone();
                if let Some(told) = &mut told {
                    told.restart();
                }
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
