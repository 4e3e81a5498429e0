//! A tier of tests: its binaries side by side, and its gate.

use std::collections::BTreeMap;

use futures::StreamExt;

use super::gate;
use super::suite::{self, Ran, Settings};
use crate::compile::TestBinary;
use crate::event::{Problem, TestId, TestState};
use crate::exit::{Failure, Reason};
use crate::report::Counts;

/// Every test that is known and how it ended.
pub(super) type Results = BTreeMap<TestId, TestState>;

/// Runs so many binaries at once; what came out, and whether that passes the gate.
pub(super) async fn run(
    settings: &Settings<'_>,
    binaries: &[TestBinary],
    threshold: u8,
    at_once: usize,
) -> (Results, Result<(), Failure>) {
    let suites = binaries.iter().map(|binary| suite::run(settings, binary));
    let all: Vec<Ran> = futures::stream::iter(suites).buffer_unordered(at_once).collect().await;
    let mut tests = Results::new();
    let mut problem = Problem::default();
    for Ran { results, trouble, output } in all {
        tests.extend(results);
        problem.causes.extend(trouble);
        if problem.output.is_none() {
            problem.output = output;
        }
    }
    problem.message = match gate::refusal(&tests.values().copied().collect::<Counts>(), threshold) {
        Some(refusal) => refusal,
        None if problem.causes.is_empty() => return (tests, Ok(())),
        None => "a test binary did not end well".to_owned(),
    };
    problem.hint = Some(format!("what the tests printed is in `{}`", settings.logs.display()));
    (tests, Err(Failure { reason: Reason::Gate, problem }))
}
