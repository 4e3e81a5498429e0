//! The registry the nodes pull from, which has to live as long as the cluster is used: in this process for a cluster that ends with it,
//! as a process of its own for one that stays.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use images::registry::{self, Options, Running};
use kind::Lifetime;
use kind::process::Process;
use nix::unistd::setsid;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::exit::{Failure, Reason};

/// The hidden command that serves one.
pub const COMMAND: &str = "serve-registry";

const RECORD: &str = "registry.json";

/// How long it may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A registry that answers.
#[derive(Debug)]
pub struct Registry {
    /// Where it listens.
    pub address: SocketAddr,
    /// Keeps one of this process alive.
    running: Option<Running>,
}

/// A registry of its own process, as it is remembered in the cluster's directory. Its address is kept when it is started again: the nodes
/// know it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Recorded {
    process: Process,
    address: SocketAddr,
}

impl Registry {
    /// Serves the images in `directory` to the cluster whose own directory is `cluster`.
    pub async fn open(directory: &Path, cluster: &Path, lifetime: Lifetime) -> Result<Registry, Failure> {
        match lifetime {
            Lifetime::Tied => {
                let running = registry::serve(Options::on_loopback(directory)).await?;
                Ok(Registry { address: running.address(), running: Some(running) })
            }
            Lifetime::Detached => {
                let recorded = recorded(cluster);
                let address = match recorded {
                    Some(Recorded { process, address }) if process.is_alive() => address,
                    _ => start(directory, cluster, recorded.map(|recorded| recorded.address)).await?,
                };
                Ok(Registry { address, running: None })
            }
        }
    }

    /// What nodes are told.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends one of this process; one of its own process stays.
    pub async fn close(self) {
        if let Some(running) = self.running {
            running.stop().await;
        }
    }
}

/// Ends the registry that was started for the cluster in `cluster`, if there is one.
pub async fn stop(cluster: &Path) -> Result<(), Failure> {
    if let Some(Recorded { process, .. }) = recorded(cluster) {
        process.stop(PATIENCE).await;
    }
    match fs::remove_file(cluster.join(RECORD)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable("forget the registry", &error)),
        _ => Ok(()),
    }
}

/// Serves until the process is told to end; says where on stdout.
pub async fn serve(directory: &Path, address: SocketAddr) -> Result<Running, Failure> {
    Ok(registry::serve(Options { dir: directory.to_path_buf(), address }).await?)
}

fn recorded(cluster: &Path) -> Option<Recorded> {
    serde_json::from_slice(&fs::read(cluster.join(RECORD)).ok()?).ok()
}

/// Starts a process that serves, and remembers it.
async fn start(directory: &Path, cluster: &Path, address: Option<SocketAddr>) -> Result<SocketAddr, Failure> {
    let failed = |error: io::Error| unusable("start the registry", &error);
    fs::create_dir_all(cluster).map_err(failed)?;
    let log = File::create(cluster.join("registry.log")).map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg(COMMAND).arg("--directory").arg(directory);
    command.args(address.iter().flat_map(|address| ["--listen".to_owned(), address.to_string()]));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    // SAFETY: setsid is async-signal-safe, and nothing else is called between fork and exec.
    unsafe { command.pre_exec(|| setsid().map(|_| ()).map_err(io::Error::from)) };
    let mut child = command.spawn().map_err(failed)?;
    let process = Process::current(child.id()).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let stdout = child.stdout.take();
    let first_line = spawn_blocking(move || {
        let mut line = String::new();
        stdout.map_or(Ok(0), |stdout| BufReader::new(stdout).read_line(&mut line)).map(|_| line)
    });
    let said = match timeout(PATIENCE, first_line).await {
        Ok(Ok(line)) => line.map_err(failed)?,
        Ok(Err(_)) | Err(_) => String::new(),
    };
    let address = said.trim().parse().map_err(|_| {
        process.kill();
        let hint = format!("its log is `{}`", cluster.join("registry.log").display());
        Failure::says(Reason::Cluster, "start the registry: it did not say where it listens", Some(hint))
    })?;
    let record = serde_json::to_vec_pretty(&Recorded { process, address })
        .map_err(|error| unusable("record the registry", &error.into()))?;
    fs::write(cluster.join(RECORD), record).map_err(|error| unusable("record the registry", &error))?;
    Ok(address)
}

fn unusable(doing: &str, error: &io::Error) -> Failure {
    Failure::says(Reason::Cluster, format!("{doing}: {error}"), None)
}
