//! What a test binary of Rust prints, read line by line: which tests it has, how each ended, and what the failed ones said.
//!
//! Only the format for people is stable, so that is what is read. Programs that tests start may write to the same pipe; a line counts only
//! when it names a test that the binary has.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::Outcome;

/// The names in the output of `--list --format terse`.
pub fn listed(output: &str) -> Vec<String> {
    output.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// A test that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub name: String,
    /// How.
    pub outcome: Outcome,
}

/// Reads the output of one run of a binary.
#[derive(Debug, Default)]
pub struct Reader {
    unfinished: BTreeSet<String>,
    failed: BTreeMap<String, String>,
    /// Named with an outcome still to come: with one thread the two can be lines apart.
    begun: Option<String>,
    /// The failed test whose output is being read.
    section: Option<String>,
}

/// What is known when the binary has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rest {
    /// Failed tests and what they printed.
    pub failed: BTreeMap<String, String>,
    /// Tests that never ended.
    pub unfinished: Vec<String>,
}

impl Reader {
    /// For a binary that has these tests.
    pub fn new(tests: impl IntoIterator<Item = String>) -> Reader {
        Reader { unfinished: tests.into_iter().collect(), ..Reader::default() }
    }

    /// Takes in a line; gives the test that ended with it, unless it failed: those come with their output, in [`Reader::finish`].
    pub fn line(&mut self, line: &str) -> Option<Ended> {
        if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
            && self.failed.contains_key(name)
        {
            self.section = Some(name.to_owned());
            return None;
        }
        if let Some(name) = &self.section {
            // The list of names that follows the last section begins like this.
            if line == "failures:" {
                self.section = None;
            } else if let Some(output) = self.failed.get_mut(name) {
                output.push_str(line);
                output.push('\n');
            }
            return None;
        }
        let (name, result) = match line.rsplit_once(" ... ") {
            Some((before, result)) => (self.named(before)?, result),
            None => (self.begun.take()?, line),
        };
        let outcome = match result {
            "ok" => Outcome::Passed,
            "FAILED" => Outcome::Failed,
            "ignored" => Outcome::Skipped { reason: "ignored".to_owned() },
            _ => match result.strip_prefix("ignored, ") {
                Some(reason) => Outcome::Skipped { reason: reason.to_owned() },
                None => {
                    self.begun = Some(name);
                    return None;
                }
            },
        };
        self.unfinished.remove(&name);
        if outcome == Outcome::Failed {
            self.failed.insert(name, String::new());
            return None;
        }
        Some(Ended { name, outcome })
    }

    /// The binary has ended.
    pub fn finish(self) -> Rest {
        let trimmed = self.failed.into_iter().map(|(name, output)| (name, output.trim().to_owned()));
        Rest { failed: trimmed.collect(), unfinished: self.unfinished.into_iter().collect() }
    }

    /// The unfinished test that a line names last, as in `test a::b - should panic`.
    fn named(&self, before: &str) -> Option<String> {
        let before = before.strip_suffix(" - should panic").unwrap_or(before);
        let (_, name) = before.rsplit_once("test ")?;
        self.unfinished.contains(name).then(|| name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads an output; one line per test that passed or was skipped, then the failed, then the unfinished.
    fn read(tests: &[&str], output: &str) -> String {
        let mut reader = Reader::new(tests.iter().map(|name| (*name).to_owned()));
        let mut lines: Vec<String> = output
            .lines()
            .filter_map(|line| reader.line(line))
            .map(|ended| match ended.outcome {
                Outcome::Passed => format!("{} passed", ended.name),
                Outcome::Skipped { reason } => format!("{} skipped: {reason}", ended.name),
                Outcome::Failed => format!("{} failed", ended.name),
            })
            .collect();
        let rest = reader.finish();
        lines.extend(rest.failed.iter().map(|(name, output)| format!("{name} failed: {output}")));
        lines.extend(rest.unfinished.iter().map(|name| format!("{name} unfinished")));
        lines.join("\n")
    }

    #[test]
    fn a_list_names_tests_and_not_benchmarks() {
        assert_eq!(listed("a::one: test\nb: benchmark\ntwo: test\n"), ["a::one", "two"]);
    }

    #[test]
    fn every_way_to_end_is_told_apart() {
        let output = "\nrunning 5 tests\ntest later ... ignored, needs a moon\ntest never ... ignored\ntest fine ... ok\n\
             test panics - should panic ... ok\ntest bad ... FAILED\n\nfailures:\n\n---- bad stdout ----\nsaid before\n\n\
             thread 'bad' panicked at src/lib.rs:2:62:\nassertion failed\n\n\nfailures:\n    bad\n\n\
             test result: FAILED. 2 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
        insta::assert_snapshot!(read(&["bad", "fine", "later", "never", "panics"], output), @r"
        later skipped: needs a moon
        never skipped: ignored
        fine passed
        panics passed
        bad failed: said before

        thread 'bad' panicked at src/lib.rs:2:62:
        assertion failed
        ");
    }

    #[test]
    fn a_binary_that_dies_leaves_tests_unfinished() {
        let output = "\nrunning 3 tests\ntest a ... ok\n";
        assert_eq!(read(&["a", "b", "c"], output), "a passed\nb unfinished\nc unfinished");
    }

    #[test]
    fn what_other_programs_print_is_not_taken_for_a_result() {
        // With one thread, the name comes before what the test's children print and the result after it.
        let output = "test a ... child says hello\nok\nnoise without newlinetest b ... ok\ntest unknown ... ok\nok\ntest c ... FAILED\n";
        assert_eq!(read(&["a", "b", "c"], output), "a passed\nb passed\nc failed: ");
    }

    #[test]
    fn the_output_of_a_failed_test_may_look_like_a_result() {
        let output = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\ntest b ... ok\n---- b stdout ----\n\nfailures:\n    a\n";
        assert_eq!(read(&["a", "b"], output), "a failed: test b ... ok\n---- b stdout ----\nb unfinished");
    }
}
