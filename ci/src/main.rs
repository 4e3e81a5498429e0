//! `slipway`: what `cargo xtask` builds and starts for everything that takes more than a moment.

mod cli;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod spawn;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
