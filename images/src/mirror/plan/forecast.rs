//! What sources will count of a plan, against what they said is left. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::declaration::Rule;
use super::super::lock::Locked;
use super::{Plan, Seen};
use crate::client::Quota;

/// What a registry will count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Forecast {
    /// The source registry.
    pub registry: String,
    /// Manifest reads the plan needs.
    pub needed: u32,
    /// It may be more.
    pub at_least: bool,
    /// What the registry said about its quota; `None` when it says nothing.
    pub quota: Option<Quota>,
}

impl Forecast {
    /// Whether the plan cannot be finished within the quota.
    pub fn exceeds(&self) -> bool {
        self.quota.as_ref().is_some_and(|quota| self.needed > quota.remaining)
    }
}

impl Plan {
    /// What each source registry will count, against what it said is left.
    pub fn forecast(&self, quotas: &BTreeMap<String, Quota>) -> Vec<Forecast> {
        let mut needed: BTreeMap<&str, (u32, bool)> = BTreeMap::new();
        for step in &self.steps {
            let (reads, at_least) =
                needed.entry(step.source.split('/').next().unwrap_or_default()).or_default();
            *reads += step.metered;
            *at_least |= step.at_least;
        }
        needed
            .into_iter()
            .map(|(registry, (needed, at_least))| Forecast {
                registry: registry.to_owned(),
                needed,
                at_least,
                quota: quotas.get(registry).cloned(),
            })
            .collect()
    }
}

/// What the last copy took; of an image that was never read, as much as can be known: itself, and the manifest of each platform it must have.
pub(super) fn reads(rule: &Rule, locked: Option<&Locked>, seen: &Seen) -> (u32, bool) {
    if let Some(reads) = locked.and_then(|locked| locked.reads) {
        return (reads, false);
    }
    let below = if seen.is_index { rule.platforms.len().max(1) } else { 0 };
    (u32::try_from(1 + below).unwrap_or(u32::MAX), seen.is_index || rule.referrers)
}
