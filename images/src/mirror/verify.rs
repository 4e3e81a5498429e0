//! Proving that the destination has what the lock says: every tag, manifest, blob and referrer, and that anybody may pull it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::attest;
use super::declaration::{Mirror, Repository};
use super::error::{MirrorFailure, failed};
use super::lock::{Lock, Locked};
use super::survey::Objection;
use crate::client::Client;
use crate::document::{Index, Manifest, Raw, is_index};
use crate::sign::PublicKey;

/// Images looked at side by side, and blobs of each.
const SIDE_BY_SIDE: usize = 8;

/// What is wrong with one tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fault {
    /// `registry/repository:tag`
    pub image: String,
    /// What is wrong.
    pub problem: String,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Tags that are as they should be.
    pub sound: usize,
    /// Manifests and blobs that were looked at.
    pub looked_at: usize,
    /// What differs from the lock.
    pub faults: Vec<Fault>,
    /// What could not be looked at.
    pub failures: Vec<Arc<MirrorFailure>>,
}

/// Looks at everything the lock names. `client` has no credentials where anonymous pull is to be proven. With a key each copy has to have a
/// statement signed with it that says where it came from.
pub async fn verify(client: &Client, mirror: &Mirror, lock: &Lock, key: Option<&PublicKey>) -> Verified {
    let outcomes: Vec<Result<(usize, Vec<Fault>), MirrorFailure>> = stream::iter(lock.images.values())
        .map(|locked| one(client, mirror, locked, key))
        .buffered(SIDE_BY_SIDE)
        .collect()
        .await;
    let mut verified = Verified::default();
    for outcome in outcomes {
        match outcome {
            Ok((looked_at, faults)) => {
                verified.looked_at += looked_at;
                verified.sound += usize::from(faults.is_empty());
                verified.faults.extend(faults);
            }
            Err(failure) => verified.failures.push(Arc::new(failure)),
        }
    }
    verified
}

async fn one(
    client: &Client,
    mirror: &Mirror,
    locked: &Locked,
    key: Option<&PublicKey>,
) -> Result<(usize, Vec<Fault>), MirrorFailure> {
    let image = format!("{}:{}", locked.destination, locked.tag);
    let fault = |problem: String| Fault { image: image.clone(), problem };
    let (registry, path) = locked.destination.split_once('/').unwrap_or(("", &locked.destination));
    let place = Repository { registry: registry.to_owned(), name: path.to_owned() };
    let failed = || failed("verify", &place, &locked.tag);
    let repository = client.repository(registry, path).map_err(failed())?;
    let mut faults = Vec::new();
    match repository.head_manifest(&locked.tag).await.map_err(failed())? {
        Some(found) if found.digest == locked.digest => {}
        Some(found) => faults.push(fault(format!("the tag names {}, not {}", found.digest, locked.digest))),
        None => faults.push(fault("the tag does not exist".to_owned())),
    }
    let mut open: Vec<String> = vec![locked.digest.to_string()];
    open.extend(locked.referrers.keys().cloned());
    let mut seen = BTreeSet::new();
    let mut blobs = BTreeSet::new();
    while let Some(digest) = open.pop() {
        if !seen.insert(digest.clone()) {
            continue;
        }
        let Some(raw) = repository.manifest(&digest).await.map_err(failed())? else {
            faults.push(fault(format!("the manifest {digest} is missing")));
            continue;
        };
        match contents(&raw) {
            Ok(Contents::Index(below)) => open.extend(below),
            Ok(Contents::Blobs(below)) => blobs.extend(below),
            Err(problem) => faults.push(fault(problem)),
        }
    }
    for (platform, digest) in &locked.platforms {
        if !seen.contains(&digest.to_string()) {
            faults.push(fault(format!("its index does not list {digest} for {platform}")));
        }
    }
    if let Some(rule) = mirror.writes_to(&locked.destination) {
        let has = || locked.platforms.keys().cloned().collect::<Vec<String>>();
        let missing: Vec<String> = rule
            .platforms
            .iter()
            .map(ToString::to_string)
            .filter(|wanted| !locked.platforms.contains_key(wanted))
            .collect();
        if !missing.is_empty() {
            faults.push(fault(Objection::Platforms { missing, has: has() }.to_string()));
        }
    }
    // From the shortened image to the original, whose digest is what upstream signed.
    let upstream = locked.upstream.as_ref().filter(|_| !locked.held);
    if upstream.is_some() || key.is_some() {
        let attached = attest::read(&repository, &locked.digest, key).await.map_err(failed())?;
        if let Some(upstream) = upstream.filter(|upstream| !attached.upstream.contains(upstream)) {
            faults.push(fault(format!("the original index {upstream} is not attached to it")));
        }
        if key.is_some() && !attached.signed {
            faults.push(fault("nothing signed with the key says where it came from".to_owned()));
        }
    }
    let looked_at = seen.len() + blobs.len();
    let missing: Vec<Option<String>> = stream::iter(blobs)
        .map(|(digest, size)| {
            let repository = &repository;
            async move {
                let found = match digest.parse() {
                    Ok(digest) => repository.head_blob(&digest).await?,
                    Err(_) => None,
                };
                Ok(match found {
                    Some(found) if found == size => None,
                    Some(found) => Some(format!("the blob {digest} has {found} bytes, not {size}")),
                    None => Some(format!("the blob {digest} is missing")),
                })
            }
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await
        .map_err(failed())?;
    faults.extend(missing.into_iter().flatten().map(fault));
    Ok((looked_at, faults))
}

enum Contents {
    Index(Vec<String>),
    Blobs(Vec<(String, u64)>),
}

fn contents(raw: &Raw) -> Result<Contents, String> {
    let malformed = |error: serde_json::Error| format!("the manifest {}: {error}", raw.digest);
    if is_index(&raw.media_type) {
        let index: Index = serde_json::from_slice(&raw.bytes).map_err(malformed)?;
        return Ok(Contents::Index(index.manifests.into_iter().map(|one| one.digest.to_string()).collect()));
    }
    let manifest: Manifest = serde_json::from_slice(&raw.bytes).map_err(malformed)?;
    let own = manifest.layers.into_iter().chain([manifest.config]).filter(|blob| !blob.is_elsewhere());
    Ok(Contents::Blobs(own.map(|blob| (blob.digest.to_string(), blob.size)).collect()))
}

/// Whether a lock is too old on a day. Pure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Age {
    /// When sources and destinations were last compared.
    pub checked: Option<Timestamp>,
    /// How long ago that is, in seconds.
    pub seconds: Option<i64>,
    /// How long ago it may be, in seconds.
    pub limit: u64,
    /// Whether it is too long ago, or never happened.
    pub stale: bool,
}

/// How old the lock is.
pub fn age(mirror: &Mirror, lock: &Lock, now: Timestamp) -> Age {
    let since: Option<SignedDuration> = lock.checked.map(|checked| now.duration_since(checked));
    let limit = mirror.max_lock_age.as_secs();
    let seconds = since.map(|since| since.as_secs());
    let stale = seconds.is_none_or(|seconds| u64::try_from(seconds).is_ok_and(|seconds| seconds > limit));
    // What mirrors nothing cannot be behind.
    Age { checked: lock.checked, seconds, limit, stale: stale && !mirror.rules.is_empty() }
}
