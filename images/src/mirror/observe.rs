//! Looking at both sides: the tags of each source that has patterns, then one HEAD at each side for every selected tag.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};

use super::declaration::Rule;
use super::error::{MirrorFailure, failed};
use super::plan::Seen;
use super::select::Decision;
use crate::client::{Client, Quota};
use crate::document::Descriptor;

/// Questions asked side by side.
const SIDE_BY_SIDE: usize = 16;

/// What was seen.
#[derive(Debug, Default)]
pub struct Observed {
    /// Every selected tag.
    pub seen: Vec<Seen>,
    /// What each rule decided about each tag, by the rule's index.
    pub decisions: Vec<(usize, Decision)>,
    /// Rules whose sources could not be asked for their tags.
    pub unseen: BTreeSet<usize>,
    /// Rules and tags that could not be looked at.
    pub failures: Vec<MirrorFailure>,
}

/// Looks at everything the rules name. One that cannot be looked at does not keep the others from being seen.
pub async fn observe(client: &Client, rules: &[Rule]) -> Observed {
    let mut observed = Observed::default();
    let listed: Vec<(usize, Result<Vec<Decision>, MirrorFailure>)> = stream::iter(rules.iter().enumerate())
        .map(|(index, rule)| async move { (index, decide(client, rule).await) })
        .buffered(SIDE_BY_SIDE)
        .collect()
        .await;
    let mut wanted = Vec::new();
    for (index, outcome) in listed {
        match outcome {
            Ok(decisions) => {
                let taken = decisions.iter().filter(|decision| decision.taken);
                wanted.extend(taken.map(|decision| (index, decision.tag.clone())));
                observed.decisions.extend(decisions.into_iter().map(|decision| (index, decision)));
            }
            Err(failure) => {
                observed.unseen.insert(index);
                observed.failures.push(failure);
            }
        }
    }
    let looks: Vec<Result<Seen, MirrorFailure>> = stream::iter(wanted)
        .map(|(index, tag)| async move { look(client, &rules[index], index, tag).await })
        .buffered(SIDE_BY_SIDE)
        .collect()
        .await;
    for look in looks {
        match look {
            Ok(seen) => observed.seen.push(seen),
            Err(failure) => observed.failures.push(failure),
        }
    }
    observed
}

/// What each source registry last said about its quota.
pub fn quotas(client: &Client, rules: &[Rule]) -> BTreeMap<String, Quota> {
    let registries: BTreeSet<&String> = rules.iter().map(|rule| &rule.source.registry).collect();
    let said =
        registries.into_iter().filter_map(|registry| Some((registry.clone(), client.quota(registry)?)));
    said.collect()
}

async fn decide(client: &Client, rule: &Rule) -> Result<Vec<Decision>, MirrorFailure> {
    let mut available = Vec::new();
    if rule.selection.needs_list() {
        let failed = || failed("list the tags of", &rule.source, "*");
        let repository = client.repository(&rule.source.registry, &rule.source.name).map_err(failed())?;
        available = repository.tags().await.map_err(failed())?.unwrap_or_default();
    }
    Ok(rule.selection.decide(&available))
}

async fn look(client: &Client, rule: &Rule, index: usize, tag: String) -> Result<Seen, MirrorFailure> {
    let head = async |repository: &super::Repository| -> Result<Option<Descriptor>, MirrorFailure> {
        let failed = || failed("look at", repository, &tag);
        let found = client.repository(&repository.registry, &repository.name).map_err(failed())?;
        found.head_manifest(&tag).await.map_err(failed())
    };
    let (source, destination) = tokio::join!(head(&rule.source), head(&rule.destination));
    let (source, destination) = (source?, destination?);
    Ok(Seen {
        rule: index,
        is_index: source.as_ref().is_some_and(Descriptor::is_index),
        source: source.map(|source| source.digest),
        destination: destination.map(|destination| destination.digest),
        tag,
    })
}
