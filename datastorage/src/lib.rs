//! DataStorage: the audit trail over HTTP. It accepts events, each exactly once, keeps them durably in a hash chain per
//! correlation, and answers queries. It is the only process that touches the database.
//!
//! It does not authenticate callers, does not change or delete an event, and knows nothing of Kubernetes.

pub mod options;
pub mod run;

pub mod server;

pub mod chain;
pub mod event;
pub mod time_bound;

pub mod repository;

pub mod metrics;
pub mod telemetry;
