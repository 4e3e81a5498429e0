//! Going back: the tag gets the digest it had before, which a later `sync` respects.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::declaration::Repository;
use super::error::{MirrorFailure, failed, name};
use super::lock::{Lock, LockError};
use super::survey::platform_name;
use super::sync::{Promoted, backup_tag};
use crate::client::{self, Client, ClientError};
use crate::digest::Digest;
use crate::document::{ImageConfig, Index, Manifest, Raw, is_index};

/// A config is a small document.
const CONFIG_LIMIT: usize = 8 << 20;

/// Why a tag could not go back.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// It is not mirrored, has no previous digest, or a registry failed.
    #[error(transparent)]
    Image(#[from] MirrorFailure),
    /// The lock could not be written.
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// Swaps the tag and its backup tag at the destination, and locks what the tag names now.
pub async fn rollback(
    client: &Client,
    lock: &mut Lock,
    root: &Path,
    destination: &Repository,
    tag: &str,
) -> Result<Promoted, RollbackError> {
    let image = name(destination, tag);
    let Some(mut locked) = lock.get(destination, tag).cloned() else {
        return Err(MirrorFailure::NotLocked { image, locked: neighbours(lock, destination) }.into());
    };
    let failed = || failed("roll back", destination, tag);
    let repository = client.repository(&destination.registry, &destination.name).map_err(failed())?;
    let backup = backup_tag(tag);
    let previous = repository.manifest(&backup).await.map_err(failed())?;
    let previous =
        previous.ok_or_else(|| MirrorFailure::NoBackup { image: image.clone(), backup: backup.clone() })?;
    let current = repository.manifest(tag).await.map_err(failed())?;
    repository.tag(&previous, tag).await.map_err(failed())?;
    if let Some(current) = &current {
        repository.tag(current, &backup).await.map_err(failed())?;
    }
    // What the source has now stays known, so that it is not taken for something new.
    locked.upstream = Some(locked.at_source().clone());
    locked.held = true;
    locked.digest = previous.digest.clone();
    locked.media_type = previous.media_type.clone();
    locked.since = Timestamp::now();
    locked.platforms = platforms(&repository, &previous).await.map_err(failed())?;
    locked.referrers.clear();
    lock.insert(locked);
    lock.store(root)?;
    Ok(Promoted { image, digest: previous.digest, previous: current.map(|current| current.digest) })
}

/// What somebody may have meant: the other tags of the repository, or all there is.
fn neighbours(lock: &Lock, destination: &Repository) -> Vec<String> {
    let (near, all): (Vec<_>, Vec<_>) =
        lock.images.keys().partition(|(repository, _)| *repository == destination.to_string());
    let named = if near.is_empty() { all } else { near };
    named.into_iter().map(|(repository, tag)| format!("{repository}:{tag}")).collect()
}

/// Digest of the manifest of each platform, as far as the image says.
async fn platforms(
    repository: &client::Repository,
    image: &Raw,
) -> Result<BTreeMap<String, Digest>, ClientError> {
    if let Ok(index) = serde_json::from_slice::<Index>(&image.bytes)
        && is_index(&image.media_type)
    {
        let named = index.manifests.into_iter().filter_map(|one| {
            Some((platform_name(one.platform.as_ref()?), one.digest))
                .filter(|(name, _)| name != "unknown/unknown")
        });
        return Ok(named.collect());
    }
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&image.bytes) else { return Ok(BTreeMap::new()) };
    let config = repository.blob(&manifest.config, CONFIG_LIMIT).await?;
    let config = serde_json::from_slice::<ImageConfig>(&config);
    let named = config.map(|config| (format!("{}/{}", config.os, config.architecture), image.digest.clone()));
    Ok(named.into_iter().collect())
}
