//! What can keep a tag from being mirrored, and what a run came to.

use serde::Serialize;

use super::declaration::Repository;
use super::survey::Objection;
use crate::client::{ClientError, ErrorKind};
use crate::layout::LayoutError;
use crate::sign::SignError;

/// One tag could not be mirrored or verified.
#[derive(Debug, thiserror::Error)]
pub enum MirrorFailure {
    /// A registry does not do what it should.
    #[error("{doing} `{image}`")]
    Registry {
        /// What was attempted.
        doing: &'static str,
        /// The image.
        image: String,
        /// Why.
        source: ClientError,
    },
    /// The image breaks its rule.
    #[error("mirror `{image}`: {}", sentences(.objections))]
    Refused {
        /// The image.
        image: String,
        /// What is wrong with it.
        objections: Vec<Objection>,
    },
    /// What the source gives is no image.
    #[error("understand `{image}`: {problem}")]
    Malformed {
        /// The image.
        image: String,
        /// What is wrong.
        problem: String,
    },
    /// The source has something else than a moment ago.
    #[error("mirror `{image}`: it moved while the run was under way")]
    Moved {
        /// The image.
        image: String,
    },
    /// It is not mirrored.
    #[error("roll back `{image}`: the lock does not name it")]
    NotLocked {
        /// The image.
        image: String,
        /// What the lock names in the same repository, or at all.
        locked: Vec<String>,
    },
    /// There is nothing to go back to.
    #[error("roll back `{image}`: there is no previous digest under `{backup}`")]
    NoBackup {
        /// The image.
        image: String,
        /// The tag that would have it.
        backup: String,
    },
    /// The scanner does not let it pass, or did not run.
    #[error("scan `{image}`: {problem}")]
    Scan {
        /// The image.
        image: String,
        /// What it said.
        problem: String,
    },
    /// What is said about it could not be signed.
    #[error("sign what is said about `{image}`: there are no random numbers")]
    Unsigned {
        /// The image.
        image: String,
    },
    /// The key its signature is to be checked with.
    #[error("check the signature of `{image}`")]
    Key {
        /// The image.
        image: String,
        /// Why.
        source: Box<SignError>,
    },
    /// The local cache.
    #[error(transparent)]
    Cache(#[from] LayoutError),
}

fn sentences(objections: &[Objection]) -> String {
    objections.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// What a run came to, and whose turn it is; commands give each an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing differs.
    InSync,
    /// Something differs from the lock.
    Drift,
    /// Something was done, something was not.
    Partial,
    /// A rule forbids it.
    Policy,
    /// A registry asks to wait.
    RateLimit,
    /// A registry does not let us in.
    Auth,
    /// A registry or the network failed.
    Unavailable,
}

impl MirrorFailure {
    /// Whose turn it is.
    pub fn standing(&self) -> Standing {
        match self {
            MirrorFailure::Registry { source, .. } => match source.kind() {
                ErrorKind::Auth => Standing::Auth,
                ErrorKind::RateLimit => Standing::RateLimit,
                ErrorKind::NotFound | ErrorKind::Unavailable | ErrorKind::Registry | ErrorKind::Local => {
                    Standing::Unavailable
                }
            },
            MirrorFailure::Refused { .. } | MirrorFailure::Scan { .. } => Standing::Policy,
            MirrorFailure::Moved { .. }
            | MirrorFailure::NotLocked { .. }
            | MirrorFailure::NoBackup { .. } => Standing::Drift,
            MirrorFailure::Malformed { .. }
            | MirrorFailure::Unsigned { .. }
            | MirrorFailure::Key { .. }
            | MirrorFailure::Cache(_) => Standing::Unavailable,
        }
    }

    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            MirrorFailure::Registry { source, .. } => source.hint(),
            MirrorFailure::Refused { objections, .. } => objections.first().map(Objection::hint),
            MirrorFailure::Moved { .. } => Some("run `cargo xtask mirror sync` again".to_owned()),
            MirrorFailure::NotLocked { locked, .. } if locked.is_empty() => {
                Some("make the lock: cargo xtask mirror sync".to_owned())
            }
            MirrorFailure::NotLocked { locked, .. } => Some(format!("it names: {}", locked.join(", "))),
            MirrorFailure::NoBackup { .. } => Some(
                "only a tag that was moved has one; moving it is done by: cargo xtask mirror sync --update"
                    .to_owned(),
            ),
            MirrorFailure::Cache(error) => error.hint(),
            MirrorFailure::Key { source, .. } => source.hint(),
            MirrorFailure::Malformed { .. } | MirrorFailure::Scan { .. } | MirrorFailure::Unsigned { .. } => {
                None
            }
        }
    }
}

/// Names an image in an error of the client.
pub(super) fn failed(
    doing: &'static str,
    repository: &Repository,
    version: &str,
) -> impl FnOnce(ClientError) -> MirrorFailure {
    let image = name(repository, version);
    move |source| MirrorFailure::Registry { doing, image, source }
}

/// `registry/repository:tag` or `registry/repository@digest`.
pub(super) fn name(repository: &Repository, version: &str) -> String {
    let separator = if version.contains(':') { '@' } else { ':' };
    format!("{repository}{separator}{version}")
}
