//! What happens while components are deployed, as one closed enum for whoever reports it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::object::ObjectId;

/// How an apply changed an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It did not exist.
    Created,
    /// It existed and is different now.
    Configured,
    /// Nothing had to be written.
    Unchanged,
    /// It existed, could not be changed in place, and was deleted and created again.
    Replaced,
}

/// One thing that happened during `apply` or `ready`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum DeployEvent {
    /// A component's objects are about to be sent.
    Applying {
        /// The component.
        component: String,
        /// How many objects it has.
        objects: usize,
    },
    /// One object was sent.
    Applied {
        /// Its component.
        component: String,
        /// The object.
        object: ObjectId,
        /// What that changed.
        change: Change,
    },
    /// The API server could not take an object yet; it is sent again.
    Retrying {
        /// Its component.
        component: String,
        /// The object.
        object: ObjectId,
        /// What the API server said.
        reason: String,
    },
    /// An object that left the declaration was deleted.
    Pruned {
        /// The component it belonged to.
        component: String,
        /// The object.
        object: ObjectId,
    },
    /// What an object that is not current yet is waiting for; sent when it changes.
    Waiting {
        /// Its component.
        component: String,
        /// The object.
        object: ObjectId,
        /// As in "1 of 2 replicas are available".
        message: String,
    },
    /// Everything of a component is ready.
    Ready {
        /// The component.
        component: String,
        /// Since the wait began.
        took: Duration,
    },
}

/// Whoever wants to know. Called from the deploying task, so it should return quickly.
pub type Observer<'a> = &'a (dyn Fn(DeployEvent) + Sync);
