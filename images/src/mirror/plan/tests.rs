//! What is decided about each tag.

use super::super::lock::tests::{digest, locked};
use super::*;
use crate::client::Quota;

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
    let entries: Vec<Locked> = read.map(|reads| Locked { reads, ..locked("1", 'a') }).into_iter().collect();
    let seen = Seen { is_index, ..seen("1", Some('b'), None) };
    let plan = plan(&rules, &lock(&entries), &[seen], true);
    assert_eq!((plan.steps[0].metered, plan.steps[0].at_least), expected, "{rule}");
}

#[test]
fn what_an_image_takes_is_what_it_took_or_what_its_rule_wants_of_it() {
    let two = "platforms = [\"linux/amd64\", \"linux/arm64\"]";
    for rule in ["tags = [\"1\"]", "globs = [\"*\"]", "versions = \"1\"", "versions = \"1\"\nnewest = 1"] {
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
    let seen = [seen("1", Some('a'), Some('a')), seen("2", Some('b'), Some('a')), seen("3", Some('c'), None)];
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
    assert_eq!(at('b').changes_since(&at('a')), ["quay.io/own/golang:1: it moved since the plan was saved"]);
    assert_eq!(
        Plan::default().changes_since(&at('a')),
        ["quay.io/own/golang:1: nothing is to be done any more"]
    );
    assert_eq!(at('a').changes_since(&Plan::default()), ["quay.io/own/golang:1: it is new"]);
}
