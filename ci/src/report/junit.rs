//! `junit.xml`, for whatever CI system shows test results. Tests that were tried again carry their earlier attempts; what was
//! blocked or not run is skipped with its reason, never a pass.

use std::io;

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestRerun, TestSuite};

use super::{Attempt, Report, State, TestReport, TierReport};
use crate::event::{Outcome, TestState};

/// The report as JUnit XML.
pub fn junit(report: &Report) -> io::Result<String> {
    let name = report.run.as_ref().map_or("run", |run| run.pipeline.as_str());
    let mut document = Document::new(name);
    document.set_time(report.took());
    for tier in &report.tiers {
        if tier.tests.is_empty() {
            let mut suite = TestSuite::new(tier.name.as_str());
            suite.add_test_case(tier_case(tier));
            document.add_test_suite(suite);
            continue;
        }
        // One suite for each test binary, in the order the binaries were found.
        let mut suites: Vec<TestSuite> = Vec::new();
        for test in tier.tests.values() {
            let name = format!("{}: {}", tier.name, test.test.suite);
            let position = suites.iter().position(|suite| suite.name == name).unwrap_or_else(|| {
                suites.push(TestSuite::new(name));
                suites.len() - 1
            });
            suites[position].add_test_case(test_case(tier, test));
        }
        document.add_test_suites(suites);
    }
    document.to_string().map_err(io::Error::other)
}

/// A tier that has no tests, or never came to them, is a case of its own.
fn tier_case(tier: &TierReport) -> TestCase {
    let status = match tier.state {
        State::Passed | State::Reused => TestCaseStatus::success(),
        State::Failed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            if let Some(problem) = &tier.problem {
                status.set_message(problem.message.as_str());
                let details = problem.causes.iter().chain(&problem.output).chain(&problem.hint);
                status.set_description(details.map(String::as_str).collect::<Vec<_>>().join("\n"));
            }
            status
        }
        State::Blocked | State::Skipped | State::NotRun | State::Waiting | State::Running => {
            let reason = tier.reason.as_deref().unwrap_or("the run ended before its turn");
            skipped(&format!("{}: {reason}", tier.state.word()))
        }
    };
    let mut case = TestCase::new(tier.title.as_str(), status);
    case.set_classname(tier.name.as_str());
    if let Some(took) = tier.span.took {
        case.set_time(took);
    }
    case
}

fn test_case(tier: &TierReport, test: &TestReport) -> TestCase {
    let status = match test.state {
        TestState::Passed => TestCaseStatus::success(),
        TestState::Flaky => {
            let mut status = TestCaseStatus::success();
            let failed = test.attempts.iter().filter(|attempt| attempt.outcome == Outcome::Failed);
            status.add_reruns(failed.map(rerun));
            status
        }
        TestState::Failed => failed(&test.attempts),
        TestState::Skipped => match test.attempts.last().map(|attempt| &attempt.outcome) {
            Some(Outcome::Skipped { reason }) => skipped(reason),
            _ => TestCaseStatus::skipped(),
        },
        TestState::NotRun => match &tier.reason {
            Some(reason) => skipped(&format!("{}: {reason}", tier.state.word())),
            None => skipped("not run: the tier ended before its turn"),
        },
    };
    let mut case = TestCase::new(test.test.name.as_str(), status);
    case.set_classname(test.test.suite.as_str());
    if let Some(took) = test.attempts.last().and_then(|attempt| attempt.took) {
        case.set_time(took);
    }
    case
}

fn skipped(reason: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(reason);
    status
}

/// The first attempt is the failure, those after it are its reruns.
fn failed(attempts: &[Attempt]) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    let mut attempts = attempts.iter();
    if let Some(first) = attempts.next() {
        let output = first.output.as_deref().unwrap_or_default();
        status.set_message(headline(output));
        status.set_description(output);
    }
    status.add_reruns(attempts.map(rerun));
    status
}

fn rerun(attempt: &Attempt) -> TestRerun {
    let output = attempt.output.as_deref().unwrap_or_default();
    let mut rerun = TestRerun::new(NonSuccessKind::Failure);
    rerun.set_message(headline(output));
    rerun.set_description(output);
    if let Some(took) = attempt.took {
        rerun.set_time(took);
    }
    rerun
}

/// The line of a failing test's output that says most: what its panic or error says.
fn headline(output: &str) -> &str {
    let mut lines = output.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.clone().next().unwrap_or("it failed without a word");
    let error = lines.clone().find(|line| line.starts_with("Error:") || line.starts_with("assertion"));
    // "thread '…' panicked at file:line:" is followed by the message.
    let panicked = lines.find(|line| line.contains("panicked at")).and_then(|_| lines.next());
    error.or(panicked).unwrap_or(first)
}
