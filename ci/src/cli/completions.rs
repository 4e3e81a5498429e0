//! `completions`: for shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Outcome, print};

/// Print completions for a shell
#[derive(Args)]
#[command(after_help = "Example:
  cargo xtask completions bash > ~/.local/share/bash-completion/completions/slipway")]
pub(super) struct Arguments {
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "slipway", &mut script);
    print(script)
}
