//! The mirror: images of other registries, copied to an approved one and pinned there.
//!
//! `declaration` reads `images/mirror.toml`, `select` decides which tags a rule takes, `lock` remembers what each of them is. A run
//! `observe`s both sides by HEAD, makes a `plan` (pure), and `sync` carries it out: each image is `survey`ed, checked and
//! `transfer`red; `scan` and `attest` come before its tag moves. `verify` proves the result, `rollback` undoes it. Where there is
//! no network between, `bundle` carries it over.
//!
//! It deletes nothing at a destination, and a tag there never names something incomplete.

pub mod bundle;
pub mod declaration;
pub mod select;

pub mod lock;
pub mod plan;

mod attest;
mod error;
mod measure;
mod observe;
mod place;
mod rollback;
mod scan;
mod signature;
mod survey;
mod sync;
mod transfer;
mod verify;
mod why;

use std::sync::Arc;

pub use declaration::{Mirror, MirrorError, Repository, Rule};
pub use error::{MirrorFailure, Standing};
pub use lock::{Lock, LockError, Locked};
pub use measure::measure;
pub use observe::{Observed, observe, quotas};
pub use plan::{Action, Forecast, Plan, Seen, Step, plan};
pub use rollback::{RollbackError, rollback};
pub use select::{Decision, Selection};
pub use survey::{Objection, Survey};
pub use sync::{Promoted, Run, SyncError, Synced, backup_tag, sync};
pub use transfer::Moves;
pub use verify::{Age, Fault, Verified, age, verify};
pub use why::{Why, examine, why};

use crate::digest::Digest;

/// What happens while mirroring, for whoever shows progress.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MirrorEvent {
    /// It is known what has to move.
    Transfer {
        /// Blobs that some destination lacks.
        blobs: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// Bytes have come from a source.
    Progress {
        /// How many, since the last time.
        bytes: u64,
    },
    /// A blob is everywhere.
    Blob {
        /// Its digest.
        digest: Digest,
        /// Its size.
        bytes: u64,
    },
    /// A tag names its new image.
    Promoted {
        /// `registry/repository:tag`
        image: String,
        /// What it names.
        digest: Digest,
    },
    /// A tag stays what it is.
    Failed {
        /// Why.
        failure: Arc<MirrorFailure>,
    },
}

/// Who is told what happens.
pub type Observer = Arc<dyn Fn(MirrorEvent) + Send + Sync>;
