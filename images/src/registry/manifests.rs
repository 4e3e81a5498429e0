//! Manifests: checked against what they refer to when they arrive, afterwards never changed by a byte.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::MANIFEST_LIMIT;
use super::accept::accepts;
use super::answer::{CONTENT_DIGEST, Fault, empty, set};
use super::route::{Query, Repository, Version};
use super::store::{Record, Store};
use crate::digest::{Digest, Hasher};
use crate::document::{DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, INDEX, MANIFEST};
use crate::reference::is_tag;

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// GET and HEAD.
pub(super) async fn get(
    store: Arc<Store>,
    repository: Repository,
    version: Version,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let (digest, record, bytes) = store
        .run(move |store| {
            let (digest, record) = store.find_manifest(&repository, &version)?;
            let bytes = store.manifest_bytes(&digest)?;
            Ok((digest, record, bytes))
        })
        .await?;
    if !accepts(headers, &record.media_type) {
        return Err(Fault::NotAccepted { found: record.media_type });
    }
    let headers = [
        (header::CONTENT_TYPE, record.media_type),
        (header::CONTENT_LENGTH, bytes.len().to_string()),
        (header::ETAG, format!("\"{digest}\"")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    let mut response = empty(StatusCode::OK, headers);
    *response.body_mut() = Body::from(bytes);
    Ok(response)
}

/// PUT: under a tag, or by digest with any number of `tag` parameters.
pub(super) async fn put(
    store: Arc<Store>,
    repository: Repository,
    version: Version,
    query: &Query,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let bytes = to_bytes(body, MANIFEST_LIMIT)
        .await
        .map_err(|_| Fault::ManifestTooLarge { limit: MANIFEST_LIMIT })?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Checked { media_type, children, subject, referrer } = check(&bytes, content_type)?;

    let digest = match &version {
        Version::Tag(_) => Digest::of(&bytes),
        Version::Digest(expected) => verified(&bytes, expected)?,
    };
    let mut tags: Vec<String> = query.all("tag").map(str::to_string).collect();
    if let Some(tag) = tags.iter().find(|tag| !is_tag(tag)) {
        return Err(Fault::ManifestInvalid(format!("`{tag}` is not a tag")));
    }
    if let Version::Tag(tag) = &version {
        tags.push(tag.clone());
    }

    let location = format!("/v2/{}/manifests/{digest}", repository.name());
    let mut response =
        empty(StatusCode::CREATED, [(header::LOCATION, location), (CONTENT_DIGEST, digest.to_string())]);
    if let Some(subject) = &subject {
        set(response.headers_mut(), SUBJECT, subject.to_string());
    }
    for tag in query.all("tag").filter_map(|tag| tag.parse().ok()) {
        response.headers_mut().append(TAG, tag);
    }

    store
        .run(move |store| {
            for child in children {
                let present = match child.is_manifest {
                    true => store.has_manifest(&repository, &child.digest),
                    false => store.blob_size(&repository, &child.digest).is_some(),
                };
                if !present {
                    return Err(Fault::ManifestBlobUnknown(child.digest));
                }
            }
            let referrer = referrer.map(|referrer| {
                let mut descriptor = Descriptor::new(&media_type, digest.clone(), bytes.len() as u64);
                descriptor.artifact_type = referrer.artifact_type;
                descriptor.annotations = referrer.annotations;
                descriptor
            });
            let record = Record { media_type, subject };
            store.put_manifest(&repository, &digest, &bytes, &record, referrer.as_ref(), &tags)
        })
        .await?;
    Ok(response)
}

pub(super) async fn delete(
    store: Arc<Store>,
    repository: Repository,
    version: Version,
) -> Result<Response, Fault> {
    let delete = move |store: &Store| match version {
        Version::Tag(tag) => store.delete_tag(&repository, &tag),
        Version::Digest(digest) => store.delete_manifest(&repository, &digest),
    };
    store.run(delete).await?;
    Ok(empty(StatusCode::ACCEPTED, []))
}

/// As much of a manifest or index as must be understood to store it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: u8,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Pointer>,
    #[serde(default)]
    layers: Vec<Pointer>,
    #[serde(default)]
    manifests: Vec<Pointer>,
    subject: Option<Pointer>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pointer {
    #[serde(default)]
    media_type: String,
    digest: Digest,
}

/// A manifest that may be stored once its children are there.
#[derive(Debug, PartialEq)]
struct Checked {
    media_type: String,
    children: Vec<Child>,
    subject: Option<Digest>,
    referrer: Option<Referrer>,
}

#[derive(Debug, PartialEq)]
struct Child {
    digest: Digest,
    is_manifest: bool,
}

/// What the list of referrers says about it besides its digest.
#[derive(Debug, PartialEq)]
struct Referrer {
    artifact_type: Option<String>,
    annotations: BTreeMap<String, String>,
}

/// Decides what the bytes are. Pure.
fn check(bytes: &Bytes, content_type: Option<&str>) -> Result<Checked, Fault> {
    let invalid = |problem: String| Fault::ManifestInvalid(problem);
    let outline: Outline = serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("the manifest cannot be understood: {error}")))?;
    let Outline {
        schema_version,
        media_type,
        artifact_type,
        config,
        layers,
        manifests,
        subject,
        annotations,
    } = outline;
    if schema_version != 2 {
        return Err(invalid(format!("a manifest of schema version {schema_version} is not supported")));
    }
    // Parameters such as `; charset=utf-8` say nothing about JSON.
    let content_type = content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
    let declared = content_type.filter(|value| !value.is_empty());
    let media_type = match (declared, media_type) {
        (Some(header), Some(own)) if header != own => {
            return Err(invalid(format!("it is sent as `{header}` and calls itself `{own}`")));
        }
        (Some(header), _) => header.to_string(),
        (None, Some(own)) => own,
        (None, None) => return Err(invalid("its media type is missing".to_string())),
    };
    let children = match media_type.as_str() {
        INDEX | DOCKER_INDEX if config.is_some() || !layers.is_empty() => {
            return Err(invalid("an index has neither config nor layers".to_string()));
        }
        MANIFEST | DOCKER_MANIFEST if !manifests.is_empty() => {
            return Err(invalid("an image manifest lists no manifests".to_string()));
        }
        INDEX | DOCKER_INDEX => {
            manifests.into_iter().map(|pointer| Child { digest: pointer.digest, is_manifest: true }).collect()
        }
        MANIFEST | DOCKER_MANIFEST => {
            let config = config.as_ref().ok_or_else(|| invalid("it has no config".to_string()))?;
            let blobs = std::iter::once(config).chain(layers.iter().filter(|layer| is_distributable(layer)));
            blobs.map(|pointer| Child { digest: pointer.digest.clone(), is_manifest: false }).collect()
        }
        other => return Err(invalid(format!("`{other}` is not a kind of manifest this registry stores"))),
    };
    let referrer = subject.is_some().then(|| Referrer {
        artifact_type: artifact_type.or(config.map(|config| config.media_type)),
        annotations: annotations.unwrap_or_default(),
    });
    Ok(Checked { media_type, children, subject: subject.map(|subject| subject.digest), referrer })
}

/// Some layers are only ever fetched from their makers.
fn is_distributable(layer: &Pointer) -> bool {
    !["nondistributable", "foreign"].iter().any(|word| layer.media_type.contains(word))
}

fn verified(bytes: &Bytes, expected: &Digest) -> Result<Digest, Fault> {
    let mut hasher = Hasher::new(expected.algorithm());
    hasher.update(bytes);
    let found = hasher.finish();
    if found != *expected {
        return Err(Fault::DigestInvalid(format!("the manifest has the digest {found}, not {expected}")));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn pointer(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{DIGEST}","size":0}}"#)
    }

    #[test]
    fn what_is_no_manifest_is_refused_and_says_why() {
        let config = pointer("application/vnd.oci.image.config.v1+json");
        let good = format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[]}}"#);
        let check = |text: &str, content_type: &str, expected: &str| {
            let error = check(&Bytes::from(text.to_string()), Some(content_type)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("{", MANIFEST, "cannot be understood");
        check(r#"{"schemaVersion":1}"#, MANIFEST, "schema version 1");
        check(&good, INDEX, "calls itself");
        check(&good.replace(MANIFEST, "text/plain"), "text/plain", "not a kind of manifest");
        check(r#"{"schemaVersion":2}"#, MANIFEST, "no config");
        check(r#"{"schemaVersion":2}"#, "", "media type is missing");
        check(&good.replace(MANIFEST, INDEX), INDEX, "neither config nor layers");
        check(&good.replace(DIGEST, "sha256:x"), MANIFEST, "is not a digest");
    }

    #[test]
    fn children_are_blobs_of_manifests_and_manifests_of_indexes() {
        let layer = pointer("application/vnd.oci.image.layer.v1.tar+gzip");
        let foreign = pointer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        let manifest = format!(r#"{{"schemaVersion":2,"config":{layer},"layers":[{layer},{foreign}]}}"#);
        let children = |text: String, media_type: &str| {
            let checked = check(&Bytes::from(text), Some(media_type)).unwrap();
            checked.children.iter().map(|child| child.is_manifest).collect::<Vec<_>>()
        };
        assert_eq!(children(manifest, &format!("{MANIFEST}; charset=utf-8")), [false, false]);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, pointer(MANIFEST));
        assert_eq!(children(index, DOCKER_INDEX), [true]);
    }
}
