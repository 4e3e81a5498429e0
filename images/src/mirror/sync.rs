//! Carrying out a plan: survey, check, move, quarantine, promote.
//!
//! Nothing is visible under a tag before everything behind it has arrived and was checked. The tag then moves in one step; what it
//! named before stays under a backup tag. The lock is written after each tag, so a killed run loses nothing it has done.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use serde::Serialize;

use super::attest;
use super::declaration::{Mirror, Rule};
use super::error::{MirrorFailure, Standing, failed, name};
use super::lock::{Lock, LockError, Locked};
use super::plan::{Action, Plan, Step};
use super::scan;
use super::survey::{Survey, survey};
use super::transfer::{Load, Moves, transfer};
use super::{MirrorEvent, Observer};
use crate::client::{Client, Repository};
use crate::digest::Digest;
use crate::layout::{Layout, LayoutError};

/// Images surveyed or promoted side by side.
const SIDE_BY_SIDE: usize = 8;

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

/// Carries out every writing step of `plan`.
pub async fn sync(
    client: &Client,
    mirror: &Mirror,
    plan: &Plan,
    lock: &mut Lock,
    root: &Path,
    cache: &Path,
    observer: &Observer,
) -> Result<Synced, SyncError> {
    let cache = Layout::open(cache)?;
    let mut synced = Synced::default();
    let surveyed: Vec<(&Step, &Rule, Result<Survey, MirrorFailure>)> = stream::iter(plan.writes())
        .filter_map(|step| async move { Some((step, rule_of(mirror, step)?)) })
        .map(|(step, rule)| {
            let locked = lock.images.get(&(step.destination.clone(), step.tag.clone()));
            async move { (step, rule, surveyed(client, rule, step, locked).await) }
        })
        .buffered(SIDE_BY_SIDE)
        .collect()
        .await;
    let mut ready = Vec::new();
    for (step, rule, outcome) in surveyed {
        match outcome {
            Ok(survey) => ready.push((step, rule, survey)),
            Err(failure) => fail(&mut synced, Arc::new(failure), observer),
        }
    }
    let loads: Vec<Load<'_>> = ready.iter().map(|(_, rule, survey)| Load { rule, survey }).collect();
    let (moves, lost) = transfer(client, &cache, &loads, observer).await;
    synced.moves = moves;
    let mut promoting = stream::iter(ready.iter().map(|(step, rule, survey)| {
        let lost = lost_blob(survey, &lost);
        async move {
            match lost {
                Some(failure) => Err(failure),
                None => promote(client, mirror, rule, step, survey).await.map_err(Arc::new),
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
    let now = Timestamp::now();
    // An unchanged lock stays unchanged, until it would be half as old as it may become.
    let half = mirror.max_lock_age / 2;
    let is_due = lock.checked.is_none_or(|checked| checked.checked_add(half).is_ok_and(|due| due <= now));
    if synced.failures.is_empty() && (is_due || synced.lock_changed) {
        lock.checked = Some(now);
        synced.lock_changed |= lock.store(root)?;
    }
    synced.promoted.sort_by(|a, b| a.image.cmp(&b.image));
    Ok(synced)
}

fn fail(synced: &mut Synced, failure: Arc<MirrorFailure>, observer: &Observer) {
    observer(MirrorEvent::Failed { failure: failure.clone() });
    synced.failures.push(failure);
}

fn rule_of<'a>(mirror: &'a Mirror, step: &Step) -> Option<&'a Rule> {
    mirror.rules.iter().find(|rule| rule.destination.to_string() == step.destination)
}

fn lost_blob(survey: &Survey, lost: &BTreeMap<Digest, Arc<MirrorFailure>>) -> Option<Arc<MirrorFailure>> {
    survey.blobs.keys().find_map(|digest| lost.get(digest)).cloned()
}

/// Reads the image of a step and holds it against its rule.
async fn surveyed(
    client: &Client,
    rule: &Rule,
    step: &Step,
    locked: Option<&Locked>,
) -> Result<Survey, MirrorFailure> {
    let (wanted, expected) = match (&step.action, locked) {
        (Action::Restore { to, .. }, Some(locked)) => (locked.at_source(), Some(to)),
        (Action::Add { to } | Action::Update { to, .. } | Action::Restore { to, .. }, _) => (to, None),
        (Action::Keep | Action::Moved { .. } | Action::Vanished | Action::Unselected, _) => {
            return Err(MirrorFailure::Moved { image: name(&rule.source, &step.tag) });
        }
    };
    let survey = survey(client, rule, &step.tag, wanted).await?;
    if expected.is_some_and(|expected| *expected != survey.top.digest) {
        let problem =
            format!("leaving platforms out of it gives {} now; its rule has changed", survey.top.digest);
        return Err(MirrorFailure::Malformed { image: name(&rule.source, &step.tag), problem });
    }
    let objections = survey.objections(rule, Timestamp::now());
    match objections.is_empty() {
        true => Ok(survey),
        false => Err(MirrorFailure::Refused { image: name(&rule.source, &step.tag), objections }),
    }
}

/// Quarantines an image by digest, lets it be scanned, then moves the tag.
async fn promote(
    client: &Client,
    mirror: &Mirror,
    rule: &Rule,
    step: &Step,
    survey: &Survey,
) -> Result<(Locked, Promoted), MirrorFailure> {
    let failed = || failed("write", &rule.destination, &step.tag);
    let destination =
        client.repository(&rule.destination.registry, &rule.destination.name).map_err(failed())?;
    for raw in (Load { rule, survey }).documents() {
        let tag = survey.referrers.iter().find(|referrer| referrer.raw.digest == raw.digest);
        let tag = tag.and_then(|referrer| referrer.tag.as_deref());
        let there = match tag {
            Some(tag) => destination.head_manifest(tag).await.map_err(failed())?,
            None => destination.head_manifest(&raw.digest.to_string()).await.map_err(failed())?,
        };
        if there.is_none_or(|there| there.digest != raw.digest) {
            destination.put_manifest(raw, tag.as_slice()).await.map_err(failed())?;
        }
    }
    let quarantined = name(&rule.destination, &survey.top.digest.to_string());
    let scan = scan::scan(&mirror.scanner, &quarantined).await?;
    if let Some(upstream) = &survey.upstream {
        attest::attach_upstream(&destination, &survey.top, upstream).await.map_err(failed())?;
    }
    let statement = attest::statement(rule, &step.tag, survey, scan.as_ref(), Timestamp::now());
    attest::attach(&destination, &survey.top, &statement).await.map_err(failed())?;
    let previous = move_tag(&destination, step, survey).await.map_err(failed())?;
    let promoted =
        Promoted { image: name(&rule.destination, &step.tag), digest: survey.top.digest.clone(), previous };
    Ok((locked(rule, step, survey), promoted))
}

/// Points the tag at the new image, and the backup tag at what it named before.
async fn move_tag(
    destination: &Repository,
    step: &Step,
    survey: &Survey,
) -> Result<Option<Digest>, crate::client::ClientError> {
    let current = destination.head_manifest(&step.tag).await?.map(|descriptor| descriptor.digest);
    if current.as_ref() == Some(&survey.top.digest) {
        return Ok(None);
    }
    if let Some(current) = &current
        && let Some(raw) = destination.manifest(&current.to_string()).await?
    {
        destination.tag(&raw, &backup_tag(&step.tag)).await?;
    }
    destination.tag(&survey.top, &step.tag).await?;
    Ok(current)
}

fn locked(rule: &Rule, step: &Step, survey: &Survey) -> Locked {
    Locked {
        source: rule.source.to_string(),
        destination: rule.destination.to_string(),
        tag: step.tag.clone(),
        digest: survey.top.digest.clone(),
        media_type: survey.top.media_type.clone(),
        upstream: survey.upstream.as_ref().map(|upstream| upstream.digest.clone()),
        size: survey.size(),
        since: Timestamp::now(),
        platforms: survey.platforms(),
        referrers: survey
            .referrers
            .iter()
            .map(|referrer| (referrer.raw.digest.to_string(), referrer.kind.clone()))
            .collect(),
    }
}
