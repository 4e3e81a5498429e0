//! `slipway`: what `cargo xtask` builds and starts for everything that takes more than a moment.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
