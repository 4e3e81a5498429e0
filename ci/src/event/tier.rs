//! What happens in a tier, test by test.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Problem, seconds};

/// What happens in a tier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum TierEvent {
    /// It began.
    Started {
        /// Its name.
        tier: String,
    },
    /// A suite says which tests it has. Those that do not finish are not run.
    Found {
        /// The tier.
        tier: String,
        /// The suite, as in "images" or "images::it".
        suite: String,
        /// Names of its tests.
        tests: Vec<String>,
    },
    /// A test ended; a test that is tried again ends once per attempt.
    TestFinished {
        /// The tier.
        tier: String,
        /// The test.
        test: TestId,
        /// How it ended.
        outcome: Outcome,
        /// How long it took, when the runner can tell: tests that share a process do not say when they began.
        #[serde(
            default,
            with = "seconds::optional",
            rename = "seconds",
            skip_serializing_if = "Option::is_none"
        )]
        took: Option<Duration>,
        /// What it printed, when it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
    },
    /// Its gate is passed.
    Passed {
        /// The tier.
        tier: String,
        /// How long it took.
        #[serde(with = "seconds", rename = "seconds")]
        took: Duration,
    },
    /// Its gate is not passed.
    Failed {
        /// The tier.
        tier: String,
        /// How long it took.
        #[serde(with = "seconds", rename = "seconds")]
        took: Duration,
        /// Why.
        problem: Problem,
    },
    /// It did not begin because something it needs did not pass.
    Blocked {
        /// The tier.
        tier: String,
        /// As in "`unit` failed".
        reason: String,
    },
    /// It was never to begin: this machine lacks what it takes.
    Skipped {
        /// The tier.
        tier: String,
        /// As in "`postgres` is not installed".
        reason: String,
    },
    /// It did not begin for another reason, as when a run is interrupted.
    NotRun {
        /// The tier.
        tier: String,
        /// Why.
        reason: String,
    },
}

/// A test's name in the whole workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TestId {
    /// The test binary: a crate's name for its own tests, `crate::target` for those in `tests/`, `crate::bin/target` for those of a binary.
    pub suite: String,
    /// The test's path in it.
    pub name: String,
}

impl fmt::Display for TestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.suite, self.name)
    }
}

/// How an attempt at a test ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Outcome {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It chose not to run.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// How a test ended after all its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestState {
    /// Every attempt passed.
    Passed,
    /// It passed after it had failed.
    Flaky,
    /// Its last attempt failed.
    Failed,
    /// It chose not to run.
    Skipped,
    /// It exists and did not end.
    NotRun,
}

impl TestState {
    /// Whether what it shows holds.
    pub fn passed(self) -> bool {
        matches!(self, TestState::Passed | TestState::Flaky)
    }
}

impl fmt::Display for TestState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            TestState::Passed => "passed",
            TestState::Flaky => "flaky",
            TestState::Failed => "failed",
            TestState::Skipped => "skipped",
            TestState::NotRun => "not run",
        })
    }
}
