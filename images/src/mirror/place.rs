//! Putting an image's documents into its repository, and pointing a tag at it: what is named goes before what names it, the tag
//! last and in one step.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::survey::{Referrer, Survey};
use super::sync::backup_tag;
use crate::client::{ClientError, Repository};
use crate::digest::Digest;
use crate::document::Raw;

/// Documents put side by side.
const SIDE_BY_SIDE: usize = 8;

/// Documents of an image that are in its repository, each by its digest and the tag it is found under.
pub(super) type Present = BTreeSet<(Digest, Option<String>)>;

/// Asks which documents of an image are there.
pub(super) async fn present(destination: &Repository, survey: &Survey) -> Result<Present, ClientError> {
    let asked: Vec<Option<(Digest, Option<String>)>> = stream::iter(documents(survey))
        .map(async |(raw, tag)| {
            let digest = raw.digest.to_string();
            let there = destination.head_manifest(tag.unwrap_or(&digest)).await?;
            let is_there = there.is_some_and(|there| there.digest == raw.digest);
            Ok::<_, ClientError>(is_there.then(|| (raw.digest.clone(), tag.map(str::to_owned))))
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    Ok(asked.into_iter().flatten().collect())
}

/// Every document, each with the tag it is found under.
fn documents(survey: &Survey) -> Vec<(&Raw, Option<&str>)> {
    let Survey { top, manifests, referrers, .. } = survey;
    let below = manifests.iter().map(|(raw, _)| raw).filter(|raw| raw.digest != top.digest);
    let referrers = referrers.iter().map(|Referrer { raw, kind: _, tag }| (raw, tag.as_deref()));
    below.chain([top]).map(|raw| (raw, None)).chain(referrers).collect()
}

/// Stores every document that is not `present`, by digest.
pub(super) async fn place(
    destination: &Repository,
    survey: &Survey,
    present: &Present,
) -> Result<(), ClientError> {
    let Survey { top, manifests, referrers, .. } = survey;
    let is_missing =
        |raw: &Raw, tag: Option<&str>| !present.contains(&(raw.digest.clone(), tag.map(str::to_owned)));
    let below = manifests.iter().map(|(raw, _)| raw);
    let () = stream::iter(below.filter(|raw| raw.digest != top.digest && is_missing(raw, None)))
        .map(async |raw| destination.put_manifest(raw, &[]).await.map(drop))
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    if is_missing(top, None) {
        destination.put_manifest(top, &[]).await?;
    }
    // One after the other: without a list of the registry's own they share one that is read and written.
    for Referrer { raw, kind: _, tag } in referrers {
        if is_missing(raw, tag.as_deref()) {
            destination.put_manifest(raw, tag.as_deref().as_slice()).await?;
        }
    }
    Ok(())
}

/// What a tag names.
pub(super) async fn named(destination: &Repository, tag: &str) -> Result<Option<Digest>, ClientError> {
    Ok(destination.head_manifest(tag).await?.map(|descriptor| descriptor.digest))
}

/// Points the tag at an image, and the backup tag at what it names until now; returns that, if it is another.
pub(super) async fn move_tag(
    destination: &Repository,
    tag: &str,
    current: Option<Digest>,
    image: &Raw,
) -> Result<Option<Digest>, ClientError> {
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
