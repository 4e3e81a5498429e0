//! What is said about a copy, beside the copy: where it came from, as an in-toto statement; and for an index that was shortened, the
//! original, so that signatures of it can still be checked.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::declaration::{FILE, Rule};
use super::survey::Survey;
use crate::client::{ClientError, Progress, Repository, Source};
use crate::document::{Descriptor, MANIFEST, Raw};

/// Artifact type of a statement about a copy.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// What the statement states.
const COPIED: &str = "https://kubernaut.ai/attestations/copied/v1";
/// Artifact type of an original index.
const UPSTREAM: &str = "application/vnd.slipway.upstream-index.v1";
/// Media type of `{}`.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Where an image came from and what was checked, as an in-toto statement v1.
pub(super) fn statement(
    rule: &Rule,
    tag: &str,
    survey: &Survey,
    scan: Option<&Value>,
    now: Timestamp,
) -> Value {
    let upstream = survey.upstream.as_ref().unwrap_or(&survey.top);
    let digest = |raw: &Raw| json!({raw.digest.algorithm().name(): raw.digest.hex()});
    let platforms: Vec<String> = survey.platforms().into_keys().collect();
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": rule.destination.to_string(), "digest": digest(&survey.top)}],
        "predicateType": COPIED,
        "predicate": {
            "source": {"uri": format!("{}:{tag}", rule.source), "digest": digest(upstream)},
            "copiedAt": now.to_string(),
            "rule": {"uri": FILE, "line": rule.line},
            "checked": {
                "platforms": platforms,
                "bytes": survey.size(),
                "maximumBytes": rule.maximum_size,
                "minimumAgeSeconds": rule.minimum_age.as_secs(),
                "created": survey.created.map(|created| created.to_string()),
                "scan": scan,
            },
            "tool": concat!("slipway ", env!("CARGO_PKG_VERSION")),
        },
    })
}

/// Attaches a statement to what it is about.
pub(super) async fn attach(
    destination: &Repository,
    subject: &Raw,
    statement: &Value,
) -> Result<(), ClientError> {
    let blob = Raw::new(STATEMENT, statement.to_string());
    artifact(destination, subject, STATEMENT, blob).await
}

/// Attaches the original of a shortened index; the same one is attached once.
pub(super) async fn attach_upstream(
    destination: &Repository,
    subject: &Raw,
    upstream: &Raw,
) -> Result<(), ClientError> {
    artifact(destination, subject, UPSTREAM, upstream.clone()).await
}

/// One blob about `subject`.
async fn artifact(
    destination: &Repository,
    subject: &Raw,
    kind: &str,
    content: Raw,
) -> Result<(), ClientError> {
    let empty = Raw::new(EMPTY, "{}");
    for raw in [&empty, &content] {
        let blob = raw.descriptor();
        if destination.head_blob(&blob.digest).await?.is_none() {
            let quiet: Progress = std::sync::Arc::new(|_| {});
            destination.push_blob(&blob, &Source::Bytes(raw.bytes.clone()), None, &quiet).await?;
        }
    }
    let entry = |descriptor: Descriptor| json!({"mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": entry(empty.descriptor()),
        "layers": [entry(content.descriptor())],
        "subject": entry(subject.descriptor()),
    });
    destination.put_manifest(&Raw::new(MANIFEST, manifest.to_string()), &[]).await?;
    Ok(())
}
