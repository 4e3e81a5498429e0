//! AuthWebhook: an admission webhook that records which person made a decision. It stamps who and when into the clearance of a
//! block and the decision about a remediation, refuses a clearance without a reason and a second decision, records who cancels
//! a notification, and reports all of it to the audit trail.
//!
//! It does not decide who may do these things: that is RBAC's. It keeps no state but its own certificate and the
//! events that the audit trail does not have yet, and what it cannot report never changes a verdict.

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
