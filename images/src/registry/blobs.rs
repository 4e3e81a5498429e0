//! Blobs: asked about, fetched whole or in part, removed.

use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::answer::{CONTENT_DIGEST, Fault, empty, set};
use super::range::{Wanted, wanted};
use super::route::Repository;
use super::store::{Store, StoreError};
use crate::digest::Digest;

/// Read from disk at once; the only memory a download needs.
const BUFFER: usize = 256 << 10;

pub(super) async fn head(
    store: Arc<Store>,
    repository: Repository,
    digest: Digest,
) -> Result<Response, Fault> {
    store
        .run(move |store| {
            let size = store.blob_size(&repository, &digest);
            let size = size.ok_or_else(|| Fault::BlobUnknown(digest.clone()))?;
            store.freshen(&repository, &digest)?;
            let mut response = described(StatusCode::OK, &digest);
            set(response.headers_mut(), header::CONTENT_LENGTH, size.to_string());
            Ok(response)
        })
        .await
}

pub(super) async fn get(
    store: Arc<Store>,
    repository: Repository,
    digest: Digest,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let range =
        headers.get(header::RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_string();
    store
        .run(move |store| {
            let (mut file, size) = store.open_blob(&repository, &digest)?;
            let (status, first, length) = match wanted(&range, size) {
                Wanted::Whole => (StatusCode::OK, 0, size),
                Wanted::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first, last - first + 1),
                Wanted::Nothing => return Err(Fault::RangeUnsatisfiable { size }),
            };
            let seek = |source| StoreError::Io { step: "read", path: digest.hex().into(), source };
            file.seek(SeekFrom::Start(first)).map_err(seek)?;
            let mut response = described(status, &digest);
            let headers = response.headers_mut();
            set(headers, header::CONTENT_LENGTH, length.to_string());
            if status == StatusCode::PARTIAL_CONTENT {
                set(headers, header::CONTENT_RANGE, format!("bytes {first}-{}/{size}", first + length - 1));
            }
            let reader = tokio::fs::File::from_std(file).take(length);
            *response.body_mut() = Body::from_stream(ReaderStream::with_capacity(reader, BUFFER));
            Ok(response)
        })
        .await
}

pub(super) async fn delete(
    store: Arc<Store>,
    repository: Repository,
    digest: Digest,
) -> Result<Response, Fault> {
    store.run(move |store| store.delete_blob(&repository, &digest)).await?;
    Ok(empty(StatusCode::ACCEPTED, []))
}

fn described(status: StatusCode, digest: &Digest) -> Response {
    let octets = "application/octet-stream".to_string();
    empty(
        status,
        [
            (header::CONTENT_TYPE, octets),
            (header::ACCEPT_RANGES, "bytes".to_string()),
            (header::ETAG, format!("\"{digest}\"")),
            (CONTENT_DIGEST, digest.to_string()),
        ],
    )
}
