//! Checks that other tools make; they say themselves what is wrong.

use std::process::Command;

use xshell::cmd;

use crate::exit::{Failure, say};
use crate::workspace;

/// rustfmt.
pub fn fmt() -> Result<bool, Failure> {
    let shell = workspace::shell()?;
    let passed = succeeds("cargo fmt", cmd!(shell, "cargo fmt --all --check").into())?;
    if !passed {
        say("  hint: run `cargo fmt --all`");
    }
    Ok(passed)
}

/// clippy, on everything, warnings being errors.
pub fn clippy() -> Result<bool, Failure> {
    let shell = workspace::shell()?;
    succeeds("cargo clippy", cmd!(shell, "cargo clippy --workspace --all-targets -- -D warnings").into())
}

fn succeeds(name: &str, mut command: Command) -> Result<bool, Failure> {
    workspace::without_own_crate(&mut command);
    let status = command.status().map_err(|error| Failure::cannot_run(name, error))?;
    Ok(status.success())
}
