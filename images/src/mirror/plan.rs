//! What a run would do, decided from what is declared, locked and seen on both sides. Pure.
//!
//! Seeing costs one HEAD at each side for every tag; what a step needs beyond that, it forecasts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::declaration::Rule;
use super::lock::{Lock, Locked};
use crate::digest::Digest;

/// What was seen of one selected tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its rule.
    pub rule: usize,
    /// The tag.
    pub tag: String,
    /// Its digest at the source; `None` when the source does not have it.
    pub source: Option<Digest>,
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

/// What a registry will count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Forecast {
    /// The source registry.
    pub registry: String,
    /// Manifest reads the plan needs.
    pub needed: u32,
    /// What the registry said is left; `None` when it says nothing.
    pub remaining: Option<u32>,
}

impl Forecast {
    /// Whether the plan cannot be finished within the quota.
    pub fn exceeds(&self) -> bool {
        self.remaining.is_some_and(|remaining| self.needed > remaining)
    }
}

/// Decides about every tag that was seen or is locked.
pub fn plan(rules: &[Rule], lock: &Lock, seen: &[Seen], update: bool) -> Plan {
    let mut steps: BTreeMap<(String, String), Step> = BTreeMap::new();
    for seen in seen {
        let Some(rule) = rules.get(seen.rule) else { continue };
        let locked = lock.get(&rule.destination, &seen.tag);
        let action = action(locked, seen, update);
        let metered = if action.writes() { reads(rule, locked) } else { 0 };
        let step = Step {
            source: rule.source.to_string(),
            destination: rule.destination.to_string(),
            tag: seen.tag.clone(),
            action,
            size: locked.map(|locked| locked.size),
            metered,
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
        });
    }
    Plan { update, steps: steps.into_values().collect() }
}

fn action(locked: Option<&Locked>, seen: &Seen, update: bool) -> Action {
    match (locked, &seen.source) {
        (None, Some(to)) => Action::Add { to: to.clone() },
        (_, None) => Action::Vanished,
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

/// The index, each platform's manifest, and each referrer's; what is not known yet is taken from what was there before.
fn reads(rule: &Rule, locked: Option<&Locked>) -> u32 {
    let platforms = match (rule.platforms.len(), locked) {
        (0, Some(locked)) => locked.platforms.len().max(1),
        (0, None) => 1,
        (wanted, _) => wanted,
    };
    let referrers = locked.filter(|_| rule.referrers).map_or(0, |locked| locked.referrers.len());
    u32::try_from(1 + platforms + referrers).unwrap_or(u32::MAX)
}

impl Plan {
    /// The steps that `sync` would carry out.
    pub fn writes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.action.writes())
    }

    /// What each source registry will count, against what it said is left.
    pub fn forecast(&self, remaining: &BTreeMap<String, u32>) -> Vec<Forecast> {
        let mut needed: BTreeMap<String, u32> = BTreeMap::new();
        for step in &self.steps {
            let registry = step.source.split('/').next().unwrap_or_default().to_owned();
            *needed.entry(registry).or_default() += step.metered;
        }
        needed
            .into_iter()
            .map(|(registry, needed)| Forecast {
                remaining: remaining.get(&registry).copied(),
                registry,
                needed,
            })
            .collect()
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
mod tests {
    use super::super::lock::tests::{digest, locked};
    use super::*;

    fn rules() -> Vec<Rule> {
        let text = r#"
            [[image]]
            source = "docker.io/library/golang"
            destination = "quay.io/own/golang"
            globs = ["*"]
            platforms = ["linux/amd64", "linux/arm64"]
        "#;
        super::super::declaration::parse("mirror.toml", text).unwrap().rules
    }

    fn seen(tag: &str, source: Option<char>, destination: Option<char>) -> Seen {
        Seen { rule: 0, tag: tag.into(), source: source.map(digest), destination: destination.map(digest) }
    }

    fn lock(entries: &[Locked]) -> Lock {
        let mut lock = Lock::empty();
        entries.iter().for_each(|entry| lock.insert(entry.clone()));
        lock
    }

    #[track_caller]
    fn check(
        entry: Option<Locked>,
        source: Option<char>,
        destination: Option<char>,
        update: bool,
        expected: Action,
    ) {
        let lock = lock(&entry.into_iter().collect::<Vec<_>>());
        let plan = plan(&rules(), &lock, &[seen("1", source, destination)], update);
        assert_eq!(plan.steps[0].action, expected);
    }

    #[test]
    fn a_locked_tag_moves_only_when_asked() {
        let entry = || Some(locked("1", 'a'));
        check(entry(), Some('a'), Some('a'), true, Action::Keep);
        check(entry(), Some('b'), Some('a'), false, Action::Moved { from: digest('a'), to: digest('b') });
        check(entry(), Some('b'), Some('a'), true, Action::Update { from: digest('a'), to: digest('b') });
    }

    #[test]
    fn a_tag_that_is_new_gone_or_damaged_is_seen() {
        let entry = || Some(locked("1", 'a'));
        check(None, Some('a'), None, false, Action::Add { to: digest('a') });
        check(entry(), Some('a'), None, false, Action::Restore { to: digest('a'), instead: None });
        check(
            entry(),
            Some('a'),
            Some('f'),
            false,
            Action::Restore { to: digest('a'), instead: Some(digest('f')) },
        );
        check(entry(), None, Some('a'), true, Action::Vanished);
    }

    #[test]
    fn a_trimmed_image_is_compared_with_what_was_trimmed() {
        let entry = Locked { upstream: Some(digest('c')), ..locked("1", 'a') };
        check(Some(entry), Some('c'), Some('a'), true, Action::Keep);
    }

    #[test]
    fn what_no_rule_takes_stays_and_is_said() {
        let plan = plan(&rules(), &lock(&[locked("old", 'a')]), &[], true);
        assert_eq!(plan.steps[0].action, Action::Unselected);
        assert_eq!(plan.writes().count(), 0);
    }

    #[test]
    fn metered_reads_are_forecast_and_compared_with_the_quota() {
        let entries = [locked("1", 'a'), locked("2", 'a')];
        let seen =
            [seen("1", Some('a'), Some('a')), seen("2", Some('b'), Some('a')), seen("3", Some('c'), None)];
        let plan = plan(&rules(), &lock(&entries), &seen, true);
        let forecast = plan.forecast(&[("docker.io".to_owned(), 5)].into());
        assert_eq!(forecast.len(), 1);
        assert_eq!((forecast[0].needed, forecast[0].exceeds()), (6, true));
    }

    #[test]
    fn a_saved_plan_that_no_longer_holds_says_what_moved() {
        let at = |digit: char| plan(&rules(), &Lock::empty(), &[seen("1", Some(digit), None)], false);
        assert!(at('a').changes_since(&at('a')).is_empty());
        assert_eq!(
            at('b').changes_since(&at('a')),
            ["quay.io/own/golang:1: it moved since the plan was saved"]
        );
        assert_eq!(
            Plan::default().changes_since(&at('a')),
            ["quay.io/own/golang:1: nothing is to be done any more"]
        );
        assert_eq!(at('a').changes_since(&Plan::default()), ["quay.io/own/golang:1: it is new"]);
    }
}
