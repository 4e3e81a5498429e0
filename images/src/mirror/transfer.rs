//! The blobs of a whole run as one graph: each is fetched once at most, sent to a registry once at most, and mounted from there
//! into its other repositories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use serde::Serialize;

use super::declaration::{Repository, Rule};
use super::error::{MirrorFailure, failed};
use super::survey::Survey;
use super::{MirrorEvent, Observer};
use crate::client::{Client, ClientError, Moved, Progress, Source};
use crate::digest::Digest;
use crate::document::{Descriptor, Raw};
use crate::layout::Layout;

/// Blobs that move side by side.
const MOVES: usize = 6;
/// Questions asked side by side.
const QUESTIONS: usize = 16;

/// One image of the run.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    pub rule: &'a Rule,
    pub survey: &'a Survey,
}

impl Load<'_> {
    /// Every manifest, those that others name first.
    pub fn documents(&self) -> impl Iterator<Item = &Raw> {
        let Survey { top, manifests, referrers, .. } = self.survey;
        let below = manifests.iter().map(|(raw, _)| raw).filter(|raw| raw.digest != top.digest);
        below.chain([top]).chain(referrers.iter().map(|referrer| &referrer.raw))
    }
}

/// What moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moves {
    /// Blobs fetched from sources.
    pub fetched: usize,
    /// Their bytes.
    pub fetched_bytes: u64,
    /// Blobs sent to destinations.
    pub sent: usize,
    /// Blobs a destination took from a repository next door.
    pub mounted: usize,
    /// Blobs that were there.
    pub present: usize,
}

/// A blob, where it can be had and where it is missing.
struct Journey {
    blob: Descriptor,
    sources: Vec<Repository>,
    present_in: BTreeSet<Repository>,
    missing_in: BTreeSet<Repository>,
}

/// Moves every blob that is missing. What failed is named by digest; images that do not need it are not concerned.
pub(super) async fn transfer(
    client: &Client,
    cache: &Layout,
    loads: &[Load<'_>],
    observer: &Observer,
) -> (Moves, BTreeMap<Digest, Arc<MirrorFailure>>) {
    let (mut journeys, mut failures) = survey_destinations(client, loads).await;
    let mut moves =
        Moves { present: journeys.iter().map(|journey| journey.present_in.len()).sum(), ..Moves::default() };
    journeys.retain(|journey| !journey.missing_in.is_empty());
    journeys.sort_by_key(|journey| std::cmp::Reverse(journey.blob.size));
    observer(MirrorEvent::Transfer {
        blobs: journeys.len(),
        bytes: journeys.iter().map(|journey| journey.blob.size).sum(),
    });
    let outcomes: Vec<(Digest, Result<Moves, MirrorFailure>)> = stream::iter(journeys)
        .map(|journey| async {
            let digest = journey.blob.digest.clone();
            (digest, travel(client, cache, journey, observer).await)
        })
        .buffer_unordered(MOVES)
        .collect()
        .await;
    for (digest, outcome) in outcomes {
        match outcome {
            Ok(one) => {
                moves.fetched += one.fetched;
                moves.fetched_bytes += one.fetched_bytes;
                moves.sent += one.sent;
                moves.mounted += one.mounted;
            }
            Err(failure) => {
                failures.insert(digest, Arc::new(failure));
            }
        }
    }
    (moves, failures)
}

/// Asks each destination for each blob of the manifests it does not have yet.
async fn survey_destinations(
    client: &Client,
    loads: &[Load<'_>],
) -> (Vec<Journey>, BTreeMap<Digest, Arc<MirrorFailure>>) {
    let mut journeys: BTreeMap<Digest, Journey> = BTreeMap::new();
    let mut questions: BTreeSet<(Repository, Digest)> = BTreeSet::new();
    for load in loads {
        for (digest, blob) in &load.survey.blobs {
            let journey = journeys.entry(digest.clone()).or_insert_with(|| Journey {
                blob: blob.clone(),
                sources: Vec::new(),
                present_in: BTreeSet::new(),
                missing_in: BTreeSet::new(),
            });
            if !journey.sources.contains(&load.rule.source) {
                journey.sources.push(load.rule.source.clone());
            }
            questions.insert((load.rule.destination.clone(), digest.clone()));
        }
    }
    let answers: Vec<(Repository, Digest, Result<bool, MirrorFailure>)> = stream::iter(questions)
        .map(|(repository, digest)| async {
            let answer = has(client, &repository, &digest).await;
            (repository, digest, answer)
        })
        .buffer_unordered(QUESTIONS)
        .collect()
        .await;
    let mut failures = BTreeMap::new();
    for (repository, digest, answer) in answers {
        let Some(journey) = journeys.get_mut(&digest) else { continue };
        match answer {
            Ok(true) => _ = journey.present_in.insert(repository),
            Ok(false) => _ = journey.missing_in.insert(repository),
            Err(failure) => _ = failures.insert(digest, Arc::new(failure)),
        }
    }
    (journeys.into_values().collect(), failures)
}

async fn has(client: &Client, repository: &Repository, digest: &Digest) -> Result<bool, MirrorFailure> {
    let failed = || failed("look for a blob in", repository, "*");
    let destination = client.repository(&repository.registry, &repository.name).map_err(failed())?;
    Ok(destination.head_blob(digest).await.map_err(failed())?.is_some())
}

/// Brings one blob everywhere.
async fn travel(
    client: &Client,
    cache: &Layout,
    journey: Journey,
    observer: &Observer,
) -> Result<Moves, MirrorFailure> {
    let Journey { blob, sources, mut present_in, missing_in } = journey;
    let mut moves = Moves::default();
    for repository in missing_in {
        // The source may be next door itself; the registry then has nothing to be sent.
        let neighbours = present_in.iter().chain(&sources);
        let neighbour = neighbours
            .filter(|one| one.registry == repository.registry && one.name != repository.name)
            .map(|one| one.name.clone())
            .next();
        let failed = || failed("send a blob to", &repository, "*");
        let destination = client.repository(&repository.registry, &repository.name).map_err(failed())?;
        // Fetched only when it cannot be mounted: a mount that is declined needs the bytes after all.
        let mounted = match &neighbour {
            Some(from) => destination.mount(&blob, from).await.map_err(failed())?,
            None => false,
        };
        if mounted {
            moves.mounted += 1;
        } else {
            let fetched = fetch(client, cache, &blob, &sources, observer).await?;
            moves.fetched += usize::from(fetched > 0);
            moves.fetched_bytes += fetched;
            let source = Source::File(cache.blob_path(&blob.digest));
            let quiet: Progress = Arc::new(|_| {});
            match destination.push_blob(&blob, &source, None, &quiet).await.map_err(failed())? {
                Moved::Mounted => moves.mounted += 1,
                Moved::Uploaded => moves.sent += 1,
            }
        }
        present_in.insert(repository);
    }
    // The cache is for a run that is killed, not for the next one; a file that stays is only in the way.
    let _ = std::fs::remove_file(cache.blob_path(&blob.digest));
    observer(MirrorEvent::Blob { digest: blob.digest, bytes: blob.size });
    Ok(moves)
}

/// Fetches a blob into the cache from the first source that has it. Returns the bytes that came.
async fn fetch(
    client: &Client,
    cache: &Layout,
    blob: &Descriptor,
    sources: &[Repository],
    observer: &Observer,
) -> Result<u64, MirrorFailure> {
    let mut missing = None;
    for repository in sources {
        let failed = || failed("fetch a blob from", repository, "*");
        let source = client.repository(&repository.registry, &repository.name).map_err(failed())?;
        let told = observer.clone();
        let progress: Progress = Arc::new(move |bytes| told(MirrorEvent::Progress { bytes }));
        match source.fetch_blob(blob, cache, &progress).await {
            Ok(bytes) => return Ok(bytes),
            Err(error @ ClientError::NotFound { .. }) => missing = Some(failed()(error)),
            Err(error) => return Err(failed()(error)),
        }
    }
    Err(missing.unwrap_or_else(|| MirrorFailure::Malformed {
        image: blob.digest.to_string(),
        problem: "no source has it".to_owned(),
    }))
}
