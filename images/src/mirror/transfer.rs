//! The blobs of a whole run as one graph: each is fetched once at most, sent to a registry once at most, and mounted from there
//! into its other repositories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use serde::Serialize;
use tokio::task::JoinHandle;

use super::declaration::Repository;
use super::error::{MirrorFailure, failed};
use super::survey::Survey;
use super::{MirrorEvent, Observer};
use crate::client::{Arrival, Client, ClientError, Ledger, Moved, Progress, Source, arrival};
use crate::digest::Digest;
use crate::document::{Descriptor, empty};
use crate::layout::Layout;

/// Blobs that move side by side.
const MOVES: usize = 12;
/// Questions asked side by side.
const QUESTIONS: usize = 32;

/// One image of the run.
#[derive(Clone, Copy)]
pub(super) struct Load<'a> {
    /// Where its blobs can be had, unless they are in the cache.
    pub source: Option<&'a Repository>,
    pub destination: &'a Repository,
    pub survey: &'a Survey,
}

/// Whether blobs stay where they were put between source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// They were only there for this run.
    Nothing,
    /// They belong to somebody.
    All,
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

impl std::ops::AddAssign for Moves {
    fn add_assign(&mut self, other: Moves) {
        let Moves { fetched, fetched_bytes, sent, mounted, present } = other;
        self.fetched += fetched;
        self.fetched_bytes += fetched_bytes;
        self.sent += sent;
        self.mounted += mounted;
        self.present += present;
    }
}

/// A blob, where it can be had and where it is missing.
struct Journey {
    blob: Descriptor,
    sources: Vec<Repository>,
    present_in: BTreeSet<Repository>,
    missing_in: BTreeSet<Repository>,
}

/// What became of a transfer.
pub(super) struct Transferred {
    pub moves: Moves,
    /// What failed, by digest; images that do not need it are not concerned.
    pub failures: BTreeMap<Digest, Arc<MirrorFailure>>,
    /// Files of the cache that are being removed. A large one takes a while, which nobody else has to wait for.
    pub forgetting: Vec<JoinHandle<()>>,
}

/// Whether a repository has a blob, as far as it was asked.
pub(super) type Answers = BTreeMap<(Repository, Digest), Result<bool, Arc<MirrorFailure>>>;

/// Asks repositories for blobs.
pub(super) async fn ask(client: &Client, questions: BTreeSet<(Repository, Digest)>) -> Answers {
    stream::iter(questions)
        .map(async |(repository, digest)| {
            let answer = has(client, &repository, &digest).await.map_err(Arc::new);
            ((repository, digest), answer)
        })
        .buffer_unordered(QUESTIONS)
        .collect()
        .await
}

/// Moves every blob that is missing. What was `asked` already is not asked again.
pub(super) async fn transfer(
    client: &Client,
    cache: &Layout,
    keep: Keep,
    loads: &[Load<'_>],
    asked: Answers,
    observer: &Observer,
) -> Transferred {
    let (mut journeys, mut failures) = survey_destinations(client, keep, loads, asked).await;
    let mut moves =
        Moves { present: journeys.iter().map(|journey| journey.present_in.len()).sum(), ..Moves::default() };
    for load in loads {
        moves.fetched += load.survey.fetched.0;
        moves.fetched_bytes += load.survey.fetched.1;
    }
    let mut forgetting = Vec::new();
    journeys.retain(|journey| {
        let moves = !journey.missing_in.is_empty();
        forgetting.extend((!moves && keep == Keep::Nothing).then(|| forget(cache, &journey.blob.digest)));
        moves
    });
    journeys.sort_by_key(|journey| std::cmp::Reverse(journey.blob.size));
    observer(MirrorEvent::Transfer {
        blobs: journeys.len(),
        bytes: journeys.iter().map(|journey| journey.blob.size).sum(),
    });
    let mut travelling = stream::iter(journeys)
        .map(|journey| async {
            let digest = journey.blob.digest.clone();
            (digest, travel(client, cache, journey, observer).await)
        })
        .buffer_unordered(MOVES);
    while let Some((digest, outcome)) = travelling.next().await {
        match outcome {
            Ok(one) => {
                moves += one;
                forgetting.extend((keep == Keep::Nothing).then(|| forget(cache, &digest)));
            }
            Err(failure) => {
                failures.insert(digest, Arc::new(failure));
            }
        }
    }
    drop(travelling);
    Transferred { moves, failures, forgetting }
}

/// Asks each destination for each blob of the manifests it does not have yet.
async fn survey_destinations(
    client: &Client,
    keep: Keep,
    loads: &[Load<'_>],
    mut answers: Answers,
) -> (Vec<Journey>, BTreeMap<Digest, Arc<MirrorFailure>>) {
    let mut journeys: BTreeMap<Digest, Journey> = BTreeMap::new();
    let mut questions: BTreeSet<(Repository, Digest)> = BTreeSet::new();
    // What will be said about a copy has the config of what has none, which is sent like any other blob.
    let empty = Some(empty().descriptor()).filter(|_| keep == Keep::Nothing);
    for Load { source, destination, survey } in loads {
        for blob in survey.blobs.values().chain(&empty) {
            let journey = journeys.entry(blob.digest.clone()).or_insert_with(|| Journey {
                blob: blob.clone(),
                sources: Vec::new(),
                present_in: BTreeSet::new(),
                missing_in: BTreeSet::new(),
            });
            journey.sources.extend(source.filter(|source| !journey.sources.contains(source)).cloned());
            questions.insert(((*destination).clone(), blob.digest.clone()));
        }
    }
    // Images that are refused were asked about as well.
    answers.retain(|question, _| questions.contains(question));
    questions.retain(|question| !answers.contains_key(question));
    answers.extend(ask(client, questions).await);
    let mut failures = BTreeMap::new();
    for ((repository, digest), answer) in answers {
        let Some(journey) = journeys.get_mut(&digest) else { continue };
        match answer {
            Ok(true) => _ = journey.present_in.insert(repository),
            Ok(false) => _ = journey.missing_in.insert(repository),
            Err(failure) => _ = failures.insert(digest, failure),
        }
    }
    (journeys.into_values().collect(), failures)
}

async fn has(client: &Client, repository: &Repository, digest: &Digest) -> Result<bool, MirrorFailure> {
    let failed = || failed("look for a blob in", repository, "*");
    let destination = client.repository(&repository.registry, &repository.name).map_err(failed())?;
    Ok(destination.head_blob(digest).await.map_err(failed())?.is_some())
}

/// Brings one blob everywhere: to one repository of each registry first, from where the others take it.
async fn travel(
    client: &Client,
    cache: &Layout,
    journey: Journey,
    observer: &Observer,
) -> Result<Moves, MirrorFailure> {
    let Journey { blob, sources, mut present_in, missing_in } = journey;
    let mut moves = Moves::default();
    let mut later = Vec::new();
    for repository in missing_in {
        if present_in.iter().any(|one| one.registry == repository.registry) {
            later.push(repository);
            continue;
        }
        moves += arrive(client, cache, &blob, &sources, &sources, &repository, observer).await?;
        present_in.insert(repository);
    }
    let neighbours: Vec<Repository> = present_in.into_iter().collect();
    let mut rest = stream::iter(later)
        .map(async |repository| {
            arrive(client, cache, &blob, &neighbours, &sources, &repository, observer).await
        })
        .buffer_unordered(MOVES);
    while let Some(outcome) = rest.next().await {
        moves += outcome?;
    }
    drop(rest);
    observer(MirrorEvent::Blob { digest: blob.digest, bytes: blob.size });
    Ok(moves)
}

/// Brings one blob to one repository: mounted from a neighbour if that works, else fetched and sent.
async fn arrive(
    client: &Client,
    cache: &Layout,
    blob: &Descriptor,
    neighbours: &[Repository],
    sources: &[Repository],
    repository: &Repository,
    observer: &Observer,
) -> Result<Moves, MirrorFailure> {
    let mut moves = Moves::default();
    let neighbour = neighbours
        .iter()
        .find(|one| one.registry == repository.registry && one.name != repository.name)
        .map(|one| one.name.as_str());
    let failed = || failed("send a blob to", repository, "*");
    let destination = client.repository(&repository.registry, &repository.name).map_err(failed())?;
    // Fetched only when it cannot be mounted: a mount that is declined needs the bytes after all.
    let mounted = match neighbour {
        Some(from) => destination.mount(blob, from).await.map_err(failed())?,
        None => false,
    };
    if mounted {
        moves.mounted += 1;
        return Ok(moves);
    }
    let (arrival, arriving) = arrival();
    let (source, quiet): (_, Progress) = (Source::Arriving(arriving), Arc::new(|_| {}));
    // Sent while it arrives; whichever fails ends the other.
    let (fetched, sent) = tokio::try_join!(fetch(client, cache, blob, sources, observer, arrival), async {
        let ledger = Ledger::new(cache.staging());
        destination.push_blob_continued(blob, &source, &ledger, &quiet).await.map_err(failed())
    })?;
    moves.fetched += usize::from(fetched > 0);
    moves.fetched_bytes += fetched;
    match sent {
        Moved::Mounted => moves.mounted += 1,
        Moved::Uploaded => moves.sent += 1,
    }
    Ok(moves)
}

/// The cache is for a run that is killed, not for the next one; a file that stays is only in the way.
fn forget(cache: &Layout, digest: &Digest) -> JoinHandle<()> {
    let path = cache.blob_path(digest);
    tokio::task::spawn_blocking(move || _ = std::fs::remove_file(path))
}

/// Fetches a blob into the cache from the first source that has it. Returns the bytes that came.
async fn fetch(
    client: &Client,
    cache: &Layout,
    blob: &Descriptor,
    sources: &[Repository],
    observer: &Observer,
    arrival: Arrival,
) -> Result<u64, MirrorFailure> {
    let mut missing = None;
    let nothing = empty();
    if blob.digest == nothing.digest && !cache.has(blob) {
        cache.put(&nothing)?;
    }
    if cache.has(blob) {
        arrival.complete(cache.blob_path(&blob.digest), blob.size);
        return Ok(0);
    }
    for repository in sources {
        let failed = || failed("fetch a blob from", repository, "*");
        let source = client.repository(&repository.registry, &repository.name).map_err(failed())?;
        let told = observer.clone();
        let progress: Progress = Arc::new(move |bytes| told(MirrorEvent::Progress { bytes }));
        match source.fetch_blob_followed(blob, cache, &progress, &arrival).await {
            Ok(bytes) => return Ok(bytes),
            Err(error @ ClientError::NotFound { .. }) => missing = Some(failed()(error)),
            Err(error) => return Err(failed()(error)),
        }
    }
    Err(missing.unwrap_or_else(|| MirrorFailure::Malformed {
        image: blob.digest.to_string(),
        problem: "nothing at hand has it; is this bundle the difference to one that was not loaded?"
            .to_owned(),
    }))
}
