//! `plan`: look before you leap.

use clap::Args;

use super::pipeline::{Selection, decide};
use super::workspace::Workspace;
use super::{Outcome, print, print_json};

/// Show what a run would do, and do nothing
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask plan                       what `cargo xtask e2e` would do
  cargo xtask plan test                  what another pipeline would do
  cargo xtask plan e2e --from deploy --json")]
pub(super) struct Arguments {
    /// The pipeline
    #[arg(default_value = "e2e")]
    pipeline: String,
    #[command(flatten)]
    selection: Selection,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let Arguments { pipeline, selection } = arguments;
    let json = selection.json;
    let plan = decide(&Workspace::find()?, &pipeline, selection).await?;
    match json {
        true => print_json(&plan),
        false => print(plan.to_string()),
    }
}
