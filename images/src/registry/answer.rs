//! What the registry says: error bodies and codes of the specification, and the few headers every answer shares.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::store::StoreError;
use crate::digest::Digest;

/// Why a request is refused. Each becomes a code of the specification, a status and a sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("`{0}` is not a repository name")]
    NameInvalid(String),
    #[error("there is no repository `{0}`")]
    NameUnknown(String),
    #[error("{0}")]
    DigestInvalid(String),
    #[error("there is no manifest `{0}` in this repository")]
    ManifestUnknown(String),
    #[error("the manifest is {found}, which the request does not accept")]
    NotAccepted { found: String },
    #[error("{0}")]
    ManifestInvalid(String),
    #[error("the manifest refers to {0}, which is not in this repository")]
    ManifestBlobUnknown(Digest),
    #[error("a manifest may have {limit} bytes at most")]
    ManifestTooLarge { limit: usize },
    #[error("there is no blob {0} in this repository")]
    BlobUnknown(Digest),
    #[error("the blob has {size} bytes; nothing of it is in the range asked for")]
    RangeUnsatisfiable { size: u64 },
    #[error("there is no upload `{0}`")]
    UploadUnknown(String),
    #[error("{0}")]
    UploadInvalid(String),
    #[error("the upload has {size} bytes; the next piece must begin there")]
    UploadOutOfOrder { size: u64 },
    #[error("`{0}` is not a path of this registry")]
    NoSuchPath(String),
    #[error("{0} is not supported here")]
    Method(Method),
    #[error("the registry's store does not work")]
    Store(#[from] StoreError),
}

impl Fault {
    /// The code a client looks at.
    pub fn code(&self) -> &'static str {
        match self {
            Fault::NameInvalid(_) => "NAME_INVALID",
            Fault::NameUnknown(_) => "NAME_UNKNOWN",
            Fault::DigestInvalid(_) => "DIGEST_INVALID",
            Fault::ManifestUnknown(_) | Fault::NotAccepted { .. } => "MANIFEST_UNKNOWN",
            Fault::ManifestInvalid(_) => "MANIFEST_INVALID",
            Fault::ManifestBlobUnknown(_) => "MANIFEST_BLOB_UNKNOWN",
            Fault::ManifestTooLarge { .. } => "SIZE_INVALID",
            Fault::BlobUnknown(_) => "BLOB_UNKNOWN",
            Fault::UploadUnknown(_) => "BLOB_UPLOAD_UNKNOWN",
            Fault::UploadInvalid(_) | Fault::UploadOutOfOrder { .. } => "BLOB_UPLOAD_INVALID",
            Fault::RangeUnsatisfiable { .. } => "SIZE_INVALID",
            Fault::NoSuchPath(_) | Fault::Method(_) => "UNSUPPORTED",
            Fault::Store(_) => "UNKNOWN",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Fault::NameInvalid(_)
            | Fault::DigestInvalid(_)
            | Fault::ManifestInvalid(_)
            | Fault::UploadInvalid(_) => StatusCode::BAD_REQUEST,
            Fault::NameUnknown(_)
            | Fault::ManifestUnknown(_)
            | Fault::NotAccepted { .. }
            | Fault::ManifestBlobUnknown(_)
            | Fault::BlobUnknown(_)
            | Fault::UploadUnknown(_)
            | Fault::NoSuchPath(_) => StatusCode::NOT_FOUND,
            Fault::ManifestTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::RangeUnsatisfiable { .. } | Fault::UploadOutOfOrder { .. } => {
                StatusCode::RANGE_NOT_SATISFIABLE
            }
            Fault::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Fault::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The response, with the error body of the specification.
    pub fn into_response(self) -> Response {
        if let Fault::Store(error) = &self {
            tracing::error!(error = error as &dyn std::error::Error, "the registry's store does not work");
        }
        let body = Errors { errors: [ErrorBody { code: self.code(), message: self.to_string() }] };
        let mut response = (self.status(), json(&body)).into_response();
        if let Fault::RangeUnsatisfiable { size } = self {
            set(response.headers_mut(), header::CONTENT_RANGE, format!("bytes */{size}"));
        }
        response
    }
}

#[derive(Serialize)]
struct Errors {
    errors: [ErrorBody; 1],
}

#[derive(Serialize)]
struct ErrorBody {
    code: &'static str,
    message: String,
}

/// A JSON document with status 200.
pub(super) fn json(document: &impl Serialize) -> Response {
    axum::Json(document).into_response()
}

/// A response with a status and headers, without a body.
pub(super) fn empty<const N: usize>(status: StatusCode, headers: [(HeaderName, String); N]) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    for (name, value) in headers {
        set(response.headers_mut(), name, value);
    }
    response
}

/// Sets a header to a value made of checked names, numbers and digests; anything else is left out rather than sent broken.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: impl AsRef<str>) {
    match HeaderValue::from_str(value.as_ref()) {
        Ok(value) => drop(headers.insert(name, value)),
        Err(error) => tracing::error!(%error, %name, "a header value is malformed"),
    }
}

/// `Docker-Content-Digest`.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
