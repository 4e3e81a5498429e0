//! The providers behind one door: what is common to them is here, what differs is in a file each.

mod embedded;
mod existing;
mod kind;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::kube::config::{KubeConfigOptions, Kubeconfig};
use ::kube::{Client, Config};
use k8s_openapi::api::core::v1::Node;
use tokio::time::{Instant, timeout};

use crate::choose::Chosen;
use crate::event::{ClusterEvent, Observer};
use crate::state::{self, Recorded, Status};
use crate::{Cluster, UpPlan};

/// What a cluster holds in the calling process.
#[derive(Debug)]
pub(crate) enum Guard {
    /// The engine started by this process; a tied one is killed when this is dropped.
    Engine(#[expect(dead_code, reason = "held for its Drop")] embedded::Engine),
    /// Ports through which kind's nodes reach registries that listen on loopback.
    Doors(#[expect(dead_code, reason = "held for its Drop")] Vec<kind::Door>),
}

/// A known reason why another tool failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause {
    /// As in "the kubelet refuses this machine, which has cgroup v1".
    pub what: &'static str,
    /// What helps.
    pub hint: &'static str,
}

/// Why a cluster could not be brought up, looked at or taken down.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A file of the cluster's directory.
    #[error("{doing} `{}`: {source}", file.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another command works on the same cluster.
    #[error("another command is working on the cluster in `{}`\n  = hint: wait for it to end", directory.display())]
    Busy {
        /// The cluster's directory.
        directory: PathBuf,
    },
    /// There is none.
    #[error("no cluster is recorded in `{}`\n  = hint: bring one up: cargo xtask cluster up", directory.display())]
    NoCluster {
        /// The directory.
        directory: PathBuf,
    },
    /// The engine's binary could not be started.
    #[error("start `{}`: {source}\n  = hint: build it: cargo build --bin slipway-engine", engine.display())]
    Start {
        /// The binary.
        engine: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The engine ended or stayed silent instead of becoming ready.
    #[error("the embedded engine {what}{}\n  = hint: its log is `{}`", indented(.tail), log.display())]
    NotReady {
        /// What it did, as in "ended with exit status: 1 before it was ready".
        what: String,
        /// Last lines of its log.
        tail: Vec<String>,
        /// Its log.
        log: PathBuf,
    },
    /// Another tool failed.
    #[error("`{line}` failed: {message}{}{}", known_cause(.cause), logs_hint(.logs))]
    Command {
        /// As it could be typed.
        line: String,
        /// What it said.
        message: String,
        /// Why, and what helps, if that is known.
        cause: Option<Cause>,
        /// Logs collected after the failure.
        logs: Option<PathBuf>,
    },
    /// Another tool is not there.
    #[error("run `{line}`: `{program}` is not on the PATH\n  = hint: {hint}")]
    Missing {
        /// As it could be typed.
        line: String,
        /// The tool.
        program: String,
        /// What helps.
        hint: String,
    },
    /// A kubeconfig is missing, unreadable or has no such context.
    #[error("use kubeconfig `{}`: {message}{}", file.display(), hint_line(.hint))]
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        message: String,
        /// The likely fix.
        hint: Option<String>,
    },
    /// The API server does not answer.
    #[error("reach the API server at {server}: {message}")]
    Unreachable {
        /// Its URL.
        server: String,
        /// What the client said.
        message: String,
    },
    /// The kind provider was asked to do something this machine's network does not allow.
    #[error("make the registry at {endpoint} reachable for the nodes: {message}")]
    Registry {
        /// The registry.
        endpoint: String,
        /// What is wrong.
        message: String,
    },
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n    {line}")).collect()
}

fn hint_line(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!("\n  = hint: {hint}")).unwrap_or_default()
}

fn known_cause(cause: &Option<Cause>) -> String {
    cause.map(|Cause { what, hint }| format!("\n  = cause: {what}\n  = hint: {hint}")).unwrap_or_default()
}

fn logs_hint(logs: &Option<PathBuf>) -> String {
    logs.as_ref()
        .map(|logs| format!("\n  = hint: logs were collected in `{}`", logs.display()))
        .unwrap_or_default()
}

/// Finds the recorded cluster if it is what the plan wants and answers; otherwise removes its remains and makes a new one.
pub(crate) async fn up(plan: &UpPlan, observer: Observer<'_>) -> Result<Cluster, ClusterError> {
    let started = Instant::now();
    let wanted = fingerprint(plan);
    if let Status::Running(recorded) = status(&plan.directory).await? {
        if recorded.fingerprint == wanted {
            observer(ClusterEvent::Reusing { name: recorded.name.clone(), server: recorded.server.clone() });
            let guard = match &recorded.provider {
                Chosen::Kind(engine) => Some(kind::open_registries(*engine, plan, observer).await?),
                Chosen::Embedded | Chosen::Existing { .. } => None,
            };
            return Ok(cluster(*recorded, guard));
        }
        let what =
            format!("cluster `{}` was made from another declaration or for another registry", recorded.name);
        observer(ClusterEvent::Stale { what });
    }
    down(&plan.directory, observer).await?;
    observer(ClusterEvent::Starting { name: plan.spec.name.clone(), provider: plan.provider.to_string() });
    let (mut recorded, guard) = match &plan.provider {
        Chosen::Embedded => embedded::up(plan, &wanted, observer).await?,
        Chosen::Kind(engine) => kind::up(*engine, plan, &wanted, observer).await?,
        Chosen::Existing { kubeconfig, context } => {
            (existing::up(kubeconfig, context.as_deref(), plan, &wanted)?, None)
        }
    };
    if recorded.node_architecture.is_empty() {
        recorded.node_architecture = node_architecture(&recorded).await?;
    }
    state::write(&plan.directory, &recorded)?;
    observer(ClusterEvent::Ready { server: recorded.server.clone(), took: started.elapsed() });
    Ok(cluster(recorded, guard))
}

fn cluster(recorded: Recorded, guard: Option<Guard>) -> Cluster {
    Cluster {
        name: recorded.name,
        provider: recorded.provider,
        kubeconfig: recorded.kubeconfig,
        server: recorded.server,
        node_architecture: recorded.node_architecture,
        pid: recorded.process.map(|process| process.pid),
        guard,
    }
}

/// What a cluster is made from, in one line. The binary counts by size and time of change: a new engine means a new cluster.
fn fingerprint(plan: &UpPlan) -> String {
    let UpPlan { spec, provider, directory: _, store: _, engine, mirrors, lifetime, deadline: _ } = plan;
    let binary = match provider {
        Chosen::Embedded => {
            std::fs::metadata(engine).ok().map(|binary| (binary.len(), binary.modified().ok()))
        }
        Chosen::Kind(_) | Chosen::Existing { .. } => None,
    };
    // Kind's nodes are told about registries every time; the embedded engine only when it starts.
    let mirrors = match provider {
        Chosen::Embedded => mirrors.as_slice(),
        Chosen::Kind(_) | Chosen::Existing { .. } => &[],
    };
    format!("{provider:?} {lifetime:?} {binary:?} {mirrors:?} {}", spec.text)
}

/// Takes down what the directory records, and what an interrupted `up` started without recording it.
pub(crate) async fn down(directory: &Path, observer: Observer<'_>) -> Result<Option<String>, ClusterError> {
    let started = Instant::now();
    let recorded = state::read(directory)?;
    if let Some(recorded) = &recorded {
        observer(ClusterEvent::Stopping { name: recorded.name.clone() });
        match &recorded.provider {
            Chosen::Embedded => embedded::down(recorded).await,
            Chosen::Kind(engine) => kind::down(*engine, recorded, observer).await?,
            Chosen::Existing { .. } => {}
        }
    }
    embedded::clean(directory, observer).await?;
    state::forget(directory)?;
    Ok(recorded.map(|recorded| {
        observer(ClusterEvent::Stopped { name: recorded.name.clone(), took: started.elapsed() });
        recorded.name
    }))
}

/// Looks at the recorded cluster: its process, then its API server.
pub(crate) async fn status(directory: &Path) -> Result<Status, ClusterError> {
    let Some(recorded) = state::read(directory)? else { return Ok(Status::None) };
    let recorded = Box::new(recorded);
    if let Some(process) = recorded.process
        && !process.is_alive()
    {
        let reason = format!("its engine (pid {}) has ended", process.pid);
        return Ok(Status::Gone { recorded, reason });
    }
    match answers(&recorded).await {
        Ok(()) => Ok(Status::Running(recorded)),
        Err(error) => Ok(Status::Gone { recorded, reason: error.to_string() }),
    }
}

/// Where the logs are, after collecting them when they are not in the directory already.
pub(crate) async fn logs(directory: &Path, observer: Observer<'_>) -> Result<PathBuf, ClusterError> {
    let recorded = state::read(directory)?;
    match recorded {
        Some(Recorded { provider: Chosen::Kind(engine), name, .. }) => {
            kind::export_logs(engine, &name, directory, observer).await
        }
        Some(Recorded { provider: Chosen::Existing { .. }, kubeconfig, .. }) => {
            Err(ClusterError::Kubeconfig {
                file: kubeconfig,
                message: "this cluster keeps its own logs".to_owned(),
                hint: Some("ask its administrator, or look at events: kubectl get events -A".to_owned()),
            })
        }
        Some(_) | None if embedded::log_file(directory).is_file() => Ok(embedded::log_file(directory)),
        Some(_) | None => Err(ClusterError::NoCluster { directory: directory.to_path_buf() }),
    }
}

const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

async fn answers(recorded: &Recorded) -> Result<(), ClusterError> {
    let client = client(recorded).await?;
    let unreachable =
        |message: String| ClusterError::Unreachable { server: recorded.server.clone(), message };
    match timeout(ANSWERS_WITHIN, client.apiserver_version()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable(format!("no answer within {}s", ANSWERS_WITHIN.as_secs()))),
    }
}

/// The architecture of the first node.
async fn node_architecture(recorded: &Recorded) -> Result<String, ClusterError> {
    let client = client(recorded).await?;
    let unreachable = |error: ::kube::Error| ClusterError::Unreachable {
        server: recorded.server.clone(),
        message: error.to_string(),
    };
    let nodes = ::kube::Api::<Node>::all(client)
        .list(&::kube::api::ListParams::default())
        .await
        .map_err(unreachable)?;
    let info = nodes.items.into_iter().find_map(|node| node.status?.node_info);
    Ok(info.map(|info| info.architecture).unwrap_or_default())
}

async fn client(recorded: &Recorded) -> Result<Client, ClusterError> {
    let failed =
        |message: String| ClusterError::Kubeconfig { file: recorded.kubeconfig.clone(), message, hint: None };
    let kubeconfig =
        Kubeconfig::read_from(&recorded.kubeconfig).map_err(|error| failed(error.to_string()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.map_err(|error| failed(error.to_string()))?)
        .map_err(|error| failed(error.to_string()))
}
