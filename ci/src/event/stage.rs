//! What happens on the way from declaration to verdict, and what a failure leaves to tell.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seconds;

/// A part of the way from declaration to verdict. Tiers are not stages: their number is the declaration's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Read the declarations and decide everything.
    Plan,
    /// Compile, assemble and prove images.
    Build,
    /// Push them to a registry.
    Push,
    /// Bring a cluster up.
    Cluster,
    /// Apply the components and wait for them.
    Deploy,
    /// Take the cluster down.
    Down,
}

impl Stage {
    /// Its name, as in `--from deploy`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Plan => "plan",
            Stage::Build => "build",
            Stage::Push => "push",
            Stage::Cluster => "cluster",
            Stage::Deploy => "deploy",
            Stage::Down => "down",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// What happens to a stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum StageEvent {
    /// It began.
    Started {
        /// Which.
        stage: Stage,
    },
    /// It did what it had to.
    Finished {
        /// Which.
        stage: Stage,
        /// How long it took.
        #[serde(with = "seconds", rename = "seconds")]
        took: Duration,
    },
    /// It could not.
    Failed {
        /// Which.
        stage: Stage,
        /// How long it took.
        #[serde(with = "seconds", rename = "seconds")]
        took: Duration,
        /// Why.
        problem: Problem,
    },
    /// What an earlier run left is used instead.
    Reused {
        /// Which.
        stage: Stage,
        /// From where, as in "--from deploy: images.json of 2026-01-09T15-41-07".
        reason: String,
    },
}

/// Something that stopped a stage or a tier, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What failed, in one sentence without full stop.
    pub message: String,
    /// Why, outermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The command or edit that helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the failing command printed, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

impl Problem {
    /// An error and its sources.
    pub fn new(error: &(dyn std::error::Error + 'static), hint: Option<String>) -> Problem {
        let mut causes: Vec<String> = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            // A transparent error says the same as its source.
            if causes.last().unwrap_or(&error.to_string()) != &text {
                causes.push(text);
            }
            source = cause.source();
        }
        Problem { message: error.to_string(), causes, hint, output: None }
    }
}

/// What happens while images are pushed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum PushEvent {
    /// The registry answers.
    RegistryReady {
        /// As in "127.0.0.1:40001".
        address: String,
    },
    /// An image and everything it refers to are in the registry.
    Pushed {
        /// Its name.
        image: String,
        /// By digest.
        reference: String,
        /// Bytes that had to be sent; 0 when the registry had everything.
        bytes: u64,
        /// How long it took.
        #[serde(with = "seconds", rename = "seconds")]
        took: Duration,
    },
}
