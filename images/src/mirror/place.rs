//! Putting an image's documents into its repository, and pointing a tag at it: what is named goes before what names it, the tag
//! last and in one step.

use futures::stream::{self, StreamExt, TryStreamExt};

use super::survey::{Referrer, Survey};
use super::sync::backup_tag;
use crate::client::{ClientError, Repository};
use crate::digest::Digest;
use crate::document::Raw;

/// Documents put side by side.
const SIDE_BY_SIDE: usize = 8;

/// Stores every document that is missing, by digest. Returns whether the image itself was there.
pub(super) async fn place(destination: &Repository, survey: &Survey) -> Result<bool, ClientError> {
    let Survey { top, manifests, referrers, .. } = survey;
    let below = manifests.iter().map(|(raw, _)| raw).filter(|raw| raw.digest != top.digest);
    let () = stream::iter(below)
        .map(async |raw| put(destination, raw, None).await.map(drop))
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    let was_there = put(destination, top, None).await?;
    // One after the other: without a list of the registry's own they share one that is read and written.
    for Referrer { raw, kind: _, tag } in referrers {
        put(destination, raw, tag.as_deref()).await?;
    }
    Ok(was_there)
}

async fn put(destination: &Repository, raw: &Raw, tag: Option<&str>) -> Result<bool, ClientError> {
    let digest = raw.digest.to_string();
    let there = destination.head_manifest(tag.unwrap_or(&digest)).await?;
    if there.is_some_and(|there| there.digest == raw.digest) {
        return Ok(true);
    }
    destination.put_manifest(raw, tag.as_slice()).await?;
    Ok(false)
}

/// Points the tag at an image, and the backup tag at what it named before, which is returned.
pub(super) async fn move_tag(
    destination: &Repository,
    tag: &str,
    image: &Raw,
) -> Result<Option<Digest>, ClientError> {
    let current = destination.head_manifest(tag).await?.map(|descriptor| descriptor.digest);
    if current.as_ref() == Some(&image.digest) {
        return Ok(None);
    }
    if let Some(current) = &current
        && let Some(raw) = destination.manifest(&current.to_string()).await?
    {
        destination.tag(&raw, &backup_tag(tag)).await?;
    }
    destination.tag(image, tag).await?;
    Ok(current)
}
