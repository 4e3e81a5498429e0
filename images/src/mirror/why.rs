//! Why a tag is mirrored or not: which part of its rule decided, what a run would do about it, and what its rule has against the image itself,
//! which only the image can tell.

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use super::declaration::{Mirror, Rule};
use super::error::MirrorFailure;
use super::lock::Lock;
use super::measure::surveyed;
use super::observe::Observed;
use super::plan::{Action, plan};
use super::select::Decision;
use super::signature;
use super::survey::{Companions, Objection};
use crate::client::Client;
use crate::layout::Layout;

/// One tag under one rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Why {
    /// Repository it comes from.
    pub source: String,
    /// Repository it goes to.
    pub destination: String,
    /// Line of the rule.
    pub line: usize,
    /// The tag.
    pub tag: String,
    /// Whether the rule takes it.
    pub taken: bool,
    /// Which part of the rule decided.
    pub why: String,
    /// What `sync --update` would do about it; nothing when it is neither taken nor locked.
    pub action: Option<Action>,
    /// Since when the copy is what it is.
    pub since: Option<Timestamp>,
    /// What the rule has against the image, where that was looked at: then it is not copied.
    pub objections: Vec<Objection>,
}

/// Explains every tag that was seen, or the one that is asked for. Pure.
pub fn why(rules: &[Rule], lock: &Lock, observed: &Observed, wanted: Option<&str>) -> Vec<Why> {
    let planned = plan(rules, lock, &observed.seen, true);
    let explained = |rule: &Rule, decision: &Decision| {
        let (source, destination) = (rule.source.to_string(), rule.destination.to_string());
        let Decision { tag, taken, why } = decision.clone();
        let step = planned.steps.iter().find(|step| step.destination == destination && step.tag == tag);
        Why {
            action: step.map(|step| step.action.clone()),
            since: lock.get(&rule.destination, &tag).map(|locked| locked.since),
            source,
            destination,
            line: rule.line,
            tag,
            taken,
            why,
            objections: Vec::new(),
        }
    };
    let mut all = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let decisions =
            observed.decisions.iter().filter(|(of, _)| *of == index).map(|(_, decision)| decision);
        let named: Vec<&Decision> =
            decisions.filter(|decision| wanted.is_none_or(|wanted| *wanted == decision.tag)).collect();
        all.extend(named.iter().map(|decision| explained(rule, decision)));
        // What was not seen of a source that does not answer says nothing.
        if let (Some(wanted), true, false) = (wanted, named.is_empty(), observed.unseen.contains(&index)) {
            all.push(explained(rule, &rule.selection.unseen(wanted)));
        }
    }
    all
}

/// Reads the image of a tag that a run would bring, as the run would, for what its rule has against it.
pub async fn examine(
    client: &Client,
    mirror: &Mirror,
    root: &Path,
    cache: &Path,
    why: &mut Why,
) -> Result<(), MirrorFailure> {
    let Some(Action::Add { to } | Action::Update { to, .. }) = &why.action else { return Ok(()) };
    let Some(rule) = mirror.writes_to(&why.destination) else { return Ok(()) };
    let companions = match rule.referrers {
        true => Some(Companions::open(client, &rule.source).await?),
        false => None,
    };
    let cache = Layout::open(cache)?;
    let survey = surveyed(client, &cache, rule, &why.tag, to, companions.as_ref()).await?;
    why.objections = survey.objections(rule, Timestamp::now());
    why.objections.extend(signature::check(client, root, rule, &why.tag, &survey).await?);
    Ok(())
}
