//! What to run and around it: the message from the engine to the process that becomes a container.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One process to start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// Where the process lives.
    pub place: Place,
    /// What runs there.
    pub process: Process,
}

/// Where a process lives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Place {
    /// A new container.
    Container {
        /// Namespaces of the pod to join, as paths the engine's child can open.
        namespaces: Vec<PathBuf>,
        /// File by which it joins its control group.
        cgroup: Option<PathBuf>,
        /// Its file system.
        rootfs: Rootfs,
    },
    /// Inside a running container.
    Inside {
        /// PID of the container's first process, as the engine sees it.
        pid: i32,
    },
}

/// The file system a container sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Directories of the image's layers, topmost first.
    pub layers: Vec<PathBuf>,
    /// An empty directory to mount on; what is mounted there is seen by the container only.
    pub scratch: PathBuf,
    /// Nothing but mounted volumes can be written.
    pub read_only: bool,
    /// A privileged container sees all of `/proc` and `/sys`, writable.
    pub privileged: bool,
    /// Volumes and files, in the order in which they are mounted.
    pub mounts: Vec<Mount>,
}

/// A file or directory of the node that appears in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the node.
    pub source: PathBuf,
    /// A path below `source`, chosen by the pod's author: resolved inside `source`, and made as a directory when missing.
    pub sub_path: Option<PathBuf>,
    /// In the container.
    pub target: PathBuf,
    /// The container cannot write to it.
    pub read_only: bool,
}

/// A program and who runs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments; a program without a slash is looked up in the `PATH` of `env`.
    pub args: Vec<String>,
    /// `NAME=value`
    pub env: Vec<String>,
    /// Working directory, made when missing.
    pub cwd: PathBuf,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Numbers of the capabilities the process may have.
    pub capabilities: Vec<u8>,
    /// The process and its children can gain no privileges by executing files.
    pub no_new_privileges: bool,
}

/// What the starting process tells the engine, one JSON document per line; the connection closes when the program runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The first process exists under this PID.
    Started(i32),
    /// Set-up failed.
    Failed {
        /// What was attempted, with names.
        step: String,
        /// The cause.
        cause: String,
    },
}
