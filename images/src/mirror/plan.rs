//! What a run would do, decided from what is declared, locked and seen on both sides. Pure.
//!
//! Seeing costs one HEAD at each side for every tag; what a step needs beyond that, it forecasts.

mod forecast;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::declaration::Rule;
use super::lock::{Lock, Locked};
use crate::digest::Digest;
pub use forecast::Forecast;
use forecast::reads;

/// What was seen of one selected tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its rule.
    pub rule: usize,
    /// The tag.
    pub tag: String,
    /// Its digest at the source; `None` when the source does not have it.
    pub source: Option<Digest>,
    /// Whether that is an index.
    pub is_index: bool,
    /// Its digest at the destination.
    pub destination: Option<Digest>,
}

/// One tag and what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// Repository it comes from.
    pub source: String,
    /// Repository it goes to.
    pub destination: String,
    /// The tag.
    pub tag: String,
    /// What is to be done.
    pub action: Action,
    /// Bytes of the image as last locked, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Manifest reads the source will count against a quota.
    pub metered: u32,
    /// It may be more: what the image lists besides platforms, and what refers to it, nobody has read yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
}

/// What is to be done about a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Action {
    /// Nothing: source, lock and destination agree.
    Keep,
    /// It is new here.
    Add {
        /// Digest at the source.
        to: Digest,
    },
    /// It moved at the source, and moving it here was asked for.
    Update {
        /// Digest the lock has for the source.
        from: Digest,
        /// Digest at the source now.
        to: Digest,
    },
    /// It moved at the source; it stays here until somebody asks.
    Moved {
        /// Digest the lock has for the source.
        from: Digest,
        /// Digest at the source now.
        to: Digest,
    },
    /// The destination does not have what the lock says.
    Restore {
        /// Digest the destination has to get.
        to: Digest,
        /// What it has instead.
        instead: Option<Digest>,
    },
    /// Its rule names it, and the source does not have it.
    Absent,
    /// The source does not have it any more; the copy stays.
    Vanished,
    /// No rule takes it any more; the copy and its entry stay until somebody removes them.
    Unselected,
}

impl Action {
    /// Whether `sync` does something.
    pub fn writes(&self) -> bool {
        matches!(self, Action::Add { .. } | Action::Update { .. } | Action::Restore { .. })
    }

    /// Whether the world is not as the lock says.
    pub fn is_drift(&self) -> bool {
        !matches!(self, Action::Keep)
    }
}

/// Everything a run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Whether locked tags follow what upstream did.
    pub update: bool,
    /// One step per tag, by destination and tag.
    pub steps: Vec<Step>,
}

/// Decides about every tag that was seen or is locked.
pub fn plan(rules: &[Rule], lock: &Lock, seen: &[Seen], update: bool) -> Plan {
    let mut steps: BTreeMap<(String, String), Step> = BTreeMap::new();
    for seen in seen {
        let Some(rule) = rules.get(seen.rule) else { continue };
        let locked = lock.get(&rule.destination, &seen.tag);
        let action = action(locked, seen, update);
        let (metered, at_least) = if action.writes() { reads(rule, locked, seen) } else { (0, false) };
        let step = Step {
            source: rule.source.to_string(),
            destination: rule.destination.to_string(),
            tag: seen.tag.clone(),
            action,
            size: locked.map(|locked| locked.size),
            metered,
            at_least,
        };
        steps.insert((step.destination.clone(), step.tag.clone()), step);
    }
    for (key, locked) in &lock.images {
        steps.entry(key.clone()).or_insert_with(|| Step {
            source: locked.source.clone(),
            destination: locked.destination.clone(),
            tag: locked.tag.clone(),
            action: Action::Unselected,
            size: Some(locked.size),
            metered: 0,
            at_least: false,
        });
    }
    Plan { update, steps: steps.into_values().collect() }
}

fn action(locked: Option<&Locked>, seen: &Seen, update: bool) -> Action {
    match (locked, &seen.source) {
        (None, Some(to)) => Action::Add { to: to.clone() },
        (None, None) => Action::Absent,
        (Some(_), None) => Action::Vanished,
        (Some(locked), Some(to)) if to != locked.at_source() => {
            let from = locked.at_source().clone();
            let to = to.clone();
            if update { Action::Update { from, to } } else { Action::Moved { from, to } }
        }
        (Some(locked), Some(_)) if seen.destination.as_ref() != Some(&locked.digest) => {
            Action::Restore { to: locked.digest.clone(), instead: seen.destination.clone() }
        }
        (Some(_), Some(_)) => Action::Keep,
    }
}

impl Plan {
    /// The steps that `sync` would carry out.
    pub fn writes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.action.writes())
    }

    /// Which steps are not what they were when this plan was saved: a saved plan is carried out as it is or not at all.
    pub fn changes_since(&self, saved: &Plan) -> Vec<String> {
        let of = |plan: &Plan| -> BTreeMap<String, Action> {
            plan.writes()
                .map(|step| (format!("{}:{}", step.destination, step.tag), step.action.clone()))
                .collect()
        };
        let (now, then) = (of(self), of(saved));
        let mut changes: Vec<String> = then
            .iter()
            .filter_map(|(image, action)| match now.get(image) {
                None => Some(format!("{image}: nothing is to be done any more")),
                Some(current) if current != action => {
                    Some(format!("{image}: it moved since the plan was saved"))
                }
                Some(_) => None,
            })
            .collect();
        changes.extend(
            now.keys().filter(|image| !then.contains_key(*image)).map(|image| format!("{image}: it is new")),
        );
        changes
    }
}

#[cfg(test)]
mod tests;
