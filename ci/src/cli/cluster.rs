//! `cluster up|down|status|kubeconfig|logs`: a cluster to work with, which stays until it is taken down.

use std::fs;
use std::path::{Path, PathBuf};

use ci::event::{EventSink, Stage};
use ci::exit::{Failure, Reason};
use ci::facts::Facts;
use ci::plan::{Cluster, Plan, Request, cluster_directory};
use ci::tiers::stage;
use ci::{declaration, plan, site};
use clap::{Args, Subcommand};
use kind::{ClusterSpec, Provider, Status};
use serde_json::json;

use super::workspace::{Workspace, told};
use super::{Outcome, print, print_json};

/// A cluster: up, down, status, kubeconfig, logs
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask cluster up                 bring it up, or find it up
  kubectl --kubeconfig \"$(cargo xtask cluster kubeconfig)\" get pods -A
  cargo xtask deploy                     build, push and deploy to it
  cargo xtask cluster down               leave nothing behind")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The cluster's name; the declaration's unless given
    #[arg(long, global = true, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Bring it up, or find it up
    Up {
        /// auto, embedded, kind, existing or existing:<context>
        #[arg(long, value_name = "PROVIDER")]
        provider: Option<Provider>,
    },
    /// Take it down with everything that belongs to it
    Down,
    /// Say whether it is up
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the path of its kubeconfig
    Kubeconfig,
    /// Print its own log
    Logs,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let workspace = Workspace::find()?;
    let Arguments { command, name } = arguments;
    let name = name.map_or_else(|| declared_name(&workspace), Ok)?;
    let directory = cluster_directory(&workspace.home, &name);
    match command {
        Command::Up { provider } => up(&workspace, name, provider).await,
        Command::Down => {
            let down = told(async |events| site::take_down(&directory, events).await).await?;
            match down {
                Some(_) => Ok(()),
                None => print(format!("cluster `{name}` is not up\n")),
            }
        }
        Command::Status { json } => {
            let others = others(&workspace, &name).await?;
            status(&name, &directory, &others, json).await
        }
        Command::Kubeconfig => {
            print(format!("{}\n", kind::kubeconfig(&directory).map_err(Failure::from)?.display()))
        }
        Command::Logs => {
            let logs = kind::logs(&directory, &|_| {}).await.map_err(Failure::from)?;
            match logs.is_file() {
                true => print(fs::read(&logs).map_err(|error| super::unforeseen("read the log", &error))?),
                false => print(format!("{}\n", logs.display())),
            }
        }
    }
}

async fn up(workspace: &Workspace, name: String, provider: Option<Provider>) -> Outcome {
    let request = Request { provider, ..request(workspace, name) };
    let (plan, cluster) = decide(workspace, &request).await?;
    let kubeconfig = told(async |events| {
        let up = stage(events, Stage::Cluster, bring_up(&plan, &cluster, events)).await?;
        Ok(up.kubeconfig)
    })
    .await?;
    print(format!("{}\n", kubeconfig.display()))
}

/// The cluster and the registry its nodes pull from; both stay.
pub(super) async fn bring_up(
    plan: &Plan,
    cluster: &Cluster,
    events: &EventSink,
) -> Result<kind::Cluster, Failure> {
    let registry = site::open_registry(plan, cluster).await?;
    match site::bring_up(cluster, registry.as_ref(), &[], events).await {
        Ok((up, _)) => Ok(up),
        Err(failure) => {
            site::close_registry_unless_up(&cluster.directory).await;
            Err(failure)
        }
    }
}

/// Clusters of this workspace with other names that are up.
async fn others(workspace: &Workspace, name: &str) -> Result<Vec<String>, Failure> {
    let clusters = cluster_directory(&workspace.home, "");
    let mut up = Vec::new();
    // No directory, no cluster.
    for entry in fs::read_dir(clusters).into_iter().flatten().flatten() {
        let other = entry.file_name().to_string_lossy().into_owned();
        if other != name
            && matches!(kind::status(&entry.path()).await.map_err(Failure::from)?, Status::Running(_))
        {
            up.push(other);
        }
    }
    up.sort();
    Ok(up)
}

async fn status(name: &str, directory: &Path, others: &[String], as_json: bool) -> Outcome {
    let (state, recorded, reason) = match kind::status(directory).await.map_err(Failure::from)? {
        Status::None => ("down", None, None),
        Status::Running(recorded) => ("up", Some(recorded), None),
        Status::Gone { recorded, reason } => ("gone", Some(recorded), Some(reason)),
    };
    if as_json {
        return print_json(
            &json!({"name": name, "state": state, "reason": reason, "cluster": recorded, "others": others}),
        );
    }
    let mut text = format!("cluster `{name}` is {state}");
    if let Some(reason) = reason {
        text += &format!(": {reason}");
    }
    if let Some(recorded) = recorded {
        text += &format!(
            "\n  {} at {}\n  kubeconfig {}",
            recorded.provider,
            recorded.server,
            recorded.kubeconfig.display()
        );
    }
    for other in others {
        text += &format!("\ncluster `{other}` is up too: cargo xtask cluster status --name {other}");
    }
    print(text + "\n")
}

/// What the commands on a cluster take from the main pipeline: images, cluster, components.
pub(super) const PIPELINE: &str = "e2e";

pub(super) fn request(workspace: &Workspace, name: String) -> Request {
    Request {
        root: workspace.root.clone(),
        home: workspace.home.clone(),
        engine: workspace.engine.clone(),
        keep: true,
        cluster: Some(name),
        ..Request::default()
    }
}

pub(super) async fn decide(workspace: &Workspace, request: &Request) -> Result<(Plan, Cluster), Failure> {
    let declaration =
        declaration::load(&workspace.root, PIPELINE)?.with_options(&workspace.root, &request.options)?;
    let facts = Facts::gather(&workspace.root, &workspace.home).await;
    let plan = plan::plan(&declaration, &facts, request)?;
    let cluster = plan.cluster.clone().ok_or_else(|| {
        Failure::says(Reason::Declaration, format!("the pipeline `{PIPELINE}` has no cluster"), None)
    })?;
    Ok((plan, cluster))
}

/// The name in the declaration of the main pipeline's cluster.
pub(super) fn declared_name(workspace: &Workspace) -> Result<String, Failure> {
    let spec = ci::spec::load(&workspace.root, PIPELINE)?;
    let file: PathBuf = spec.cluster.map(|cluster| cluster.declaration).ok_or_else(|| {
        Failure::says(Reason::Declaration, format!("the pipeline `{PIPELINE}` has no cluster"), None)
    })?;
    let declared = ClusterSpec::load(&workspace.root.join(file))
        .map_err(|error| Failure::new(Reason::Declaration, &error, None))?;
    Ok(declared.name)
}
