//! DataStorage: the audit trail over HTTP. It accepts events, each exactly once, keeps them durably in a hash chain per
//! correlation, answers queries and hands out signed copies; and it keeps the catalog of workflows. It is the only process that
//! touches the database.
//!
//! It changes no event, and deletes only whole correlations whose time is over and that nobody holds. There is no queue of
//! events that were accepted but not stored: what cannot be stored is refused, and the sender sends it again. The only thing it
//! asks of Kubernetes, and only with `--authorize`, is who a caller is and what that caller may do.

pub mod options;
pub mod run;
pub mod upkeep;
pub mod verify;

pub mod server;

pub mod chain;
pub mod event;
pub mod redact;
pub mod retention;
pub mod sign;
pub mod time_bound;
pub mod timeline;

pub mod repository;

pub mod metrics;
