//! What a run would do, decided from what is declared, locked and seen on both sides. Pure.
//!
//! Seeing costs one HEAD at each side for every tag; what a step needs beyond that, it forecasts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::declaration::Rule;
use super::lock::{Lock, Locked};
use crate::client::Quota;
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

/// What the last copy took; of an image that was never read, as much as can be known: itself, and the manifest of each platform it must have.
fn reads(rule: &Rule, locked: Option<&Locked>, seen: &Seen) -> (u32, bool) {
    if let Some(reads) = locked.and_then(|locked| locked.reads) {
        return (reads, false);
    }
    let below = if seen.is_index { rule.platforms.len().max(1) } else { 0 };
    (u32::try_from(1 + below).unwrap_or(u32::MAX), seen.is_index || rule.referrers)
}

impl Plan {
    /// The steps that `sync` would carry out.
    pub fn writes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.action.writes())
    }

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
        Seen {
            rule: 0,
            tag: tag.into(),
            source: source.map(digest),
            is_index: true,
            destination: destination.map(digest),
        }
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
        check(None, None, None, true, Action::Absent);
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

    /// What one tag takes: `read` is what its last copy took, for one that is locked.
    #[track_caller]
    fn takes(rule: &str, is_index: bool, read: Option<Option<u32>>, expected: (u32, bool)) {
        let text = format!(
            "[[image]]\nsource = \"docker.io/library/golang\"\ndestination = \"quay.io/own/golang\"\n{rule}\n"
        );
        let rules = super::super::declaration::parse("mirror.toml", &text).unwrap().rules;
        let entries: Vec<Locked> =
            read.map(|reads| Locked { reads, ..locked("1", 'a') }).into_iter().collect();
        let seen = Seen { is_index, ..seen("1", Some('b'), None) };
        let plan = plan(&rules, &lock(&entries), &[seen], true);
        assert_eq!((plan.steps[0].metered, plan.steps[0].at_least), expected, "{rule}");
    }

    #[test]
    fn what_an_image_takes_is_what_it_took_or_what_its_rule_wants_of_it() {
        let two = "platforms = [\"linux/amd64\", \"linux/arm64\"]";
        for rule in ["tags = [\"1\"]", "globs = [\"*\"]", "versions = \"1\"", "versions = \"1\"\nnewest = 1"]
        {
            takes(rule, true, None, (2, true));
            takes(rule, false, None, (1, true));
            takes(&format!("{rule}\n{two}"), true, None, (3, true));
            takes(&format!("{rule}\n{two}"), false, None, (1, true));
            takes(&format!("{rule}\nreferrers = false"), false, None, (1, false));
            takes(&format!("{rule}\n{two}"), true, Some(Some(7)), (7, false));
            takes(&format!("{rule}\n{two}"), true, Some(None), (3, true));
            takes(&format!("{rule}\nminimum-age = \"3d\""), true, None, (2, true));
        }
    }

    #[test]
    fn metered_reads_are_forecast_and_compared_with_the_quota() {
        let entries = [locked("1", 'a'), Locked { reads: Some(4), ..locked("2", 'a') }];
        let seen =
            [seen("1", Some('a'), Some('a')), seen("2", Some('b'), Some('a')), seen("3", Some('c'), None)];
        let plan = plan(&rules(), &lock(&entries), &seen, true);
        let quota = |remaining| Quota { remaining, limit: None, window: None, counted_for: None };
        for (remaining, exceeds) in [(6, true), (7, false)] {
            let forecast = plan.forecast(&[("docker.io".to_owned(), quota(remaining))].into());
            assert_eq!(forecast.len(), 1);
            assert_eq!((forecast[0].needed, forecast[0].at_least, forecast[0].exceeds()), (7, true, exceeds));
        }
        // What is said by another registry is no limit here.
        assert!(!plan.forecast(&[("ghcr.io".to_owned(), quota(0))].into())[0].exceeds());
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
