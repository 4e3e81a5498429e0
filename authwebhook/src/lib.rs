//! AuthWebhook: an admission webhook that records which person made a manual decision. It stamps who and when into a block
//! clearance, refuses one without a reason, and reports it to the audit trail.
//!
//! It does not decide who may clear a block: that is RBAC's. It keeps no state but its own certificate, and what it
//! cannot report to the audit trail never changes a verdict.

pub mod options;
pub mod run;

pub mod rules;

pub mod review;
pub mod server;

pub mod audit;
pub mod certificate;
pub mod registration;
pub mod upkeep;

pub mod health;
pub mod metrics;
pub mod telemetry;
