//! The test binaries: compiled by cargo with the flags the images are built with, so that no dependency is compiled twice.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use images::cargo::{self, Artifact, Said};
use images::{BuildEvent, Platform};
use xshell::{Shell, cmd};

use crate::event::{Event, EventSink, Problem};
use crate::plan::Code;
use crate::spec::Selector;

/// One test binary.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TestBinary {
    /// Its name: the crate's for its own tests, `crate::target` for those in `tests/`, `crate::bin/target` for those of a binary.
    pub suite: String,
    /// The program.
    pub executable: PathBuf,
    /// The crate's folder, where tests run.
    pub folder: PathBuf,
    /// The crate.
    pub package: String,
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Lib,
    Bin,
    Test(String),
}

/// Test binaries could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// cargo could not be run.
    #[error("run `{command}`")]
    Run {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A crate has a mistake.
    #[error("compile the tests of {}", krate.as_ref().map_or("the workspace".to_owned(), |name| format!("`{name}`")))]
    Failed {
        /// The crate, when cargo says.
        krate: Option<String>,
        /// What the compiler said.
        output: String,
    },
    /// The process is ending.
    #[error("compile the tests: the process is ending")]
    Interrupted,
}

impl CompileError {
    /// The error for people.
    pub fn problem(&self) -> Problem {
        let hint = match self {
            CompileError::Run { .. } => Some("is cargo installed and on PATH?".to_owned()),
            CompileError::Failed { krate, .. } => {
                krate.as_ref().map(|krate| format!("see it alone: cargo check -p {krate} --all-targets"))
            }
            CompileError::Interrupted => None,
        };
        let output = match self {
            CompileError::Failed { output, .. } => Some(output.clone()),
            CompileError::Run { .. } | CompileError::Interrupted => None,
        };
        Problem { output, ..Problem::new(self, hint) }
    }
}

/// The test binaries compiled so far.
#[derive(Debug, Default)]
pub struct TestBinaries {
    compiled: Vec<Selector>,
    binaries: BTreeSet<TestBinary>,
}

impl TestBinaries {
    /// Compiles what is selected, unless that was done already, and gives it.
    pub async fn ensure(
        &mut self,
        code: &Code,
        selectors: &[Selector],
        events: &EventSink,
    ) -> Result<Vec<TestBinary>, CompileError> {
        let missing: Vec<Selector> =
            selectors.iter().filter(|selector| !self.compiled.contains(selector)).cloned().collect();
        if !missing.is_empty() {
            let (code, events, wanted) = (code.clone(), events.clone(), missing.clone());
            let compile = move || compile(&code, &wanted, &events);
            let compiled = tokio::task::spawn_blocking(compile).await;
            self.binaries.extend(compiled.map_err(|_| CompileError::Interrupted)??);
            self.compiled.extend(missing);
        }
        let is_selected = |binary: &&TestBinary| selectors.iter().any(|selector| binary.is(selector));
        Ok(self.binaries.iter().filter(is_selected).cloned().collect())
    }
}

impl TestBinary {
    fn is(&self, selector: &Selector) -> bool {
        match (selector, &self.target) {
            (Selector::Lib, Target::Lib) | (Selector::Bin, Target::Bin) => true,
            (Selector::Named(name), Target::Test(target)) => name == target,
            _ => false,
        }
    }

    fn of(artifact: &Artifact) -> Option<TestBinary> {
        let executable = artifact.executable.clone().filter(|_| artifact.profile.test)?;
        let (package, target) = (artifact.package(), &artifact.target.name);
        let (suite, target) = if artifact.is("bin") {
            (format!("{package}::bin/{target}"), Target::Bin)
        } else if artifact.is("test") {
            (format!("{package}::{target}"), Target::Test(target.clone()))
        } else {
            (package.to_owned(), Target::Lib)
        };
        let folder = artifact.manifest_path.parent().unwrap_or(Path::new("/")).to_path_buf();
        Some(TestBinary { suite, executable, folder, package: package.to_owned(), target })
    }
}

fn compile(code: &Code, selectors: &[Selector], events: &EventSink) -> Result<Vec<TestBinary>, CompileError> {
    let started = Instant::now();
    let platform = Platform::host();
    let (command, text) = command(code, selectors)?;
    let tell = |event: BuildEvent| events.emit(Event::Build(event));
    tell(BuildEvent::CompileStarted {
        platform: platform.clone(),
        binaries: selectors.iter().map(described).collect(),
        command: text.clone(),
    });
    let artifacts = Arc::new(Mutex::new(Vec::new()));
    let keep = |artifact: Artifact| artifacts.lock().unwrap_or_else(PoisonError::into_inner).push(artifact);
    let ended = cargo::run(command, &|said| match said {
        Said::Artifact(artifact) => {
            let (package, fresh) = (artifact.package().to_owned(), artifact.fresh);
            tell(BuildEvent::Compiled { platform: platform.clone(), package, fresh });
            keep(artifact);
        }
        Said::Progress { done, total } => {
            tell(BuildEvent::Progress { platform: platform.clone(), done, total });
        }
        Said::Line(line) => tell(BuildEvent::CompilerLine { platform: platform.clone(), line }),
    })
    .map_err(|source| CompileError::Run { command: text, source })?;
    if !ended.status.success() {
        return Err(CompileError::Failed { krate: cargo::failed_crate(&ended.output), output: ended.output });
    }
    let artifacts = artifacts.lock().unwrap_or_else(PoisonError::into_inner);
    tell(BuildEvent::CompileFinished {
        platform,
        compiled: artifacts.iter().filter(|artifact| !artifact.fresh).count(),
        duration: started.elapsed(),
    });
    Ok(artifacts.iter().filter_map(TestBinary::of).collect())
}

fn command(code: &Code, selectors: &[Selector]) -> Result<(Command, String), CompileError> {
    let shell = Shell::new().map_err(|error| CompileError::Run {
        command: "cargo test --no-run".to_owned(),
        source: io::Error::other(error),
    })?;
    shell.change_dir(&code.root);
    let triple = &code.triple;
    let selected = selectors.iter().flat_map(|selector| match selector {
        Selector::Lib => vec!["--lib"],
        Selector::Bin => vec!["--bins"],
        Selector::Named(name) => vec!["--test", name],
    });
    // `--workspace` makes the features those of the whole workspace, as for the images.
    let command = cmd!(
        shell,
        "cargo test --no-run --workspace {selected...} --target {triple} --message-format=json-render-diagnostics"
    );
    let text = command.to_string();
    Ok((command.into(), text))
}

fn described(selector: &Selector) -> String {
    match selector {
        Selector::Lib => "tests of the libraries".to_owned(),
        Selector::Bin => "tests of the binaries".to_owned(),
        Selector::Named(name) => format!("tests in `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_named_for_where_the_tests_are() {
        let check = |kind: &str, target: &str, test: bool, expected: Option<&str>| {
            let artifact = serde_json::json!({
                "package_id": "path+file:///w/dir#kettle@0.1.0", "manifest_path": "/w/dir/Cargo.toml",
                "target": {"name": target, "kind": [kind]}, "profile": {"test": test},
                "executable": "/w/target/x", "fresh": true,
            });
            let binary = TestBinary::of(&serde_json::from_value(artifact).unwrap());
            assert_eq!(binary.map(|binary| binary.suite).as_deref(), expected);
        };
        check("lib", "kettle", true, Some("kettle"));
        check("bin", "boil", true, Some("kettle::bin/boil"));
        check("test", "it", true, Some("kettle::it"));
        check("bin", "boil", false, None);
    }
}
