//! Which business requirements have a passing test. The declaration is `ci/requirements.toml`.

use serde::{Deserialize, Serialize};

use crate::event::TestId;

/// A requirement and what the tests say about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// Its identifier.
    pub id: String,
    /// Its title, which pins its meaning: identifiers were reused.
    pub title: String,
    /// Its tests and how each ended.
    pub tests: Vec<CoveringTest>,
}

/// A test that covers a requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoveringTest {
    /// The test.
    pub test: TestId,
    /// Whether it passed.
    pub passed: bool,
}

impl Covered {
    /// A requirement holds when it has tests and all of them passed.
    pub fn holds(&self) -> bool {
        !self.tests.is_empty() && self.tests.iter().all(|test| test.passed)
    }
}
