//! One test binary: what it has, what it says while it runs, and what that amounts to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;

use super::libtest::{self, Reader, Rest};
use crate::compile::TestBinary;
use crate::event::{Event, EventSink, Outcome, TestId, TestState, TierEvent};
use crate::process::{self, End, Pipe};

/// How a binary is run.
#[derive(Clone, Debug)]
pub(super) struct Settings<'a> {
    pub(super) tier: &'a str,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) threads: Option<u16>,
    pub(super) retries: u8,
    /// Parts of names of tests that are not to be run, and why.
    pub(super) skip: &'a [(String, String)],
    pub(super) deadline: Instant,
    /// Folder for what the binaries print.
    pub(super) logs: PathBuf,
    pub(super) events: &'a EventSink,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// Every test that is known and how it ended.
    pub(super) results: BTreeMap<TestId, TestState>,
    /// What is wrong beyond failed tests, as in "`engine::it` was killed by SIGSEGV; 2 tests did not finish: a, b".
    pub(super) trouble: Option<String>,
    /// The last lines of what it printed, when there is trouble.
    pub(super) output: Option<String>,
}

/// A binary that cannot say within this time what tests it has is taken for broken.
const LISTS_WITHIN: Duration = Duration::from_secs(30);

/// How much of what a broken binary printed is shown.
const TAIL: usize = 30;

/// Runs a binary, and its failed tests again as often as is allowed.
pub(super) async fn run(settings: &Settings<'_>, binary: &TestBinary) -> Ran {
    match try_run(settings, binary).await {
        Ok(ran) => ran,
        Err(error) => {
            let trouble = Some(format!("`{}` could not be run: {error}", binary.suite));
            Ran { trouble, ..Ran::default() }
        }
    }
}

async fn try_run(settings: &Settings<'_>, binary: &TestBinary) -> io::Result<Ran> {
    let mut list = command(settings, binary);
    list.args(["--list", "--format", "terse"]);
    let until = settings.deadline.min(Instant::now() + LISTS_WITHIN);
    let (end, listed, said) = process::output(list, until).await?;
    if !end.is_success() {
        return Ok(Ran {
            trouble: Some(format!("`{}` {end} when asked for its tests", binary.suite)),
            output: Some(tail(&said)),
            ..Ran::default()
        });
    }
    let tests = libtest::listed(&listed);
    if tests.is_empty() {
        return Ok(Ran::default());
    }
    settings.tell(TierEvent::Found {
        tier: settings.tier.to_owned(),
        suite: binary.suite.clone(),
        tests: tests.clone(),
    });
    let mut suite = Suite {
        settings,
        binary,
        results: tests.iter().map(|name| (name.clone(), TestState::NotRun)).collect(),
        log: Log::create(&settings.logs, &binary.suite)?,
    };
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for name in tests {
        match settings.skip.iter().find(|(part, _)| name.contains(part)) {
            Some((_, reason)) => suite.ended(&name, Outcome::Skipped { reason: reason.clone() }, None),
            None => {
                wanted.insert(name);
            }
        }
    }
    let mut to_run = command(settings, binary);
    to_run.args(settings.skip.iter().flat_map(|(part, _)| ["--skip", part]));
    let (mut end, mut rest) = suite.attempt(to_run, wanted).await?;
    for _ in 0..settings.retries {
        if rest.failed.is_empty() || !rest.unfinished.is_empty() {
            break;
        }
        let again: BTreeSet<String> = rest.failed.keys().cloned().collect();
        let mut to_run = command(settings, binary);
        to_run.arg("--exact").args(&again);
        (end, rest) = suite.attempt(to_run, again).await?;
    }
    let trouble = trouble(&binary.suite, &end, &rest);
    let output = trouble.as_ref().map(|_| tail(&suite.log.text));
    let id = |name: String| TestId { suite: binary.suite.clone(), name };
    let results = suite.results.into_iter().map(|(name, state)| (id(name), state)).collect();
    Ok(Ran { results, trouble, output })
}

/// A binary whose tests are known.
struct Suite<'a> {
    settings: &'a Settings<'a>,
    binary: &'a TestBinary,
    results: BTreeMap<String, TestState>,
    log: Log,
}

impl Suite<'_> {
    /// One run of the program. What ends is told at once, except for failures: what they printed comes last.
    async fn attempt(&mut self, command: Command, wanted: BTreeSet<String>) -> io::Result<(End, Rest)> {
        let mut reader = Reader::new(wanted);
        let deadline = self.settings.deadline;
        let on_line = |pipe: Pipe, line: &str| {
            self.log.write(line);
            if pipe == Pipe::Err {
                return;
            }
            if let Some(ended) = reader.line(line) {
                self.ended(&ended.name, ended.outcome, None);
            }
        };
        let end = process::run(command, deadline, on_line).await?;
        let rest = reader.finish();
        for (name, output) in &rest.failed {
            self.ended(name, Outcome::Failed, Some(output.clone()));
        }
        Ok((end, rest))
    }

    fn ended(&mut self, name: &str, outcome: Outcome, output: Option<String>) {
        let before = self.results.get(name).copied().unwrap_or(TestState::NotRun);
        let state = match (&outcome, before) {
            (Outcome::Passed, TestState::Failed) => TestState::Flaky,
            (Outcome::Passed, _) => TestState::Passed,
            (Outcome::Failed, _) => TestState::Failed,
            (Outcome::Skipped { .. }, _) => TestState::Skipped,
        };
        self.results.insert(name.to_owned(), state);
        let test = TestId { suite: self.binary.suite.clone(), name: name.to_owned() };
        let tier = self.settings.tier.to_owned();
        self.settings.tell(TierEvent::TestFinished { tier, test, outcome, took: None, output });
    }
}

impl Settings<'_> {
    fn tell(&self, event: TierEvent) {
        self.events.emit(Event::Tier(event));
    }
}

fn command(settings: &Settings<'_>, binary: &TestBinary) -> Command {
    let mut command = Command::new(&binary.executable);
    command.current_dir(&binary.folder);
    // What cargo tells a test about its crate.
    command.env("CARGO_MANIFEST_DIR", &binary.folder).env("CARGO_PKG_NAME", &binary.package);
    command.envs(&settings.environment);
    if let Some(threads) = settings.threads {
        command.arg(format!("--test-threads={threads}"));
    }
    command
}

/// What is wrong with how a binary ended.
fn trouble(suite: &str, end: &End, rest: &Rest) -> Option<String> {
    let Rest { failed, unfinished } = rest;
    // 101 is how a test binary says that tests failed.
    let is_expected = match failed.len() {
        0 => end.is_success(),
        _ => *end == End::Exited(101),
    };
    if is_expected && unfinished.is_empty() {
        return None;
    }
    let unfinished = match unfinished.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} did not finish"),
        names if names.len() <= 5 => format!("; {} did not finish", names.join(", ")),
        names => format!("; {} and {} more did not finish", names[..4].join(", "), names.len() - 4),
    };
    Some(format!("`{suite}` {end}{unfinished}"))
}

/// What a binary printed, in a file and at hand.
struct Log {
    file: File,
    text: String,
}

impl Log {
    fn create(folder: &Path, suite: &str) -> io::Result<Log> {
        fs::create_dir_all(folder)?;
        let name = suite.replace("::", ".").replace('/', ".");
        Ok(Log { file: File::create(folder.join(format!("{name}.log")))?, text: String::new() })
    }

    fn write(&mut self, line: &str) {
        // A full disk must not decide about tests; the lines are still read.
        let _ = writeln!(self.file, "{line}");
        self.text.push_str(line);
        self.text.push('\n');
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_that_ends_otherwise_than_its_tests_say_is_trouble() {
        let check = |end: End, failed: &[&str], unfinished: &[&str], expected: Option<&str>| {
            let rest = Rest {
                failed: failed.iter().map(|name| ((*name).to_owned(), String::new())).collect(),
                unfinished: unfinished.iter().map(|name| (*name).to_owned()).collect(),
            };
            assert_eq!(trouble("tea::it", &end, &rest).as_deref(), expected);
        };
        check(End::Exited(0), &[], &[], None);
        check(End::Exited(101), &["a"], &[], None);
        check(End::Exited(1), &[], &[], Some("`tea::it` ended with exit code 1"));
        check(
            End::Signalled("SIGSEGV"),
            &[],
            &["a"],
            Some("`tea::it` was killed by SIGSEGV; a did not finish"),
        );
        check(
            End::Deadline(Duration::from_secs(90)),
            &["x"],
            &["a", "b", "c", "d", "e", "f"],
            Some("`tea::it` was killed at its deadline, after 90 s; a, b, c, d and 2 more did not finish"),
        );
        check(End::Exited(0), &[], &["a"], Some("`tea::it` ended with exit code 0; a did not finish"));
    }
}
