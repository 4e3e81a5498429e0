//! What the containers of a pod stand on: its namespaces, its volumes, and the files every container gets.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use kube::ResourceExt;
use tokio::sync::Mutex;

use crate::controllers::events::Note;
use crate::node::Node;
use crate::node::container::command::expand;
use crate::node::container::environment::Variables;
use crate::node::container::files;
use crate::node::sandbox::pod::{PodSandbox, SandboxError};
use crate::node::sandbox::spec::Mount;
use crate::node::volume::{VolumeError, Volumes};

/// See the module. Dropped, namespaces and mounts are gone.
pub(crate) struct Ground {
    /// The namespaces.
    pub sandbox: PodSandbox,
    /// The volumes; locked while they are brought up to date.
    pub volumes: Mutex<Volumes>,
    /// What the pod calls itself.
    pub host_name: String,
    files: PathBuf,
}

/// The ground could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroundError {
    /// A volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A namespace or the network.
    #[error("Failed to create pod sandbox: {0}")]
    Sandbox(#[from] SandboxError),
    /// A file.
    #[error("Failed to create pod sandbox: writing {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl GroundError {
    /// The event about it.
    pub(crate) fn note(&self) -> Note {
        let reason = match self {
            Self::Volume(_) => "FailedMount",
            Self::Sandbox(_) | Self::File { .. } => "FailedCreatePodSandBox",
        };
        Note::warning(reason, self.to_string())
    }
}

impl Ground {
    /// Makes everything for a pod below `directory`.
    pub(crate) async fn make(node: &Node, pod: &Pod, directory: &Path) -> Result<Self, GroundError> {
        let spec = pod.spec.clone().unwrap_or_default();
        let (options, namespace) = (&node.options, pod.namespace().unwrap_or_default());
        let on_host = spec.host_network == Some(true);
        let name = files::host_name(&spec, &pod.name_any(), &namespace, &options.domain);
        let host_name = if on_host { options.name.clone() } else { name.name.clone() };
        let placement = node.placement(None);
        let volumes = Volumes::make(&node.client, pod, &placement, directory.join("volumes"));
        let network = (!on_host).then(|| node.network.clone());
        let (volumes, sandbox) = tokio::join!(volumes, PodSandbox::create(host_name.clone(), network));
        let (volumes, sandbox) = (volumes?, sandbox?);
        let address = sandbox.address().unwrap_or(options.gateway).to_string();
        let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let files = directory.join("files");
        for (file, text) in [
            ("hosts", files::hosts(&spec, &address, &name)),
            ("hostname", format!("{host_name}\n")),
            ("resolv.conf", files::resolv_conf(&spec, &namespace, options.dns, &options.domain, &resolver)),
        ] {
            let path = files.join(file);
            let written = fs::create_dir_all(&files).and_then(|()| fs::write(&path, text));
            written.map_err(|source| GroundError::File { path, source })?;
        }
        Ok(Self { sandbox, volumes: Mutex::new(volumes), host_name, files })
    }

    /// The pod's own address.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        self.sandbox.address()
    }

    /// What is mounted into a container, outer paths before inner ones. The error is the message of
    /// `CreateContainerConfigError`.
    pub(crate) async fn mounts(
        &self,
        container: &Container,
        variables: &Variables,
        last_words: &Path,
    ) -> Result<Vec<Mount>, String> {
        let volumes = self.volumes.lock().await;
        let mut mounts = Vec::new();
        for asked in container.volume_mounts.iter().flatten() {
            let place = volumes.place(&asked.name);
            let place = place.ok_or_else(|| format!("cannot find volume {:?} to mount", asked.name))?;
            mounts.push(Mount {
                source: place.path.clone(),
                sub_path: sub_path(asked, variables)?,
                target: PathBuf::from(&asked.mount_path),
                read_only: place.read_only || asked.read_only == Some(true),
            });
        }
        let words = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        let own = ["hosts", "hostname", "resolv.conf"]
            .map(|file| (self.files.join(file), PathBuf::from("/etc").join(file)))
            .into_iter()
            .chain([(last_words.to_owned(), PathBuf::from(words))]);
        for (source, target) in own {
            // A volume in its place means that the pod has its own.
            if !mounts.iter().any(|mount| mount.target == target) {
                mounts.push(Mount { source, sub_path: None, target, read_only: false });
            }
        }
        mounts.sort_by_key(|mount| mount.target.components().count());
        Ok(mounts)
    }
}

fn sub_path(mount: &VolumeMount, variables: &Variables) -> Result<Option<PathBuf>, String> {
    let path = match (&mount.sub_path, &mount.sub_path_expr) {
        (Some(path), _) if !path.is_empty() => path.clone(),
        (_, Some(expression)) if !expression.is_empty() => {
            let expanded = expand(expression, &|name| variables.get(name).cloned());
            if expanded.contains("$(") {
                return Err(format!("missing value for a variable of subPathExpr {expression:?}"));
            }
            expanded
        }
        _ => return Ok(None),
    };
    Ok(Some(PathBuf::from(path)))
}
