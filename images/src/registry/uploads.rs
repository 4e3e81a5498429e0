//! Blobs on their way in: in one request, in two, in pieces, or mounted from a neighbour.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use uuid::Uuid;

use super::answer::{CONTENT_DIGEST, Fault, empty};
use super::range::piece;
use super::receive::receive;
use super::route::{self, Query, Repository};
use super::store::{Store, Upload};
use crate::digest::{Digest, Hasher};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// POST: mounts a blob, takes one whole, or begins an upload.
pub(super) async fn begin(
    store: Arc<Store>,
    repository: Repository,
    query: &Query,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    if let (Some(mount), Some(from)) = (query.get("mount"), query.get("from")) {
        let digest = route::digest(mount)?;
        let from = Repository::parse(from).ok_or_else(|| Fault::NameInvalid(from.to_string()))?;
        let (to, mounted) = (repository.clone(), digest.clone());
        if store.run(move |store| store.mount(&from, &mounted, &to)).await? {
            return Ok(created(&repository, &digest));
        }
    }
    let whole = query.get("digest").map(route::digest).transpose()?;
    let name = repository.clone();
    let id = store.run(move |store| Ok(store.begin_upload(&name)?)).await?;
    match whole {
        None => Ok(accepted(&repository, id, 0)),
        Some(digest) => {
            let response = complete(&store, &repository, id, digest, headers, body).await;
            if response.is_err() {
                // Nobody knows this upload, so nobody can continue it. It is gone already when its digest was wrong.
                let _ = store.run(move |store| store.cancel_upload(&repository, id)).await;
            }
            response
        }
    }
}

/// GET: how much has arrived.
pub(super) async fn status(store: Arc<Store>, repository: Repository, id: Uuid) -> Result<Response, Fault> {
    let name = repository.clone();
    let size = store.run(move |store| store.upload_size(&name, id)).await?;
    let mut response = accepted(&repository, id, size);
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// PATCH: the next piece.
pub(super) async fn append(
    store: Arc<Store>,
    repository: Repository,
    id: Uuid,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let (upload, length) = open(&store, &repository, id, headers).await?;
    let (upload, _) = receive(body, upload, None, length).await?;
    Ok(accepted(&repository, id, upload.size))
}

/// PUT: the last piece, possibly empty, possibly everything.
pub(super) async fn finish(
    store: Arc<Store>,
    repository: Repository,
    id: Uuid,
    query: &Query,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let digest =
        query.get("digest").ok_or_else(|| Fault::DigestInvalid("the digest is missing".to_string()))?;
    complete(&store, &repository, id, route::digest(digest)?, headers, body).await
}

/// DELETE: never mind.
pub(super) async fn cancel(store: Arc<Store>, repository: Repository, id: Uuid) -> Result<Response, Fault> {
    store.run(move |store| store.cancel_upload(&repository, id)).await?;
    Ok(empty(StatusCode::NO_CONTENT, []))
}

async fn complete(
    store: &Arc<Store>,
    repository: &Repository,
    id: Uuid,
    digest: Digest,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let (upload, length) = open(store, repository, id, headers).await?;
    // Hashed while it arrives; an upload in several pieces is read once more instead.
    let hasher = (upload.size == 0).then(|| Hasher::new(digest.algorithm()));
    let (upload, hasher) = receive(body, upload, hasher, length).await?;
    let (name, expected) = (repository.clone(), digest.clone());
    store.run(move |store| store.finish_upload(&name, upload, hasher, &expected)).await?;
    Ok(created(repository, &digest))
}

/// Opens an upload for a piece that must begin where it ends; gives the length the piece must have, where it says one.
async fn open(
    store: &Arc<Store>,
    repository: &Repository,
    id: Uuid,
    headers: &HeaderMap,
) -> Result<(Upload, Option<u64>), Fault> {
    let range = match headers.get(header::CONTENT_RANGE) {
        None => None,
        Some(value) => {
            let range = value.to_str().ok().and_then(piece);
            Some(range.ok_or_else(|| Fault::UploadInvalid("`Content-Range` is malformed".to_string()))?)
        }
    };
    let name = repository.clone();
    let upload = store.run(move |store| store.open_upload(&name, id)).await?;
    match range {
        Some((first, _)) if first != upload.size => Err(Fault::UploadOutOfOrder { size: upload.size }),
        range => Ok((upload, range.map(|(_, length)| length))),
    }
}

fn accepted(repository: &Repository, id: Uuid, size: u64) -> Response {
    // An empty upload is `0-0` too: the notation has no better word for it, and clients know.
    let range = format!("0-{}", size.saturating_sub(1));
    let location = format!("/v2/{}/blobs/uploads/{id}", repository.name());
    let headers = [(header::LOCATION, location), (header::RANGE, range), (UPLOAD_ID, id.to_string())];
    empty(StatusCode::ACCEPTED, headers)
}

fn created(repository: &Repository, digest: &Digest) -> Response {
    let location = format!("/v2/{}/blobs/{digest}", repository.name());
    empty(StatusCode::CREATED, [(header::LOCATION, location), (CONTENT_DIGEST, digest.to_string())])
}
