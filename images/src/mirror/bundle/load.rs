//! From a bundle into a registry.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;

use super::{
    BundleError, Bundled, BundledManifest, BundledReferrer, DESCRIPTION, Description, VERSION, io_error,
};
use crate::client::Client;
use crate::digest::Digest;
use crate::document::{Descriptor, Manifest, Raw};
use crate::layout::{Layout, LayoutError};
use crate::mirror::declaration::Repository;
use crate::mirror::error::{MirrorFailure, failed, name};
use crate::mirror::lock::{Lock, Locked};
use crate::mirror::place::{move_tag, named, place, present};
use crate::mirror::survey::{Referrer, Survey};
use crate::mirror::sync::{Promoted, Synced};
use crate::mirror::transfer::{Answers, Keep, Load, Transferred, transfer};
use crate::mirror::{MirrorEvent, Observer};

/// Images placed side by side.
const SIDE_BY_SIDE: usize = 8;

/// Loads a bundle into the registry its lock names, or below `to`, a registry with or without a path. What was loaded is in `lock`
/// afterwards, which is written to the workspace at `root`.
pub async fn load(
    client: &Client,
    bundle: &Path,
    to: Option<&Repository>,
    lock: &mut Lock,
    root: &Path,
    observer: &Observer,
) -> Result<Synced, BundleError> {
    let Description { version: _, left_out, images } = describe(bundle)?;
    let layout = Layout::open(bundle)?;
    let mut synced = Synced::default();
    let mut ready: Vec<(Locked, Repository, Survey)> = Vec::new();
    for image in images {
        let (locked, destination) = moved(&image.locked, to);
        let survey = read(&layout, &image)?;
        ready.push((locked, destination, survey));
    }
    let damaged = check(&layout, &ready, &left_out);
    if let Some(failure) = damaged.await? {
        return Err(failure.into());
    }
    let loads: Vec<Load<'_>> =
        ready.iter().map(|(_, destination, survey)| Load { source: None, destination, survey }).collect();
    let Transferred { moves, failures: lost, forgetting: _ } =
        transfer(client, &layout, Keep::All, &loads, Answers::new(), observer).await;
    synced.moves = moves;
    let mut placing = stream::iter(ready.iter().map(|(locked, destination, survey)| {
        let lost = survey.blobs.keys().find_map(|digest| lost.get(digest)).cloned();
        async move {
            match lost {
                Some(failure) => Err(failure),
                None => put(client, locked, destination, survey).await.map_err(Arc::new),
            }
        }
    }))
    .buffer_unordered(SIDE_BY_SIDE);
    while let Some(outcome) = placing.next().await {
        match outcome {
            Ok((locked, promoted)) => {
                let told =
                    MirrorEvent::Promoted { image: promoted.image.clone(), digest: promoted.digest.clone() };
                observer(told);
                synced.promoted.push(promoted);
                lock.insert(locked);
                synced.lock_changed |= lock.store(root)?;
            }
            Err(failure) => {
                observer(MirrorEvent::Failed { failure: failure.clone() });
                synced.failures.push(failure);
            }
        }
    }
    drop(placing);
    synced.promoted.sort_by(|a, b| a.image.cmp(&b.image));
    Ok(synced)
}

fn describe(bundle: &Path) -> Result<Description, BundleError> {
    let path = bundle.join(DESCRIPTION);
    let text = fs::read(&path).map_err(io_error("read", &path))?;
    let description: Description = serde_json::from_slice(&text)
        .map_err(|source| BundleError::Malformed { path: path.clone(), source })?;
    match description.version {
        VERSION => Ok(description),
        found => Err(BundleError::Version { path, found }),
    }
}

/// Where an image goes, and how it is locked there: a copy elsewhere is a copy of what was approved.
fn moved(locked: &Locked, to: Option<&Repository>) -> (Locked, Repository) {
    let (registry, path) = locked.destination.split_once('/').unwrap_or(("", &locked.destination));
    let Some(to) = to else {
        return (locked.clone(), Repository { registry: registry.to_owned(), name: path.to_owned() });
    };
    let prefixed = [to.name.as_str(), path].join("/");
    let destination =
        Repository { registry: to.registry.clone(), name: prefixed.trim_matches('/').to_owned() };
    let locked = Locked {
        source: locked.destination.clone(),
        destination: destination.to_string(),
        upstream: None,
        held: false,
        since: Timestamp::now(),
        ..locked.clone()
    };
    (locked, destination)
}

/// An image as the bundle has it.
fn read(layout: &Layout, image: &Bundled) -> Result<Survey, BundleError> {
    let top = layout.read(&image.top)?;
    let mut manifests = Vec::new();
    for BundledManifest { manifest, platform } in &image.manifests {
        manifests.push((layout.read(manifest)?, platform.clone()));
    }
    let mut referrers = Vec::new();
    for BundledReferrer { manifest, kind, tag } in &image.referrers {
        referrers.push(Referrer { raw: layout.read(manifest)?, kind: kind.clone(), tag: tag.clone() });
    }
    let mut blobs = BTreeMap::new();
    let images = manifests.iter().map(|(raw, _)| raw).chain(referrers.iter().map(|referrer| &referrer.raw));
    let single = Some(&top).filter(|_| manifests.is_empty());
    for raw in images.chain(single) {
        blobs.extend(blobs_of(layout, raw)?.into_iter().map(|blob| (blob.digest.clone(), blob)));
    }
    Ok(Survey { top, upstream: None, manifests, referrers, blobs, created: None, fetched: (0, 0), reads: 0 })
}

fn blobs_of(layout: &Layout, raw: &Raw) -> Result<Vec<Descriptor>, LayoutError> {
    let manifest: Manifest = layout.document(&raw.descriptor())?;
    let blobs = manifest.layers.into_iter().chain([manifest.config]);
    Ok(blobs.filter(|blob| !blob.is_elsewhere()).collect())
}

/// Hashes every blob the bundle should have; the first that is missing or damaged.
async fn check(
    layout: &Layout,
    images: &[(Locked, Repository, Survey)],
    left_out: &std::collections::BTreeSet<Digest>,
) -> Result<Option<LayoutError>, BundleError> {
    let blobs: BTreeMap<&Digest, &Descriptor> =
        images.iter().flat_map(|(_, _, survey)| &survey.blobs).collect();
    let blobs: Vec<Descriptor> = blobs
        .into_values()
        .filter(|blob| !left_out.contains(&blob.digest) || layout.has(blob))
        .cloned()
        .collect();
    let layout = layout.clone();
    let hashed = tokio::task::spawn_blocking(move || blobs.iter().find_map(|blob| layout.check(blob).err()));
    hashed.await.map_err(|error| io_error("read", Path::new(DESCRIPTION))(std::io::Error::other(error)))
}

async fn put(
    client: &Client,
    locked: &Locked,
    destination: &Repository,
    survey: &Survey,
) -> Result<(Locked, Promoted), MirrorFailure> {
    let failed = || failed("load", destination, &locked.tag);
    let repository = client.repository(&destination.registry, &destination.name).map_err(failed())?;
    let (present, current) =
        tokio::try_join!(present(&repository, survey), named(&repository, &locked.tag)).map_err(failed())?;
    place(&repository, survey, &present).await.map_err(failed())?;
    let previous = move_tag(&repository, &locked.tag, current, &survey.top).await.map_err(failed())?;
    let promoted =
        Promoted { image: name(destination, &locked.tag), digest: survey.top.digest.clone(), previous };
    Ok((locked.clone(), promoted))
}
