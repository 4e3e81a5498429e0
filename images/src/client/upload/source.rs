//! Where the bytes of an upload come from.

use std::io::SeekFrom;
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures::StreamExt;
use reqwest::Body;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::client::arrival::Arriving;
use crate::client::download::Progress;
use crate::client::error::ClientError;

/// Read from disk at once; the only memory an upload needs.
const BUFFER: usize = 256 << 10;

/// Where a blob's bytes are.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// Here.
    Bytes(Bytes),
    /// In a file that is still being fetched. Who sends it waits for each piece; what turns out to be damaged is never sent to its end.
    Arriving(Arriving),
}

impl Source {
    /// A body with the bytes of `range`.
    pub(super) async fn open(&self, range: Range<u64>, progress: Progress) -> Result<Body, ClientError> {
        match self {
            Source::Bytes(bytes) => {
                let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(bytes.len());
                let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
                progress((end - start) as u64);
                Ok(bytes.slice(start..end).into())
            }
            Source::Arriving(arrival) => {
                let pieces = arrival.clone().read(range);
                Ok(Body::wrap_stream(pieces.inspect(move |piece| {
                    progress(piece.as_ref().map_or(0, |piece| piece.len() as u64));
                })))
            }
            Source::File(path) => {
                let failed = |source| ClientError::Local { step: "read", path: path.clone(), source };
                let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
                file.seek(SeekFrom::Start(range.start)).await.map_err(failed)?;
                let reader = ReaderStream::with_capacity(file.take(range.end - range.start), BUFFER);
                Ok(Body::wrap_stream(reader.inspect(move |piece| {
                    progress(piece.as_ref().map_or(0, |piece| piece.len() as u64));
                })))
            }
        }
    }
}
