//! `diagnose`: why something is not ready, from a cluster or from what was kept of one.

use std::fs;
use std::path::PathBuf;

use ci::exit::{Failure, Reason};
use ci::plan::cluster_directory;
use ci::site;
use clap::Args;
use manifests::{Diagnosis, Snapshot, apply::inventory};

use super::cluster::declared_name;
use super::workspace::Workspace;
use super::{Outcome, print, print_json};

/// Explain why something is not ready
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask diagnose                   every component on the cluster
  cargo xtask diagnose kettle            one of them
  cargo xtask diagnose --snapshot target/slipway/latest/diagnosis/kettle.json")]
pub(super) struct Arguments {
    /// Components; all that are deployed unless given
    components: Vec<String>,
    /// The cluster's name; the declaration's unless given
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Explain what was kept of a cluster
    #[arg(long, value_name = "FILE", conflicts_with_all = ["components", "cluster"])]
    snapshot: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let diagnoses = match &arguments.snapshot {
        Some(file) => vec![manifests::explain(&read(file)?)],
        None => live(&arguments).await?,
    };
    if arguments.json {
        return print_json(&diagnoses);
    }
    diagnoses.iter().try_for_each(|diagnosis| print(format!("{diagnosis}\n")))
}

fn read(file: &PathBuf) -> Result<Snapshot, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::says(Reason::Usage, format!("read the snapshot `{}`: {error}", file.display()), None)
    };
    let text = fs::read(file).map_err(unreadable)?;
    serde_json::from_slice(&text).map_err(|error| unreadable(error.into()))
}

async fn live(arguments: &Arguments) -> Result<Vec<Diagnosis>, Failure> {
    let workspace = Workspace::find()?;
    let name = arguments.cluster.clone().map_or_else(|| declared_name(&workspace), Ok)?;
    let kubeconfig = kind::kubeconfig(&cluster_directory(&workspace.home, &name))?;
    let client = site::client(&kubeconfig).await?;
    let components = match arguments.components.as_slice() {
        [] => inventory::read_all(&client).await?.into_iter().map(|(name, _)| name).collect(),
        given => given.to_vec(),
    };
    let mut diagnoses = Vec::new();
    for component in components {
        diagnoses.push(manifests::diagnose::diagnose(&client, &component).await?);
    }
    Ok(diagnoses)
}
