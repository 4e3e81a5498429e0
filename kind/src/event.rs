//! What happens while a cluster comes up or goes down, as one closed enum for whoever reports it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum ClusterEvent {
    /// What a run that was killed had left is being removed.
    Stale {
        /// What was found.
        what: String,
    },
    /// The recorded cluster answers and is what was asked for.
    Reusing {
        /// Its name.
        name: String,
        /// Its server.
        server: String,
    },
    /// Part of the declaration has no meaning for this provider.
    Ignored {
        /// As in "nodes[0].image: the embedded engine has no node image".
        what: String,
    },
    /// The provider begins.
    Starting {
        /// The cluster's name.
        name: String,
        /// Who provides it.
        provider: String,
    },
    /// A command of another tool is run.
    Command {
        /// As it could be typed.
        line: String,
    },
    /// The API server answers.
    Ready {
        /// Its URL.
        server: String,
        /// Since `up` was called.
        took: Duration,
    },
    /// Logs were collected after a failure.
    CollectedLogs {
        /// Where they are.
        path: PathBuf,
    },
    /// The cluster is being taken down.
    Stopping {
        /// Its name.
        name: String,
    },
    /// It is gone.
    Stopped {
        /// Its name.
        name: String,
        /// Since `down` was called.
        took: Duration,
    },
}

/// Whoever wants to know. Called from the task that acts, so it should return quickly.
pub type Observer<'a> = &'a (dyn Fn(ClusterEvent) + Sync);
