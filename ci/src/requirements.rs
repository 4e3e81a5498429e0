//! Which business requirements have passing tests. The declaration is `ci/requirements.toml`; comparing it with what ran is pure.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use mistake::Mistake;
use mistake::did_you_mean;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::event::{TestId, TestState};

/// Where the declaration is, from the workspace's root.
pub const FILE: &str = "ci/requirements.toml";

/// The declaration.
#[derive(Clone, Debug)]
pub struct Requirements {
    text: String,
    requirements: Vec<Requirement>,
}

/// Something the product has to do.
#[derive(Clone, Debug)]
struct Requirement {
    id: String,
    title: String,
    tests: Vec<Spanned<String>>,
}

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
    /// How it ended.
    pub state: TestState,
}

impl Covered {
    /// A requirement holds when it has tests and each of them passed.
    pub fn holds(&self) -> bool {
        !self.tests.is_empty() && self.tests.iter().all(|test| test.state.passed())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    requirement: BTreeMap<String, Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Section {
    title: String,
    tests: Vec<Spanned<String>>,
}

impl Requirements {
    /// Reads the declaration.
    pub fn load(root: &Path) -> Result<Requirements, Mistake> {
        let text = fs::read_to_string(root.join(FILE))
            .map_err(|error| Mistake::whole_file(Path::new(FILE), format!("it cannot be read: {error}")))?;
        Requirements::parse(text)
    }

    fn parse(text: String) -> Result<Requirements, Mistake> {
        let file: File =
            toml::from_str(&text).map_err(|error| Mistake::from_toml(Path::new(FILE), &text, &error))?;
        let mut requirements = Vec::new();
        for (id, Section { title, tests }) in file.requirement {
            if let Some(test) = tests.iter().find(|test| test_id(test.get_ref()).is_none()) {
                let message = format!("`{}` does not name a test", test.get_ref());
                return Err(Mistake::at_bytes(Path::new(FILE), &text, test.span(), message)
                    .hint("write its binary and its path, as in \"crate::target module::test\""));
            }
            requirements.push(Requirement { id, title, tests });
        }
        Ok(Requirements { text, requirements })
    }

    /// What is written but does not exist: each test that is none of `known`, at its line.
    pub fn unknown_tests(&self, known: &[TestId]) -> Vec<Mistake> {
        let names: Vec<String> = known.iter().map(TestId::to_string).collect();
        let written = self.requirements.iter().flat_map(|requirement| &requirement.tests);
        let unknown = written.filter(|test| !names.contains(test.get_ref()));
        let mistake = |test: &Spanned<String>| {
            let message = format!("there is no test `{}`", test.get_ref());
            Mistake::at_bytes(Path::new(FILE), &self.text, test.span(), message)
                .maybe_hint(did_you_mean(test.get_ref(), names.iter().map(String::as_str)))
        };
        unknown.map(mistake).collect()
    }

    /// Every requirement with how its tests ended.
    pub fn coverage(&self, results: &BTreeMap<TestId, TestState>) -> Vec<Covered> {
        let covering = |test: &Spanned<String>| {
            let test = test_id(test.get_ref())?;
            let state = results.get(&test).copied().unwrap_or(TestState::NotRun);
            Some(CoveringTest { test, state })
        };
        let covered = |requirement: &Requirement| Covered {
            id: requirement.id.clone(),
            title: requirement.title.clone(),
            tests: requirement.tests.iter().filter_map(covering).collect(),
        };
        self.requirements.iter().map(covered).collect()
    }
}

fn test_id(text: &str) -> Option<TestId> {
    let (suite, name) = text.split_once(' ')?;
    let is_word = |word: &str| !word.is_empty() && !word.contains(char::is_whitespace);
    (is_word(suite) && is_word(name)).then(|| TestId { suite: suite.to_string(), name: name.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARATION: &str = r#"
[requirement.R-2]
title = "Tea is hot"
tests = ["pot::it pours_tea", "pot boil::water_boils"]

[requirement.R-1]
title = "Cups are clean"
tests = []
"#;

    fn id(text: &str) -> TestId {
        test_id(text).unwrap()
    }

    /// Which requirements hold when the tests ended like this.
    fn check(results: &[(&str, TestState)], expected: &[(&str, bool)]) {
        let requirements = Requirements::parse(DECLARATION.to_string()).unwrap();
        let results = results.iter().map(|(test, state)| (id(test), *state)).collect();
        let coverage = requirements.coverage(&results);
        let found: Vec<(&str, bool)> =
            coverage.iter().map(|covered| (covered.id.as_str(), covered.holds())).collect();
        assert_eq!(found, expected, "{results:?}");
    }

    #[test]
    fn a_requirement_holds_when_it_has_tests_and_all_of_them_passed() {
        use TestState::*;
        let (pours, boils) = ("pot::it pours_tea", "pot boil::water_boils");
        check(&[(pours, Passed), (boils, Passed)], &[("R-1", false), ("R-2", true)]);
        check(&[(pours, Passed), (boils, Flaky)], &[("R-1", false), ("R-2", true)]);
        check(&[(pours, Passed), (boils, Failed)], &[("R-1", false), ("R-2", false)]);
        check(&[(pours, Passed), (boils, Skipped)], &[("R-1", false), ("R-2", false)]);
        check(&[(pours, Passed)], &[("R-1", false), ("R-2", false)]);
    }

    #[test]
    fn a_test_that_does_not_exist_is_an_error_at_its_line() {
        let requirements = Requirements::parse(DECLARATION.to_string()).unwrap();
        let known = [id("pot boil::water_boils"), id("pot::it pour_tea")];
        let mistakes = requirements.unknown_tests(&known);
        insta::assert_snapshot!(mistakes.first().unwrap(), @r#"
        ci/requirements.toml:4:10: there is no test `pot::it pours_tea`
          |
        4 | tests = ["pot::it pours_tea", "pot boil::water_boils"]
          |          ^^^^^^^^^^^^^^^^^^^
          = hint: did you mean `pot::it pour_tea`?
        "#);
        assert_eq!(mistakes.len(), 1);
    }

    #[test]
    fn what_cannot_be_a_test_is_an_error_at_its_line() {
        let mistake = Requirements::parse(DECLARATION.replace("pot boil", "pot")).unwrap_err();
        insta::assert_snapshot!(mistake, @r#"
        ci/requirements.toml:4:31: `pot::water_boils` does not name a test
          |
        4 | tests = ["pot::it pours_tea", "pot::water_boils"]
          |                               ^^^^^^^^^^^^^^^^^^
          = hint: write its binary and its path, as in "crate::target module::test"
        "#);
        let mistake = Requirements::parse(DECLARATION.replace("title", "titel")).unwrap_err();
        insta::assert_snapshot!(mistake, @r#"
        ci/requirements.toml:7:1: unknown field `titel`, expected `title` or `tests`
          |
        7 | titel = "Cups are clean"
          | ^^^^^
          = hint: did you mean `title`?
        "#);
    }

    #[test]
    fn the_declaration_of_the_workspace_is_sound() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let requirements = Requirements::load(&root).unwrap_or_else(|mistake| panic!("{mistake}"));
        assert!(requirements.requirements.iter().all(|requirement| !requirement.tests.is_empty()));
    }
}
