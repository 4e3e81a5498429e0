//! When a probe's answers become a verdict. Pure.

use k8s_openapi::api::core::v1::Probe;

use super::Kind;

/// Counts answers of one probe.
pub(super) struct Tally {
    to_pass: i32,
    to_fail: i32,
    last: Option<bool>,
    streak: i32,
    verdict: Option<bool>,
}

impl Tally {
    pub(super) fn new(kind: Kind, probe: &Probe) -> Self {
        let verdict = match kind {
            Kind::Startup => None,
            // Alive until it is shown not to be, ready when it is shown to be.
            Kind::Liveness => Some(true),
            Kind::Readiness => Some(false),
        };
        let to_pass = probe.success_threshold.unwrap_or(1).max(1);
        Self { to_pass, to_fail: probe.failure_threshold.unwrap_or(3).max(1), last: None, streak: 0, verdict }
    }

    /// Takes in an answer; the verdict, if it has changed.
    pub(super) fn note(&mut self, passed: bool) -> Option<bool> {
        self.streak = if self.last == Some(passed) { self.streak + 1 } else { 1 };
        self.last = Some(passed);
        let enough = if passed { self.to_pass } else { self.to_fail };
        if self.streak < enough || self.verdict == Some(passed) {
            return None;
        }
        self.verdict = Some(passed);
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(kind: Kind, to_pass: i32, to_fail: i32, answers: &str) -> String {
        let probe =
            Probe { success_threshold: Some(to_pass), failure_threshold: Some(to_fail), ..Probe::default() };
        let mut tally = Tally::new(kind, &probe);
        let mut note = |answer| match tally.note(answer == '+') {
            Some(true) => '+',
            Some(false) => '-',
            None => '.',
        };
        answers.chars().map(&mut note).collect()
    }

    #[test]
    fn thresholds_are_reached_in_a_row() {
        for (kind, to_pass, to_fail, answers, expected) in [
            (Kind::Readiness, 1, 3, "-+++---+", ".+....-+"),
            (Kind::Readiness, 2, 1, "+-++-", "...+-"),
            (Kind::Liveness, 1, 3, "++--+---", ".......-"),
            (Kind::Startup, 1, 3, "--+", "..+"),
            (Kind::Startup, 1, 2, "--", ".-"),
        ] {
            assert_eq!(verdicts(kind, to_pass, to_fail, answers), expected, "{kind:?} {answers}");
        }
    }
}
