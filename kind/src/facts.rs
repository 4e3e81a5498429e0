//! What this machine has that a cluster could be made of: gathered here, judged in [`crate::choose`].

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::timeout;

/// A container engine kind can work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerEngine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// nerdctl, containerd's own command line.
    Nerdctl,
}

impl ContainerEngine {
    /// The command's name, which is also what kind calls it.
    pub fn command(self) -> &'static str {
        match self {
            ContainerEngine::Docker => "docker",
            ContainerEngine::Podman => "podman",
            ContainerEngine::Nerdctl => "nerdctl",
        }
    }
}

impl fmt::Display for ContainerEngine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.command())
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The first of docker, podman, nerdctl whose daemon answers.
    pub container_engine: Option<ContainerEngine>,
    /// Whether `kind version` runs.
    pub kind_installed: bool,
    /// Whether this is Linux.
    pub linux: bool,
    /// Whether this process is root.
    pub root: bool,
    /// Whether this user may create user namespaces.
    pub user_namespaces: bool,
    /// The kubeconfig kubectl would read: the first file of `KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
}

/// An engine that takes longer to say that it is there is not usable.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

impl Facts {
    /// Asks this machine.
    pub async fn gather() -> Facts {
        let (docker, podman, nerdctl, kind_installed) = tokio::join!(
            answers("docker", &["info", "--format", "{{.ServerVersion}}"]),
            answers("podman", &["info", "--format", "{{.Version.Version}}"]),
            answers("nerdctl", &["info"]),
            answers("kind", &["version"]),
        );
        let engines = [
            (docker, ContainerEngine::Docker),
            (podman, ContainerEngine::Podman),
            (nerdctl, ContainerEngine::Nerdctl),
        ];
        Facts {
            container_engine: engines.into_iter().find(|(answers, _)| *answers).map(|(_, engine)| engine),
            kind_installed,
            linux: cfg!(target_os = "linux"),
            root: nix::unistd::geteuid().is_root(),
            user_namespaces: may_create_user_namespaces(),
            kubeconfig: kubeconfig(),
        }
    }
}

async fn answers(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    match timeout(ANSWERS_WITHIN, command.status()).await {
        Ok(Ok(status)) => status.success(),
        _ => false,
    }
}

/// The three switches distributions have for this. A switch that does not exist is on.
fn may_create_user_namespaces() -> bool {
    let value = |file: &str| fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i64>().ok());
    value("/proc/sys/user/max_user_namespaces").is_none_or(|most| most > 0)
        && value("/proc/sys/kernel/unprivileged_userns_clone").is_none_or(|allowed| allowed != 0)
        && value("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
            .is_none_or(|restricted| restricted == 0)
}

fn kubeconfig() -> Option<PathBuf> {
    let named = std::env::var_os("KUBECONFIG").and_then(|files| std::env::split_paths(&files).next());
    let default = || std::env::home_dir().map(|home| home.join(".kube/config"));
    named.or_else(default).filter(|file| file.is_file())
}
