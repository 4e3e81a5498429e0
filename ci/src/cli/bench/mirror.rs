//! `bench mirror`: copying images, against other people's tools.

use std::time::Duration;

use ci::bench::mirror::{self, Kind, Request, Tool};
use ci::exit::{Failure, Reason};
use clap::{Args, ValueEnum};

use crate::cli::{Outcome, Unsuccessful, print, print_json, unforeseen};

/// Mirror generated images over slow wires, against skopeo, crane and regsync
#[derive(Args)]
#[command(
    after_help = "Each tool copies the same images to an empty registry, then once more with nothing to do. Requests and bytes are counted on the
wire. Tools that are not on PATH are reported as not run.

Examples:
  cargo xtask bench mirror                              in-process registries, 20 ms round trip
  cargo xtask bench mirror --registry docker            Docker's registry on both sides
  cargo xtask bench mirror --corpus large --rounds 5    one large blob, the fastest of five runs
  cargo xtask bench mirror --only slipway --large 2048  the memory a 2 GiB blob takes

Exit codes: 0 measured, 8 a promise of ours was not kept (each blob once, one HEAD a side, 64 MiB)"
)]
pub(super) struct Arguments {
    /// Milliseconds to a registry and back
    #[arg(long, default_value_t = 20, value_name = "MS")]
    round_trip: u64,
    /// The registries on both sides
    #[arg(long, value_enum, default_value = "in-process")]
    registry: RegistryKind,
    /// Only these tools
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TOOL")]
    only: Vec<ToolName>,
    /// Size in MiB of the one blob of the corpus `large`; 0 leaves it out
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    large: usize,
    /// Only these corpora
    #[arg(long, value_parser = ["shared", "small", "large"], value_delimiter = ',', value_name = "NAME")]
    corpus: Vec<String>,
    /// How often each tool has its turn; the fastest run counts
    #[arg(long, default_value_t = 1, value_name = "N")]
    rounds: usize,
    /// Print what was measured as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum RegistryKind {
    /// The registry of this program
    InProcess,
    /// `docker-registry`, as Debian packages it
    Docker,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ToolName {
    Slipway,
    Skopeo,
    Crane,
    Regsync,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let Arguments { round_trip, registry, only, large, corpus, rounds, json } = arguments;
    let tools = Tool::ALL.into_iter().zip(ToolName::value_variants());
    let request = Request {
        round_trip: Duration::from_millis(round_trip),
        registry: match registry {
            RegistryKind::InProcess => Kind::InProcess,
            RegistryKind::Docker => Kind::Docker,
        },
        tools: tools
            .filter(|(_, name)| only.is_empty() || only.contains(name))
            .map(|(tool, _)| tool)
            .collect(),
        large: large << 20,
        corpora: corpus,
        rounds,
    };
    let folder = tempfile::tempdir().map_err(|error| unforeseen("make a folder", &error))?;
    let report = mirror::measure(&request, folder.path(), crate::cli::mirror::say)
        .await
        .map_err(|error| Failure::new(Reason::Unforeseen, &error, None))?;
    match json {
        true => print_json(&report)?,
        false => print(report.to_string())?,
    }
    match report.broken.is_empty() {
        true => Ok(()),
        false => Err(Unsuccessful::Reported(Reason::Gate)),
    }
}
