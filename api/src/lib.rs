//! Every type that crosses a process boundary of the product: the `WorkflowExecution` resource, audit events and the HTTP
//! contract of the services, with the names and checks both sides must agree on.
//!
//! It is not a client, a server or a controller: nothing here does IO, reads a clock or knows who calls it.

pub mod notification_request;
pub mod remediation_approval_request;
pub mod workflow_execution;

pub mod audit;
pub mod catalog;
pub mod problem;
pub mod success_rate;
pub mod time_bound;

pub mod duration;
pub mod generated;
pub mod json;
pub mod names;
