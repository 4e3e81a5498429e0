//! The mirror: images of other registries, copied to an approved one and pinned there.
//!
//! `declaration` reads `images/mirror.toml`, `select` decides which tags a rule takes, `lock` remembers what each of them is,
//! and `plan` decides what a run would do. All of it is pure but for reading and writing the two files.

pub mod declaration;
pub mod lock;
pub mod plan;
pub mod select;

pub use declaration::{Mirror, MirrorError, Repository, Rule};
pub use lock::{Lock, LockError, Locked};
pub use plan::{Action, Forecast, Plan, Seen, Step, plan};
pub use select::{Decision, Selection};
