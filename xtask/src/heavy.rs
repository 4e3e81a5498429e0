//! `slipway`, which does the work: built first, with cargo's own progress, then run in place of this process.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use xshell::cmd;

use crate::exit::Failure;
use crate::workspace;

/// Builds `slipway` and the engine it starts, then becomes `slipway`: signals and the exit code are its own.
pub fn start(name: &str, arguments: &[OsString]) -> Result<ExitCode, Failure> {
    build()?;
    let own = std::env::current_exe().map_err(|error| Failure::cannot_run("slipway", error))?;
    // One target and one profile for everything: what was just built is beside this program.
    let mut command = Command::new(own.with_file_name("slipway"));
    command.arg(name).args(arguments).current_dir(product()?);
    workspace::without_own_crate(&mut command);
    let error = command.exec();
    Err(Failure::cannot_run("slipway", error))
}

/// Where to work: on the product around the current directory, which need not be this workspace, else on this workspace.
fn product() -> Result<PathBuf, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::cannot_run("slipway", error))?;
    let product = here.ancestors().find(|folder| folder.join("ci/pipelines").is_dir());
    Ok(product.map_or_else(workspace::root, Path::to_path_buf))
}

/// `--workspace` gives every dependency the features it has when images and tests are built, so nothing is compiled twice.
fn build() -> Result<(), Failure> {
    let shell = workspace::shell()?;
    let mut command: Command =
        cmd!(shell, "cargo build --workspace --bin slipway --bin slipway-engine").into();
    workspace::without_own_crate(&mut command);
    let status = command.status().map_err(|error| Failure::cannot_run("cargo build", error))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::build()),
    }
}
