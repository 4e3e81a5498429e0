//! What went wrong in a run, each with its cause and what helps, and what to do next.

use serde::Serialize;

use super::{Report, State, text};
use crate::event::{Outcome, Problem, Stage, TestId, TestState};

/// Something that keeps a run from passing, or should be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Issue {
    /// What, in a few words.
    pub title: String,
    /// Whether the run cannot pass with it.
    pub blocking: bool,
    /// What was seen.
    pub symptoms: String,
    /// Why, most likely first.
    pub causes: Vec<String>,
    /// The commands or edits that help.
    pub fixes: Vec<String>,
}

impl Report {
    /// Everything that is wrong, what came first first.
    pub fn issues(&self) -> Vec<Issue> {
        let mut issues = Vec::new();
        for stage in &self.stages {
            // When components were diagnosed, that is what the stage would say as well.
            let explained = stage.stage == Stage::Deploy && !self.diagnoses.is_empty();
            if let Some(problem) = stage.problem.as_ref().filter(|_| !explained) {
                issues.push(of_problem(format!("Stage `{}` failed", stage.stage), problem));
            }
        }
        issues.extend(self.diagnoses.iter().map(|diagnosis| {
            Issue {
                title: format!("Component `{}` is not ready", diagnosis.component),
                blocking: true,
                symptoms: diagnosis.chain.join("\n"),
                causes: diagnosis
                    .causes
                    .iter()
                    .map(|cause| match cause.evidence.first() {
                        Some(evidence) => format!("{} (seen: {evidence})", cause.sentence),
                        None => cause.sentence.clone(),
                    })
                    .collect(),
                fixes: diagnosis.causes.iter().map(|cause| cause.hint.clone()).collect(),
            }
        }));
        let pipeline = self.run.as_ref().map_or("", |run| run.pipeline.as_str());
        for tier in &self.tiers {
            let tests = tier.tests.values();
            let before = issues.len();
            issues.extend(tests.filter_map(|test| {
                let (blocking, word) = match test.state {
                    TestState::Failed => (true, "failed"),
                    TestState::Flaky => (false, "passed only when it was tried again"),
                    TestState::Passed | TestState::Skipped | TestState::NotRun => return None,
                };
                let failed = test.attempts.iter().rfind(|attempt| attempt.outcome == Outcome::Failed);
                Some(Issue {
                    title: format!("Test `{}` {word}", test.test),
                    blocking,
                    symptoms: failed.and_then(|attempt| attempt.output.clone()).unwrap_or_default(),
                    causes: Vec::new(),
                    fixes: vec![match tier.on_cluster {
                        true => {
                            format!("run its tier alone: `cargo xtask ci {pipeline} --tier {}`", tier.name)
                        }
                        false => format!("run it alone: `{}`", command(&test.test)),
                    }],
                })
            }));
            // When a stage failed for the same reason, that is what the tier would say as well; when tests failed, too, unless
            // something else went wrong besides.
            let by_stage =
                self.stages.iter().any(|stage| stage.problem.is_some() && stage.problem == tier.problem);
            let by_tests = issues[before..].iter().any(|issue| issue.blocking);
            let unsaid = |problem: &&Problem| !by_stage && (!by_tests || !problem.causes.is_empty());
            if let Some(problem) = tier.problem.as_ref().filter(unsaid) {
                issues.push(of_problem(format!("{} failed", tier.title), problem));
            }
        }
        issues.extend(self.coverage.iter().filter(|covered| !covered.holds()).map(|covered| {
            Issue {
                title: format!("{} is not covered: {}", covered.id, covered.title),
                blocking: true,
                symptoms: covered
                    .tests
                    .iter()
                    .map(|test| format!("{}: {}", test.test, test.state))
                    .collect::<Vec<_>>()
                    .join("\n"),
                causes: match covered.tests.is_empty() {
                    true => vec!["it has no test".to_string()],
                    false => Vec::new(),
                },
                fixes: Vec::new(),
            }
        }));
        issues.extend(self.warnings.iter().map(|warning| Issue {
            title: warning.message.clone(),
            fixes: warning.hint.iter().cloned().collect(),
            ..Issue::default()
        }));
        issues
    }

    /// What to do next, as sentences without full stop; empty when there is nothing to do.
    pub fn next_steps(&self) -> Vec<String> {
        let mut steps: Vec<String> = Vec::new();
        for issue in self.issues() {
            // The most likely fix; the others are with the issue.
            if let Some(fix) = issue.fixes.first() {
                steps.push(format!("{}: {fix}", issue.title));
            }
        }
        let held_up = self.tiers.iter().filter(|tier| matches!(tier.state, State::Blocked | State::NotRun));
        steps.extend(held_up.map(|tier| {
            let reason = tier.reason.as_deref().unwrap_or("the run ended before its turn");
            format!("Run {} again, which was {}: {reason}", tier.title, tier.state.word())
        }));
        steps.extend(
            self.left_out().iter().map(|left_out| format!("Run again with what was left out: {left_out}")),
        );
        let mut unproven: Vec<String> = self
            .architecture
            .iter()
            .filter_map(|row| match &row.boot {
                images::proof::Boot::NotRun { reason } => Some(format!(
                    "Start the programs for {} once: they were not run ({reason})",
                    row.platform
                )),
                images::proof::Boot::Native { .. } | images::proof::Boot::Emulated { .. } => None,
            })
            .collect();
        unproven.dedup();
        steps.extend(unproven);
        steps
    }
}

fn of_problem(title: String, problem: &Problem) -> Issue {
    let Problem { message, causes, hint, output } = problem;
    let symptoms = match output {
        Some(output) => format!("{message}\n{}", text::tail(output, 60)),
        None => message.clone(),
    };
    Issue { title, blocking: true, symptoms, causes: causes.clone(), fixes: hint.iter().cloned().collect() }
}

/// The command that runs one test.
fn command(test: &TestId) -> String {
    let TestId { suite, name } = test;
    let target = match suite.split_once("::") {
        None => format!("-p {suite} --lib"),
        Some((package, target)) => match target.strip_prefix("bin/") {
            Some(bin) => format!("-p {package} --bin {bin}"),
            None => format!("-p {package} --test {target}"),
        },
    };
    format!("cargo test {target} -- --exact {name}")
}
