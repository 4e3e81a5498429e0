//! From the approved registry into a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use futures::stream::{self, StreamExt};

use super::{
    BundleError, Bundled, BundledManifest, BundledReferrer, DESCRIPTION, Description, VERSION, io_error,
};
use crate::client::{Client, Progress};
use crate::digest::Digest;
use crate::document::Descriptor;
use crate::layout::Layout;
use crate::mirror::declaration::Repository;
use crate::mirror::error::{MirrorFailure, failed};
use crate::mirror::lock::{Lock, Locked};
use crate::mirror::survey::{Companions, Referrer, Sight, Survey, survey};
use crate::mirror::{MirrorEvent, Observer};

/// Images read and blobs fetched side by side.
const SIDE_BY_SIDE: usize = 8;

/// What a bundle has now.
#[derive(Debug, Default)]
pub struct Written {
    /// Images in it.
    pub images: usize,
    /// Blobs in it.
    pub blobs: usize,
    /// Blobs that came in this run, and their bytes.
    pub fetched: (usize, u64),
    /// Blobs that are left out because the older lock has them.
    pub left_out: usize,
    /// What could not be read; the bundle is not finished then.
    pub failures: Vec<Arc<MirrorFailure>>,
}

/// Writes everything `lock` names to `out`, but for the blobs that `since` names as well.
pub async fn write(
    client: &Client,
    lock: &Lock,
    since: Option<&Lock>,
    out: &Path,
    observer: &Observer,
) -> Result<Written, BundleError> {
    let layout = Layout::open(out)?;
    let mut written = Written::default();
    let mut images = Vec::new();
    for (locked, outcome) in read_all(client, lock, &layout).await {
        match outcome {
            Ok(survey) => images.push((locked, survey)),
            Err(failure) => fail(&mut written, failure, observer),
        }
    }
    let mut blobs: BTreeMap<&Digest, &Descriptor> = BTreeMap::new();
    for (_, survey) in &images {
        written.fetched.0 += survey.fetched.0;
        written.fetched.1 += survey.fetched.1;
        blobs.extend(&survey.blobs);
    }
    let old = match since {
        Some(since) => blobs_of(client, since, lock, &images, &layout).await,
        None => BTreeSet::new(),
    };
    let mut wanted: Vec<(&Descriptor, &Repository)> = Vec::new();
    let places: Vec<Repository> = images.iter().map(|(locked, _)| place(locked)).collect();
    for (blob, digest) in blobs.iter().map(|(digest, blob)| (*blob, *digest)) {
        let at = images.iter().position(|(_, survey)| survey.blobs.contains_key(digest));
        if let Some(at) = at.filter(|_| !old.contains(digest) && !layout.has(blob)) {
            wanted.push((blob, &places[at]));
        }
    }
    wanted.sort_by_key(|(blob, _)| std::cmp::Reverse(blob.size));
    let bytes = wanted.iter().map(|(blob, _)| blob.size).sum();
    observer(MirrorEvent::Transfer { blobs: wanted.len(), bytes });
    let mut fetching = stream::iter(wanted)
        .map(|(blob, place)| fetch(client, place, blob, &layout, observer))
        .buffer_unordered(SIDE_BY_SIDE);
    while let Some(outcome) = fetching.next().await {
        match outcome {
            Ok(bytes) => {
                written.fetched.0 += 1;
                written.fetched.1 += bytes;
            }
            Err(failure) => fail(&mut written, failure, observer),
        }
    }
    drop(fetching);
    let left_out: BTreeSet<Digest> =
        blobs.values().filter(|blob| !layout.has(blob)).map(|blob| blob.digest.clone()).collect();
    written.images = images.len();
    written.blobs = blobs.len() - left_out.len();
    written.left_out = left_out.len();
    if written.failures.is_empty() {
        finish(&layout, images, left_out)?;
    }
    Ok(written)
}

fn fail(written: &mut Written, failure: MirrorFailure, observer: &Observer) {
    let failure = Arc::new(failure);
    observer(MirrorEvent::Failed { failure: failure.clone() });
    written.failures.push(failure);
}

fn place(locked: &Locked) -> Repository {
    let (registry, name) = locked.destination.split_once('/').unwrap_or(("", &locked.destination));
    Repository { registry: registry.to_owned(), name: name.to_owned() }
}

/// Every image of a lock with all that belongs to it, from the registry the lock names.
async fn read_all(
    client: &Client,
    lock: &Lock,
    layout: &Layout,
) -> Vec<(Locked, Result<Survey, MirrorFailure>)> {
    let mut companions: BTreeMap<String, Option<Companions>> = BTreeMap::new();
    for locked in lock.images.values() {
        if !companions.contains_key(&locked.destination) {
            let opened = Companions::open(client, &place(locked)).await.ok();
            companions.insert(locked.destination.clone(), opened);
        }
    }
    let companions = &companions;
    stream::iter(lock.images.values())
        .map(|locked| async move {
            let place = place(locked);
            // A repository whose tags cannot be listed is not there; reading the image says so.
            let companions = companions.get(&locked.destination).and_then(Option::as_ref);
            let original = locked.upstream.as_ref();
            let sight = Sight { client, place: &place, platforms: &[], cache: layout, companions, original };
            (locked.clone(), survey(sight, &locked.tag, &locked.digest).await)
        })
        .buffered(SIDE_BY_SIDE)
        .collect()
        .await
}

/// The blobs of an older lock, as far as its images are still known: what is not found is bundled once more.
async fn blobs_of(
    client: &Client,
    since: &Lock,
    lock: &Lock,
    images: &[(Locked, Survey)],
    layout: &Layout,
) -> BTreeSet<Digest> {
    let mut blobs = BTreeSet::new();
    let mut unknown = Lock::empty();
    for (key, old) in &since.images {
        let same = lock.images.get(key).is_some_and(|locked| locked.digest == old.digest);
        match images
            .iter()
            .find(|(locked, _)| same && locked.tag == old.tag && locked.destination == old.destination)
        {
            Some((_, survey)) => blobs.extend(survey.blobs.keys().cloned()),
            None => unknown.insert(old.clone()),
        }
    }
    for (_, outcome) in read_all(client, &unknown, layout).await {
        blobs.extend(outcome.into_iter().flat_map(|survey| survey.blobs.into_keys()));
    }
    blobs
}

async fn fetch(
    client: &Client,
    place: &Repository,
    blob: &Descriptor,
    layout: &Layout,
    observer: &Observer,
) -> Result<u64, MirrorFailure> {
    let failed = || failed("fetch a blob from", place, "*");
    let repository = client.repository(&place.registry, &place.name).map_err(failed())?;
    let told = observer.clone();
    let progress: Progress = Arc::new(move |bytes| told(MirrorEvent::Progress { bytes }));
    let bytes = repository.fetch_blob(blob, layout, &progress).await.map_err(failed())?;
    observer(MirrorEvent::Blob { digest: blob.digest.clone(), bytes: blob.size });
    Ok(bytes)
}

/// Writes the documents, the layout's index and, last, the description.
fn finish(
    layout: &Layout,
    images: Vec<(Locked, Survey)>,
    left_out: BTreeSet<Digest>,
) -> Result<(), BundleError> {
    let mut bundled = Vec::new();
    let mut about: BTreeMap<Digest, Descriptor> = BTreeMap::new();
    for (locked, survey) in images {
        let Survey { top, manifests, referrers, .. } = survey;
        let documents = manifests.iter().map(|(raw, _)| raw).chain([&top]);
        for raw in documents.chain(referrers.iter().map(|referrer| &referrer.raw)) {
            layout.put(raw)?;
        }
        for Referrer { raw, kind, tag: _ } in &referrers {
            let mut descriptor = raw.descriptor();
            descriptor.artifact_type = Some(kind.clone());
            about.insert(raw.digest.clone(), descriptor);
        }
        layout.tag(&format!("{}:{}", locked.destination, locked.tag), top.descriptor())?;
        bundled.push(Bundled {
            top: top.descriptor(),
            manifests: manifests
                .into_iter()
                .filter(|(raw, _)| raw.digest != top.digest)
                .map(|(raw, platform)| BundledManifest { manifest: raw.descriptor(), platform })
                .collect(),
            referrers: referrers
                .into_iter()
                .map(|Referrer { raw, kind, tag }| BundledReferrer { manifest: raw.descriptor(), kind, tag })
                .collect(),
            locked,
        });
    }
    layout.attach(about.into_values().collect())?;
    let path = layout.dir().join(DESCRIPTION);
    let description = Description { version: VERSION, left_out, images: bundled };
    let text = serde_json::to_vec_pretty(&description)
        .map_err(|source| BundleError::Malformed { path: path.clone(), source })?;
    let mut file = tempfile::NamedTempFile::new_in(layout.dir()).map_err(io_error("write", &path))?;
    file.write_all(&text).map_err(io_error("write", &path))?;
    file.persist(&path).map_err(|error| io_error("write", &path)(error.error))?;
    Ok(())
}
