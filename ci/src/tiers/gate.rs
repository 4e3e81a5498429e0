//! Whether a tier is passed, and whether one may begin. Pure.

use std::collections::BTreeMap;

use crate::plan::PlannedTier;
use crate::report::Counts;

/// How a tier ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its gate is passed.
    Passed,
    /// It is not.
    Failed,
    /// Something it needs did not pass.
    Blocked,
    /// This machine lacks what it takes.
    Skipped,
    /// It never began, or never ended.
    NotRun,
}

/// Why the gate is not passed. A test that was not run is never forgiven: nothing is known about it.
pub fn refusal(counts: &Counts, threshold: u8) -> Option<String> {
    let Counts { passed, flaky, failed, skipped, not_run } = *counts;
    let ran = passed + flaky + failed;
    let total = ran + skipped + not_run;
    if ran + not_run == 0 {
        return Some(match skipped {
            0 => "no test was found".to_owned(),
            _ => format!("all {skipped} tests were skipped"),
        });
    }
    if not_run > 0 {
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        return Some(format!("{not_run} of {total} tests were not run{failed}"));
    }
    if (passed + flaky) * 100 >= ran * usize::from(threshold) {
        return None;
    }
    let demanded = if threshold == 100 { String::new() } else { format!(", {threshold} % have to pass") };
    Some(format!("{failed} of {ran} tests failed{demanded}"))
}

/// Why a tier may not begin.
pub fn obstacle(tier: &PlannedTier, states: &BTreeMap<String, State>) -> Option<String> {
    let reasons: Vec<String> = tier
        .needs
        .iter()
        .filter_map(|need| match states.get(need) {
            Some(State::Passed) => None,
            Some(State::Failed) => Some(format!("`{need}` failed")),
            Some(State::Blocked) => Some(format!("`{need}` is blocked")),
            Some(State::Skipped) => Some(format!("`{need}` was skipped")),
            Some(State::NotRun) | None => Some(format!("`{need}` was not run")),
        })
        .collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::spec::Work;

    fn counts(passed: usize, flaky: usize, failed: usize, skipped: usize, not_run: usize) -> Counts {
        Counts { passed, flaky, failed, skipped, not_run }
    }

    #[test]
    fn a_gate_is_passed_by_numbers_and_by_nothing_left_unknown() {
        let check = |counts: Counts, threshold: u8, expected: Option<&str>| {
            assert_eq!(refusal(&counts, threshold).as_deref(), expected, "{counts:?}");
        };
        check(counts(10, 0, 0, 0, 0), 100, None);
        check(counts(9, 1, 0, 3, 0), 100, None);
        check(counts(9, 0, 1, 0, 0), 100, Some("1 of 10 tests failed"));
        check(counts(9, 0, 1, 0, 0), 90, None);
        check(counts(8, 0, 2, 5, 0), 90, Some("2 of 10 tests failed, 90 % have to pass"));
        check(counts(99, 0, 0, 0, 1), 50, Some("1 of 100 tests were not run"));
        check(counts(97, 0, 2, 0, 1), 50, Some("1 of 100 tests were not run, 2 failed"));
        check(counts(0, 0, 0, 0, 0), 0, Some("no test was found"));
        check(counts(0, 0, 0, 4, 0), 0, Some("all 4 tests were skipped"));
    }

    #[test]
    fn a_tier_waits_for_all_it_needs() {
        let tier = PlannedTier {
            name: "runtime".to_owned(),
            title: "Runtime".to_owned(),
            work: Work::Architecture,
            needs: vec!["unit".to_owned(), "code".to_owned()],
            deadline: Duration::ZERO,
            threshold: 100,
            cluster: false,
            skip: Vec::new(),
            skipped: None,
        };
        let check = |unit: State, code: Option<State>, expected: Option<&str>| {
            let states = [Some(("unit".to_owned(), unit)), code.map(|code| ("code".to_owned(), code))];
            let states = states.into_iter().flatten().collect();
            assert_eq!(obstacle(&tier, &states).as_deref(), expected);
        };
        check(State::Passed, Some(State::Passed), None);
        check(State::Failed, Some(State::Passed), Some("`unit` failed"));
        check(State::Blocked, Some(State::NotRun), Some("`unit` is blocked, `code` was not run"));
        check(State::Passed, None, Some("`code` was not run"));
    }
}
