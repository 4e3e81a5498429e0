//! What a cluster's directory remembers: `cluster.json`, and a lock so that two commands do not work on one cluster.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::choose::Chosen;
use crate::process::Process;
use crate::provider::ClusterError;
use crate::{Lifetime, RegistryMirror};

const STATE: &str = "cluster.json";
const LOCK: &str = "lock";

/// A cluster as it was recorded when it came up, or began to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recorded {
    /// Its name.
    pub name: String,
    /// Who provides it.
    pub provider: Chosen,
    /// Administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// URL of its API server; empty while it comes up.
    pub server: String,
    /// Architecture of its nodes; empty while it comes up.
    pub node_architecture: String,
    /// The embedded engine.
    pub process: Option<Process>,
    /// Whose life it shares.
    pub lifetime: Lifetime,
    /// Registries its nodes were told about.
    pub mirrors: Vec<RegistryMirror>,
    /// What it was made from; another value means that it has to be made again.
    pub fingerprint: String,
}

/// What is known about a directory's cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Nothing is recorded.
    None,
    /// It is recorded and answers.
    Running(Box<Recorded>),
    /// It is recorded and does not answer; `up` or `down` cleans up.
    Gone {
        /// What was recorded.
        recorded: Box<Recorded>,
        /// What is wrong with it.
        reason: String,
    },
}

/// The recorded cluster. A state file that cannot be read counts as none: what it described is found by other means.
pub(crate) fn read(directory: &Path) -> Result<Option<Recorded>, ClusterError> {
    let file = directory.join(STATE);
    match fs::read(&file) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ClusterError::File { doing: "read", file, source }),
    }
}

/// Records a cluster, in one step: a reader sees the old state or the new.
pub(crate) fn write(directory: &Path, recorded: &Recorded) -> Result<(), ClusterError> {
    let file = directory.join(STATE);
    let next = directory.join(format!("{STATE}.next"));
    let failed = |source| ClusterError::File { doing: "write", file: file.clone(), source };
    let text = serde_json::to_vec_pretty(recorded).map_err(|error| failed(error.into()))?;
    fs::write(&next, text).map_err(failed)?;
    fs::rename(&next, &file).map_err(failed)
}

/// Forgets a cluster.
pub(crate) fn forget(directory: &Path) -> Result<(), ClusterError> {
    for name in [STATE, "kubeconfig"] {
        let file = directory.join(name);
        match fs::remove_file(&file) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(ClusterError::File { doing: "remove", file, source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Held while one command works on the cluster; the kernel lets go of it when that command ends, however it ends.
pub(crate) fn lock(directory: &Path) -> Result<File, ClusterError> {
    let file = directory.join(LOCK);
    let failed = |source| ClusterError::File { doing: "lock", file: file.clone(), source };
    let lock = File::create(&file).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(ClusterError::Busy { directory: directory.to_path_buf() }),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}
