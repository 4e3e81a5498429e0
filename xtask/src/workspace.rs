//! Where the workspace is, and cargo as everything here calls it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use xshell::Shell;

use crate::exit::{Failure, UNFORESEEN};

/// The workspace's root: `cargo run` says where this crate is, also when the program was built for another checkout.
pub fn root() -> PathBuf {
    let krate = env::var_os("CARGO_MANIFEST_DIR").map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    krate.parent().map_or_else(|| krate.clone(), Path::to_path_buf)
}

/// A shell in the root. What `cargo run` says about this crate is not passed on: build scripts that watch it would run again.
pub fn shell() -> Result<Shell, Failure> {
    let shell = Shell::new().map_err(|error| Failure {
        code: UNFORESEEN,
        message: format!("failed to find the current directory: {error}"),
        hint: None,
    })?;
    shell.change_dir(root());
    Ok(shell)
}

/// Takes what `cargo run` says about this crate out of a command's environment.
pub fn without_own_crate(command: &mut Command) {
    const ABOUT_THIS_CRATE: [&str; 5] =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    for (name, _) in env::vars_os() {
        if ABOUT_THIS_CRATE.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}
