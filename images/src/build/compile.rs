//! One run of cargo for one platform: flags that compile nothing twice, progress while it lasts, the compiler's own words when it fails.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Deserialize;
use xshell::{Shell, cmd};

use super::BuildEvent;
use crate::plan::{BuildPlan, Compilation};

/// cargo did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// It could not be run.
    #[error("run `{command}`")]
    Run {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error("compile {} for {triple}:\n{output}", named(krate))]
    Failed {
        /// The crate that failed, when cargo says.
        krate: Option<String>,
        /// For this target.
        triple: String,
        /// What the compiler said.
        output: String,
    },
    /// It succeeded without the binary.
    #[error("find the binary `{bin}` of the crate `{package}` among what cargo built{}", elsewhere(found))]
    NoBinary {
        /// The binary target.
        bin: String,
        /// The crate it should be in.
        package: String,
        /// The crate it is in.
        found: Option<String>,
    },
}

fn named(krate: &Option<String>) -> String {
    krate.as_ref().map_or("the workspace".to_string(), |name| format!("the crate `{name}`"))
}

fn elsewhere(found: &Option<String>) -> String {
    found.as_ref().map_or(String::new(), |package| format!(": it is in `{package}`"))
}

impl CompileError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            CompileError::Run { .. } => Some("is cargo installed and on PATH?".to_string()),
            CompileError::Failed { krate, .. } => {
                krate.as_ref().map(|name| format!("see it alone with `cargo check -p {name}`"))
            }
            CompileError::NoBinary { .. } => {
                Some(format!("correct `package` and `bin` in `{}`", crate::recipe::FILE))
            }
        }
    }
}

/// Compiles and returns where each binary is.
pub(super) fn compile(
    plan: &BuildPlan,
    compilation: &Compilation,
    observer: &(dyn Fn(BuildEvent) + Sync),
) -> Result<BTreeMap<String, PathBuf>, CompileError> {
    let Compilation { toolchain, binaries } = compilation;
    let platform = &toolchain.platform;
    let started = Instant::now();
    let (command, text) = command(plan, compilation)?;
    observer(BuildEvent::CompileStarted {
        platform: platform.clone(),
        binaries: binaries.keys().cloned().collect(),
        command: text.clone(),
    });

    let run_error = |source| CompileError::Run { command: text.clone(), source };
    let mut artifacts = Vec::new();
    let (status, output) = stream(
        command,
        |line| match serde_json::from_str(&line) {
            Ok(Message::CompilerArtifact(artifact)) => {
                observer(BuildEvent::Compiled {
                    platform: platform.clone(),
                    package: artifact.package().to_string(),
                    fresh: artifact.fresh,
                });
                artifacts.push(artifact);
            }
            Ok(Message::Other) | Err(_) => {}
        },
        |line| observer(BuildEvent::CompilerLine { platform: platform.clone(), line: line.to_string() }),
    )
    .map_err(run_error)?;

    if !status.success() {
        return Err(CompileError::Failed {
            krate: failed_crate(&output),
            triple: toolchain.triple.clone(),
            output: without_progress(&output),
        });
    }
    observer(BuildEvent::CompileFinished {
        platform: platform.clone(),
        compiled: artifacts.iter().filter(|artifact| !artifact.fresh).count(),
        duration: started.elapsed(),
    });
    binaries.iter().map(|(bin, package)| Ok((bin.clone(), find(&artifacts, bin, package)?))).collect()
}

/// `--workspace` makes the features those of a build of the whole workspace, whatever binaries are picked: a dependency built for
/// one is the dependency of all.
fn command(plan: &BuildPlan, compilation: &Compilation) -> Result<(Command, String), CompileError> {
    let Compilation { toolchain, binaries } = compilation;
    let setup = |error: xshell::Error| CompileError::Run {
        command: toolchain.command.join(" "),
        source: io::Error::other(error),
    };
    let shell = Shell::new().map_err(setup)?;
    shell.change_dir(&plan.root);
    let (program, subcommand) = toolchain.command.split_first().ok_or_else(|| CompileError::Run {
        command: String::new(),
        source: io::ErrorKind::InvalidInput.into(),
    })?;
    let triple = &toolchain.triple;
    let picked = binaries.keys().flat_map(|bin| ["--bin", bin]);
    let profile = plan.profile.iter().flat_map(|profile| ["--profile", profile]);
    let command = cmd!(
        shell,
        "{program} {subcommand...} --workspace {picked...} --target {triple} {profile...} --message-format=json-render-diagnostics"
    );
    let text = command.to_string();
    let mut command = Command::from(command.envs(toolchain.environment.iter().cloned()));
    // `cargo run` tells a program about its own crate; passed on, that would look like a change to build scripts which watch it.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let about_caller = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if about_caller.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name.as_ref());
        }
    }
    Ok((command, text))
}

/// Runs a command, giving each line of its output on; returns what it said on stderr.
fn stream(
    mut command: Command,
    mut on_stdout: impl FnMut(String),
    on_stderr: impl Fn(&str) + Sync + Send,
) -> io::Result<(std::process::ExitStatus, String)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let said = std::thread::scope(|scope| {
        let listener = scope.spawn(move || {
            let mut said = String::new();
            for line in stderr.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()).map_while(Result::ok)
            {
                on_stderr(&line);
                said.push_str(&line);
                said.push('\n');
            }
            said
        });
        for line in stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()).map_while(Result::ok) {
            on_stdout(line);
        }
        listener.join().unwrap_or_default()
    });
    Ok((child.wait()?, said))
}

#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact(Artifact),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Artifact {
    package_id: String,
    target: Target,
    executable: Option<PathBuf>,
    fresh: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Artifact {
    /// The crate's name out of `path+file:///w/crate#0.1.0` or `registry+https://…#crate@1.2.3`.
    fn package(&self) -> &str {
        let (url, fragment) = self.package_id.rsplit_once('#').unwrap_or((&self.package_id, ""));
        match fragment.split_once('@') {
            Some((name, _)) => name,
            None if fragment.starts_with(|c: char| c.is_ascii_digit()) => {
                url.rsplit('/').next().unwrap_or(url)
            }
            None => fragment,
        }
    }
}

fn find(artifacts: &[Artifact], bin: &str, package: &str) -> Result<PathBuf, CompileError> {
    let is_bin = |artifact: &&Artifact| {
        artifact.target.name == bin && artifact.target.kind.iter().any(|kind| kind == "bin")
    };
    let candidates: Vec<&Artifact> = artifacts.iter().filter(is_bin).collect();
    candidates
        .iter()
        .find(|artifact| artifact.package() == package)
        .and_then(|artifact| artifact.executable.clone())
        .ok_or_else(|| CompileError::NoBinary {
            bin: bin.to_string(),
            package: package.to_string(),
            found: candidates.first().map(|artifact| artifact.package().to_string()),
        })
}

/// The crate in cargo's "error: could not compile `NAME` (…) due to …".
fn failed_crate(output: &str) -> Option<String> {
    let (_, rest) = output.split_once("could not compile `")?;
    rest.split('`').next().map(str::to_string)
}

/// What is left when cargo's progress is taken out: a verb that ends in column 12, then a space.
fn without_progress(output: &str) -> String {
    let is_progress = |line: &str| {
        line.get(..12).is_some_and(|verb| {
            let word = verb.trim_start();
            !word.is_empty() && word.chars().all(char::is_alphabetic) && word.starts_with(char::is_uppercase)
        }) && line.get(12..13) == Some(" ")
    };
    let lines: Vec<&str> = output.lines().filter(|line| !is_progress(line)).collect();
    lines.join("\n").trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_crate_is_named_and_progress_is_left_out() {
        let output = "   Compiling serde v1.0.0\n    Checking x v0.1.0 (/w/x)\n    Blocking waiting for file lock\n\
                      error[E0425]: cannot find value `x` in this scope\n --> x/src/lib.rs:1:1\n  |\n\n\
                      error: could not compile `x` (lib) due to 1 previous error\n";
        assert_eq!(failed_crate(output).unwrap(), "x");
        let text = without_progress(output);
        assert!(text.starts_with("error[E0425]"), "{text}");
        assert!(text.contains(" --> x/src/lib.rs:1:1"), "{text}");
    }

    #[test]
    fn a_binary_is_found_in_its_crate_only() {
        let artifact = |package_id: &str| Artifact {
            package_id: package_id.to_string(),
            target: Target { name: "tool".into(), kind: vec!["bin".into()] },
            executable: Some(format!("/{package_id}").into()),
            fresh: true,
        };
        let artifacts = [artifact("path+file:///w/one#0.1.0"), artifact("path+file:///w/dir#two@0.1.0")];
        assert!(find(&artifacts, "tool", "one").is_ok());
        assert!(find(&artifacts, "tool", "two").is_ok());
        let error = find(&artifacts, "tool", "three").unwrap_err().to_string();
        assert!(error.contains("it is in `one`"), "{error}");
        let error = find(&artifacts, "other", "one").unwrap_err().to_string();
        assert!(error.contains("`other`") && !error.contains("it is in"), "{error}");
    }
}
