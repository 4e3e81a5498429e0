//! Carrying out a plan: survey, check, move, quarantine, promote.
//!
//! Nothing is visible under a tag before everything behind it has arrived and was checked. The tag then moves in one step; what it
//! named before stays under a backup tag. The lock is written after each tag, so a killed run loses nothing it has done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use serde::Serialize;

use super::attest;
use super::declaration::{Mirror, Repository, Rule};
use super::error::{MirrorFailure, Standing, failed, name};
use super::lock::{Lock, LockError, Locked};
use super::place::{Present, move_tag, named, place, present};
use super::plan::{Action, Plan, Step};
use super::scan;
use super::signature;
use super::survey::{Children, Companions, Sight, Survey, children, survey_children};
use super::transfer::{Keep, Load, Moves, Transferred, ask, transfer};
use super::{MirrorEvent, Observer};
use crate::client::Client;
use crate::digest::Digest;
use crate::layout::{Layout, LayoutError};
use crate::sign::Signer;

/// Images surveyed or promoted side by side.
const SIDE_BY_SIDE: usize = 16;

/// What a run works with.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// Speaks to both sides.
    pub client: &'a Client,
    /// What is declared.
    pub mirror: &'a Mirror,
    /// The workspace, for its lock.
    pub root: &'a Path,
    /// Where blobs are between source and destination.
    pub cache: &'a Path,
    /// Signs what is said about copies.
    pub signer: Option<&'a Signer>,
    /// Is told what happens.
    pub observer: &'a Observer,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Synced {
    /// Tags that moved, with the digest each has now.
    pub promoted: Vec<Promoted>,
    /// Blobs that moved.
    pub moves: Moves,
    /// What could not be done.
    pub failures: Vec<Arc<MirrorFailure>>,
    /// Whether the lock is different now.
    pub lock_changed: bool,
}

/// A tag that moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Promoted {
    /// `registry/repository:tag` at the destination.
    pub image: String,
    /// What it names now.
    pub digest: Digest,
    /// What it named before, which is under its backup tag now.
    pub previous: Option<Digest>,
}

impl Synced {
    /// Whose turn it is after the run. `drift` says whether something was left as it is on purpose.
    pub fn standing(&self, drift: bool) -> Standing {
        match self.failures.iter().map(|failure| failure.standing()).max() {
            None if drift => Standing::Drift,
            None => Standing::InSync,
            Some(_) if !self.promoted.is_empty() => Standing::Partial,
            Some(standing) => standing,
        }
    }
}

/// Why a run could not even begin, or not remember what it did.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The cache.
    #[error(transparent)]
    Cache(#[from] LayoutError),
}

/// The tag under which the digest is kept that `tag` had before.
pub fn backup_tag(tag: &str) -> String {
    // A tag has 128 characters at most.
    let head: String = tag.chars().take(119).collect();
    format!("{head}.previous")
}

/// A step, its rule, and the image at its source.
type Surveyed<'a> = (&'a Step, &'a Rule, Result<Survey, Arc<MirrorFailure>>);

/// Carries out every writing step of `plan`.
pub async fn sync(run: Run<'_>, plan: &Plan, lock: &mut Lock) -> Result<Synced, SyncError> {
    let Run { client, mirror, root, observer, .. } = run;
    let cache = Layout::open(run.cache)?;
    let mut synced = Synced::default();
    let steps: Vec<(&Step, &Rule)> =
        plan.writes().filter_map(|step| Some((step, mirror.writes_to(&step.destination)?))).collect();
    // Manifests first: what waits for them is longer, and connections that are open already are for whoever asks first.
    let (children, companions) = tokio::join!(
        stream::iter(&steps)
            .map(|(step, rule)| {
                let locked = lock.images.get(&(step.destination.clone(), step.tag.clone()));
                read_children(client, rule, step, locked)
            })
            .buffered(SIDE_BY_SIDE)
            .collect::<Vec<_>>(),
        companions(client, &steps)
    );
    let questions = questions(&steps, &children);
    let surveying = stream::iter(steps.into_iter().zip(children))
        .map(|((step, rule), children)| {
            let companions = companions.get(&rule.source).filter(|_| rule.referrers);
            let cache = &cache;
            async move {
                let companions = match companions {
                    Some(Ok(companions)) => Some(companions),
                    Some(Err(failure)) => return (step, rule, Err(failure.clone())),
                    None => None,
                };
                let (place, platforms) = (&rule.source, rule.platforms.as_slice());
                let sight = Sight { client, place, platforms, cache, companions, original: None };
                (step, rule, surveyed(sight, root, rule, step, children).await.map_err(Arc::new))
            }
        })
        .buffered(SIDE_BY_SIDE)
        .collect::<Vec<Surveyed<'_>>>();
    // What destinations have is asked while sources are read.
    let (surveyed, asked) = tokio::join!(surveying, ask(client, questions));
    let mut ready = Vec::new();
    for (step, rule, outcome) in surveyed {
        match outcome {
            Ok(survey) => ready.push((step, rule, survey)),
            Err(failure) => fail(&mut synced, failure, observer),
        }
    }
    let loads: Vec<Load<'_>> = ready
        .iter()
        .map(|(_, rule, survey)| Load { source: Some(&rule.source), destination: &rule.destination, survey })
        .collect();
    let (transferred, present) = tokio::join!(
        transfer(client, &cache, Keep::Nothing, &loads, asked, observer),
        // Small questions find their way beside what is large.
        stream::iter(&ready)
            .map(|(step, rule, survey)| present_documents(client, rule, step, survey))
            .buffered(SIDE_BY_SIDE)
            .collect::<Vec<_>>()
    );
    let Transferred { moves, failures: lost, forgetting } = transferred;
    synced.moves = moves;
    let mut promoting = stream::iter(ready.iter().zip(present).map(|((step, rule, survey), present)| {
        let lost = lost_blob(survey, &lost);
        async move {
            match (lost, present) {
                (Some(failure), _) => Err(failure),
                (None, Err(failure)) => Err(Arc::new(failure)),
                (None, Ok(present)) => promote(run, rule, step, survey, &present).await.map_err(Arc::new),
            }
        }
    }))
    .buffer_unordered(SIDE_BY_SIDE);
    while let Some(outcome) = promoting.next().await {
        match outcome {
            Ok((locked, promoted)) => {
                observer(MirrorEvent::Promoted {
                    image: promoted.image.clone(),
                    digest: promoted.digest.clone(),
                });
                synced.promoted.push(promoted);
                lock.insert(locked);
                synced.lock_changed |= lock.store(root)?;
            }
            Err(failure) => fail(&mut synced, failure, observer),
        }
    }
    drop(promoting);
    for file in forgetting {
        // A file that stays is only in the way.
        let _ = file.await;
    }
    let now = Timestamp::now();
    // An unchanged lock stays unchanged, until it would be half as old as it may become.
    let half = mirror.max_lock_age / 2;
    let is_due = lock.checked.is_none_or(|checked| checked.checked_add(half).is_ok_and(|due| due <= now));
    if synced.failures.is_empty() && (is_due || synced.lock_changed) {
        lock.checked = Some(now);
        synced.lock_changed |= lock.store(root)?;
    }
    // What an image left behind that is not mirrored any more.
    cache.prune()?;
    synced.promoted.sort_by(|a, b| a.image.cmp(&b.image));
    Ok(synced)
}

fn fail(synced: &mut Synced, failure: Arc<MirrorFailure>, observer: &Observer) {
    observer(MirrorEvent::Failed { failure: failure.clone() });
    synced.failures.push(failure);
}

fn lost_blob(survey: &Survey, lost: &BTreeMap<Digest, Arc<MirrorFailure>>) -> Option<Arc<MirrorFailure>> {
    survey.blobs.keys().find_map(|digest| lost.get(digest)).cloned()
}

/// The blobs of every image, each with the repository that may lack it.
fn questions(
    steps: &[(&Step, &Rule)],
    children: &[Result<Children, MirrorFailure>],
) -> BTreeSet<(Repository, Digest)> {
    let read =
        steps.iter().zip(children).filter_map(|((_, rule), children)| Some((rule, children.as_ref().ok()?)));
    read.flat_map(|(rule, children)| {
        children.blobs().into_iter().map(|digest| (rule.destination.clone(), digest))
    })
    .collect()
}

/// What finds signatures in each source, looked at once.
async fn companions(
    client: &Client,
    steps: &[(&Step, &Rule)],
) -> BTreeMap<Repository, Result<Companions, Arc<MirrorFailure>>> {
    let mut places: Vec<&Repository> =
        steps.iter().filter(|(_, rule)| rule.referrers).map(|(_, rule)| &rule.source).collect();
    places.sort();
    places.dedup();
    stream::iter(places)
        .map(async |place| (place.clone(), Companions::open(client, place).await.map_err(Arc::new)))
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await
}

/// Reads the manifests of a step's image, which must be what the step says.
async fn read_children(
    client: &Client,
    rule: &Rule,
    step: &Step,
    locked: Option<&Locked>,
) -> Result<Children, MirrorFailure> {
    let (wanted, expected) = match (&step.action, locked) {
        (Action::Restore { to, .. }, Some(locked)) if !locked.held => (locked.at_source(), Some(to)),
        (Action::Add { to } | Action::Update { to, .. } | Action::Restore { to, .. }, _) => (to, None),
        (Action::Keep | Action::Moved { .. } | Action::Absent | Action::Vanished | Action::Unselected, _) => {
            return Err(MirrorFailure::Moved { image: name(&rule.source, &step.tag) });
        }
    };
    let children = children(client, &rule.source, &rule.platforms, &step.tag, wanted).await?;
    if expected.is_some_and(|expected| *expected != children.top.digest) {
        let problem =
            format!("leaving platforms out of it gives {} now; its rule has changed", children.top.digest);
        return Err(MirrorFailure::Malformed { image: name(&rule.source, &step.tag), problem });
    }
    Ok(children)
}

/// Reads the rest of a step's image and holds it against its rule.
async fn surveyed(
    sight: Sight<'_>,
    root: &Path,
    rule: &Rule,
    step: &Step,
    children: Result<Children, MirrorFailure>,
) -> Result<Survey, MirrorFailure> {
    let survey = survey_children(sight, &step.tag, children?).await?;
    let mut objections = survey.objections(rule, Timestamp::now());
    objections.extend(signature::check(sight.client, root, rule, &step.tag, &survey).await?);
    match objections.is_empty() {
        true => Ok(survey),
        false => Err(MirrorFailure::Refused { image: name(&rule.source, &step.tag), objections }),
    }
}

async fn present_documents(
    client: &Client,
    rule: &Rule,
    step: &Step,
    survey: &Survey,
) -> Result<Present, MirrorFailure> {
    let failed = || failed("look for", &rule.destination, &step.tag);
    let Repository { registry, name } = &rule.destination;
    let destination = client.repository(registry, name).map_err(failed())?;
    present(&destination, survey).await.map_err(failed())
}

/// Quarantines an image by digest, lets it be scanned, says where it came from, then moves the tag.
async fn promote(
    run: Run<'_>,
    rule: &Rule,
    step: &Step,
    survey: &Survey,
    present: &Present,
) -> Result<(Locked, Promoted), MirrorFailure> {
    let failed = || failed("write", &rule.destination, &step.tag);
    let destination =
        run.client.repository(&rule.destination.registry, &rule.destination.name).map_err(failed())?;
    let Run { mirror: Mirror { scanner, .. }, signer, .. } = run;
    let place = async || place(&destination, survey, present).await.map_err(failed());
    let mut scan = None;
    if !scanner.is_empty() {
        place().await?;
        scan = scan::scan(scanner, &name(&rule.destination, &survey.top.digest.to_string())).await?;
    }
    let was_there = present.contains(&(survey.top.digest.clone(), None));
    let statement = attest::Statement { rule, tag: &step.tag, survey, scan: scan.as_ref() };
    let documents = attest::documents(&destination, &statement, signer, was_there).await?;
    tokio::try_join!(
        async { attest::send(&destination, &documents).await.map_err(failed()) },
        // Unless it is there since it was scanned.
        async { if scanner.is_empty() { place().await } else { Ok(()) } },
    )?;
    let ((), current) = tokio::try_join!(
        attest::attach(&destination, &survey.top, &documents),
        named(&destination, &step.tag)
    )
    .map_err(failed())?;
    let previous = move_tag(&destination, &step.tag, current, &survey.top).await.map_err(failed())?;
    let promoted =
        Promoted { image: name(&rule.destination, &step.tag), digest: survey.top.digest.clone(), previous };
    Ok((locked(rule, step, survey), promoted))
}

fn locked(rule: &Rule, step: &Step, survey: &Survey) -> Locked {
    Locked {
        source: rule.source.to_string(),
        destination: rule.destination.to_string(),
        tag: step.tag.clone(),
        digest: survey.top.digest.clone(),
        media_type: survey.top.media_type.clone(),
        upstream: survey.upstream.as_ref().map(|upstream| upstream.digest.clone()),
        held: false,
        size: survey.size(),
        reads: Some(survey.reads),
        since: Timestamp::now(),
        platforms: survey.platforms(),
        referrers: survey
            .referrers
            .iter()
            .map(|referrer| (referrer.raw.digest.to_string(), referrer.kind.clone()))
            .collect(),
    }
}
