//! How large what is new would be, and how many reads it takes: it is read as a run would read it, layers left out. Sources count that, too.

use std::collections::BTreeMap;
use std::path::Path;

use futures::stream::{self, StreamExt};

use super::declaration::{Mirror, Repository, Rule};
use super::error::MirrorFailure;
use super::plan::{Action, Plan, Step};
use super::survey::{Companions, Sight, Survey, survey};
use crate::client::Client;
use crate::digest::Digest;
use crate::layout::Layout;

/// Images measured side by side.
const SIDE_BY_SIDE: usize = 8;

/// Fills in the size of each image a plan would bring, every blob of it counted once, and what a run will read for it. What cannot be read is
/// returned.
pub async fn measure(client: &Client, mirror: &Mirror, plan: &mut Plan, cache: &Path) -> Vec<MirrorFailure> {
    let cache = match Layout::open(cache) {
        Ok(cache) => cache,
        Err(error) => return vec![error.into()],
    };
    let steps: Vec<(Digest, &Rule, &mut Step)> = plan
        .steps
        .iter_mut()
        .filter_map(|step| Some((wanted(step)?, mirror.writes_to(&step.destination)?, step)))
        .collect();
    let mut failures = Vec::new();
    let mut companions: BTreeMap<&Repository, Companions> = BTreeMap::new();
    let mut places: Vec<&Repository> =
        steps.iter().filter(|(_, rule, _)| rule.referrers).map(|(_, rule, _)| &rule.source).collect();
    places.sort();
    places.dedup();
    for place in places {
        match Companions::open(client, place).await {
            Ok(opened) => _ = companions.insert(place, opened),
            Err(failure) => failures.push(failure),
        }
    }
    let outcomes: Vec<Result<(), MirrorFailure>> = stream::iter(steps)
        .map(|(digest, rule, step)| {
            let (cache, companions) = (&cache, companions.get(&rule.source));
            async move {
                if rule.referrers && companions.is_none() {
                    return Ok(());
                }
                let survey = surveyed(client, cache, rule, &step.tag, &digest, companions).await?;
                (step.size, step.metered, step.at_least) = (Some(survey.size()), survey.reads, false);
                Ok(())
            }
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    failures.extend(outcomes.into_iter().filter_map(Result::err));
    failures
}

/// What would come; of what is restored the lock knows the size.
fn wanted(step: &Step) -> Option<Digest> {
    match &step.action {
        Action::Add { to } | Action::Update { to, .. } => Some(to.clone()),
        _ => None,
    }
}

/// Reads an image of the source as a run does.
pub(super) async fn surveyed(
    client: &Client,
    cache: &Layout,
    rule: &Rule,
    tag: &str,
    digest: &Digest,
    companions: Option<&Companions>,
) -> Result<Survey, MirrorFailure> {
    let (place, platforms) = (&rule.source, rule.platforms.as_slice());
    survey(Sight { client, place, platforms, cache, companions, original: None }, tag, digest).await
}
