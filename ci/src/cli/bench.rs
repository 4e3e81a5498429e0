//! `bench`: how much faster than others, measured side by side on this machine.

mod content;
mod images;
mod mirror;
mod peer;

use clap::{Args, Subcommand};

use super::Outcome;

/// Measure against the field's other tools, side by side
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Images(images::Arguments),
    Mirror(mirror::Arguments),
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    match arguments.what {
        What::Images(arguments) => images::run(arguments).await,
        What::Mirror(arguments) => mirror::run(arguments).await,
    }
}
