//! How the process ends, and what is said about a command that could not do what it was asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::Problem;

/// Why a command did not succeed. Each has an exit code of its own, so that scripts can tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Something went wrong that nobody foresaw: a full disk, a mistake of ours.
    Unforeseen,
    /// The command line makes no sense.
    Usage,
    /// A declaration has a mistake, or asks for something this machine cannot do.
    Declaration,
    /// Code or images could not be built.
    Build,
    /// The registry policy is violated.
    Policy,
    /// A cluster could not be brought up, or its images could not be pushed.
    Cluster,
    /// The components could not be deployed.
    Deploy,
    /// A tier's gate was not passed.
    Gate,
    /// A mirror is not what its lock says, or the lock is too old.
    Drift,
    /// A registry does not let us in.
    Auth,
    /// A registry asks to wait longer than we are ready for.
    RateLimit,
    /// Some images were mirrored and some were not.
    Partial,
    /// A registry or the network failed.
    Unavailable,
    /// Somebody stopped it.
    Interrupted,
}

impl Reason {
    /// The exit code. Documented in `docs/reference.md`.
    pub fn code(self) -> u8 {
        match self {
            Reason::Unforeseen => 1,
            Reason::Usage => 2,
            Reason::Declaration => 3,
            Reason::Build => 4,
            Reason::Policy => 5,
            Reason::Cluster => 6,
            Reason::Deploy => 7,
            Reason::Gate => 8,
            Reason::Drift => 10,
            Reason::Auth => 11,
            Reason::RateLimit => 12,
            Reason::Partial => 13,
            Reason::Unavailable => 14,
            Reason::Interrupted => 130,
        }
    }
}

/// A command that could not do what it was asked.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why, for scripts.
    pub reason: Reason,
    /// Why, for people.
    pub problem: Problem,
}

impl Failure {
    /// An error with its sources.
    pub fn new(reason: Reason, error: &(dyn std::error::Error + 'static), hint: Option<String>) -> Failure {
        Failure { reason, problem: Problem::new(error, hint) }
    }

    /// One sentence and what helps.
    pub fn says(reason: Reason, message: impl Into<String>, hint: Option<String>) -> Failure {
        Failure { reason, problem: Problem { message: message.into(), hint, ..Problem::default() } }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { message, causes, hint, output } = &self.problem;
        write!(out, "error: {message}")?;
        causes.iter().try_for_each(|cause| write!(out, "\n  because: {cause}"))?;
        if let Some(output) = output {
            output.lines().try_for_each(|line| write!(out, "\n    {line}"))?;
        }
        match hint {
            Some(hint) => write!(out, "\n  = hint: {hint}"),
            None => Ok(()),
        }
    }
}

macro_rules! failures {
    ($($error:ty => $reason:expr, $hint:expr;)*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                let hint: fn(&$error) -> Option<String> = $hint;
                Failure::new($reason, &error, hint(&error))
            }
        }
    )*};
}

failures! {
    crate::declaration::DeclarationError => Reason::Declaration, |error| error.hint();
    crate::spec::SpecError => Reason::Declaration, |error| error.hint();
    crate::plan::PlanError => Reason::Declaration, |error| error.hint();
    crate::run::FileError => Reason::Unforeseen, |_| None;
    images::BuildError => Reason::Build, |error| error.hint();
    images::base::BaseError => Reason::Build, |error| error.hint();
    images::push::PushError => Reason::Cluster, |error| error.hint();
    images::registry::ServeError => Reason::Cluster, |_| None;
    images::proof::ProofError => Reason::Build, |error| error.hint();
    kind::ClusterError => Reason::Cluster, |_| None;
    manifests::RenderError => Reason::Declaration, |_| None;
    manifests::ApplyError => Reason::Deploy, |_| None;
    manifests::ReadyError => Reason::Deploy, |_| None;
    manifests::diagnose::SnapshotError => Reason::Deploy, |_| None;
}

impl From<crate::compile::CompileError> for Failure {
    fn from(error: crate::compile::CompileError) -> Failure {
        Failure { reason: Reason::Build, problem: error.problem() }
    }
}
