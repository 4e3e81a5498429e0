//! Verbs of the product's end-to-end scenarios: create an execution, wait for what must come, ask the audit trail, restart a
//! component, be somebody else.
//!
//! They use nothing but a kubeconfig: no kubectl, no knowledge of what kind of cluster answers, no way in that a user
//! does not have.

pub mod cluster;
pub mod execution;
pub mod wait;

pub mod audit;
pub mod children;
pub mod component;
pub mod disruption;
pub mod events;
pub mod identity;
pub mod metrics;
