//! What is said about a copy, beside the copy: where it came from, as an in-toto statement, signed where there is a key; and for an
//! index that was shortened, the original, so that signatures of it can still be checked.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::declaration::{FILE, Rule};
use super::error::{MirrorFailure, failed};
use super::survey::Survey;
use crate::client::{ClientError, Progress, Repository, Source};
use crate::digest::Digest;
use crate::document::{Manifest, Raw, artifact};
use crate::sign::{ENVELOPE, PublicKey, Signer};

/// Type of an in-toto statement.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// What the statement states.
const COPIED: &str = "https://kubernaut.ai/attestations/copied/v1";
/// Artifact type of an original index.
const UPSTREAM: &str = "application/vnd.slipway.upstream-index.v1";
/// A statement is a small document.
const LIMIT: usize = 1 << 20;

/// Where an image came from and what was checked.
pub(super) struct Statement<'a> {
    pub rule: &'a Rule,
    pub tag: &'a str,
    pub survey: &'a Survey,
    pub scan: Option<&'a Value>,
}

impl Statement<'_> {
    /// As an in-toto statement v1.
    fn document(&self, now: Timestamp) -> Value {
        let Statement { rule, tag, survey, scan } = self;
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
                    "signature": rule.signature_key,
                    "scan": scan,
                },
                "tool": concat!("slipway ", env!("CARGO_PKG_VERSION")),
            },
        })
    }
}

/// A document to attach, and what it is.
pub(super) type Attachment = (&'static str, Raw);

/// What is to be attached to an image: a statement about it, and the original of a shortened index. `was_there` says that an earlier run got as
/// far as the image: what it attached is not attached again.
pub(super) async fn documents(
    destination: &Repository,
    statement: &Statement<'_>,
    signer: Option<&Signer>,
    was_there: bool,
) -> Result<Vec<Attachment>, MirrorFailure> {
    let Statement { rule, tag, survey, .. } = statement;
    let failed = || failed("read what is said about", &rule.destination, tag);
    let kind = if signer.is_some() { ENVELOPE } else { STATEMENT };
    let known: Vec<Option<String>> = match was_there {
        true => {
            let listed = destination.referrers(&survey.top.digest, None).await.map_err(failed())?;
            listed.into_iter().map(|one| one.artifact_type).collect()
        }
        false => Vec::new(),
    };
    let is_known = |kind: &str| known.iter().any(|known| known.as_deref() == Some(kind));
    let upstream = survey.upstream.iter().filter(|_| !is_known(UPSTREAM));
    let mut documents: Vec<Attachment> = upstream.map(|upstream| (UPSTREAM, upstream.clone())).collect();
    if is_known(kind) {
        return Ok(documents);
    }
    let document = statement.document(Timestamp::now()).to_string();
    documents.push(match signer {
        None => (STATEMENT, Raw::new(STATEMENT, document)),
        Some(signer) => {
            let envelope = signer.envelope(STATEMENT, document.as_bytes());
            let envelope = envelope.ok_or_else(|| MirrorFailure::Unsigned {
                image: super::error::name(&rule.destination, tag),
            })?;
            (ENVELOPE, Raw::new(ENVELOPE, envelope.to_string()))
        }
    });
    Ok(documents)
}

/// Sends the contents of what is to be attached.
pub(super) async fn send(destination: &Repository, documents: &[Attachment]) -> Result<(), ClientError> {
    let quiet: Progress = Arc::new(|_| {});
    for (kind, content) in documents {
        let blob = content.descriptor();
        // The same original belongs to every tag that is shortened to the same image; a statement has the time in it and is new.
        if *kind == UPSTREAM && destination.head_blob(&blob.digest).await?.is_some() {
            continue;
        }
        destination.push_blob(&blob, &Source::Bytes(content.bytes.clone()), None, &quiet).await?;
    }
    Ok(())
}

/// Attaches what was sent to `subject`. The config of such manifests is in the repository already.
pub(super) async fn attach(
    destination: &Repository,
    subject: &Raw,
    documents: &[Attachment],
) -> Result<(), ClientError> {
    for (kind, content) in documents {
        let manifest = artifact(kind, content, &subject.descriptor()).map_err(|error| {
            ClientError::Protocol { url: destination.name().to_owned(), problem: error.to_string() }
        })?;
        destination.put_manifest(&manifest, &[]).await?;
    }
    Ok(())
}

/// What was found beside a copy.
pub(super) struct Attached {
    /// Digests of the original indexes.
    pub upstream: Vec<Digest>,
    /// Whether the statement about the copy has the signature that was asked for.
    pub signed: bool,
}

/// Reads what is said about a copy: the originals, verified by their digests, and whether a statement signed with `key` names it.
pub(super) async fn read(
    destination: &Repository,
    subject: &Digest,
    key: Option<&PublicKey>,
) -> Result<Attached, ClientError> {
    let mut attached = Attached { upstream: Vec::new(), signed: false };
    for listed in destination.referrers(subject, None).await? {
        let kind = listed.artifact_type.as_deref();
        let wanted = kind == Some(UPSTREAM) || (kind == Some(ENVELOPE) && key.is_some());
        if !wanted {
            continue;
        }
        let Some(raw) = destination.manifest(&listed.digest.to_string()).await? else { continue };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&raw.bytes) else { continue };
        let Some(layer) = manifest.layers.first() else { continue };
        let content = destination.blob(layer, LIMIT).await?;
        match (kind, key) {
            (Some(UPSTREAM), _) => attached.upstream.push(layer.digest.clone()),
            (_, Some(key)) => attached.signed |= names(&content, key, subject),
            _ => {}
        }
    }
    Ok(attached)
}

/// Whether an envelope has a good signature and its statement is about `subject`.
fn names(envelope: &[u8], key: &PublicKey, subject: &Digest) -> bool {
    let statement = key.open(envelope).and_then(|payload| serde_json::from_slice::<Value>(&payload).ok());
    statement.is_some_and(|statement| {
        statement["predicateType"] == COPIED
            && statement["subject"][0]["digest"][subject.algorithm().name()] == subject.hex()
    })
}
