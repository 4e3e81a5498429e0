//! One run of cargo for one platform: flags that compile nothing twice, progress while it lasts, the compiler's own words when it fails.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use xshell::{Shell, cmd};

use super::BuildEvent;
use crate::cargo::{self, Artifact, Said};
use crate::plan::{BuildPlan, Compilation};
use crate::toolchain::{self, PrepareError};

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
    /// Its toolchain could not be made.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
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
            CompileError::Prepare(error) => error.hint(),
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
    for preparation in &toolchain.preparation {
        observer(BuildEvent::Preparing { platform: platform.clone(), what: preparation.to_string() });
        let say = |line: &str| {
            observer(BuildEvent::CompilerLine { platform: platform.clone(), line: line.to_string() });
        };
        toolchain::prepare(preparation, &say)?;
    }
    let started = Instant::now();
    let (command, text) = command(plan, compilation)?;
    observer(BuildEvent::CompileStarted {
        platform: platform.clone(),
        binaries: binaries.keys().cloned().collect(),
        command: text.clone(),
    });

    let artifacts = Mutex::new(Vec::new());
    let ended = cargo::run(command, &|said| match said {
        Said::Artifact(artifact) => {
            observer(BuildEvent::Compiled {
                platform: platform.clone(),
                package: artifact.package().to_string(),
                fresh: artifact.fresh,
            });
            artifacts.lock().unwrap_or_else(PoisonError::into_inner).push(artifact);
        }
        Said::Progress { done, total } => {
            observer(BuildEvent::Progress { platform: platform.clone(), done, total });
        }
        Said::Line(line) => observer(BuildEvent::CompilerLine { platform: platform.clone(), line }),
    })
    .map_err(|source| CompileError::Run { command: text.clone(), source })?;

    if !ended.status.success() {
        return Err(CompileError::Failed {
            krate: cargo::failed_crate(&ended.output),
            triple: toolchain.triple.clone(),
            output: ended.output,
        });
    }
    let artifacts = artifacts.into_inner().unwrap_or_else(PoisonError::into_inner);
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
    let mut command = command.envs(toolchain.environment.iter().cloned());
    if !toolchain.flags.is_empty() {
        let variable = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.to_uppercase().replace('-', "_"));
        command = command.env(variable, toolchain.flags.join(" "));
    }
    Ok((Command::from(command), text))
}

fn find(artifacts: &[Artifact], bin: &str, package: &str) -> Result<PathBuf, CompileError> {
    let is_bin = |artifact: &&Artifact| artifact.target.name == bin && artifact.is("bin");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::{Profile, Target};

    #[test]
    fn a_binary_is_found_in_its_crate_only() {
        let artifact = |package_id: &str| Artifact {
            package_id: package_id.to_string(),
            manifest_path: PathBuf::new(),
            profile: Profile::default(),
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
