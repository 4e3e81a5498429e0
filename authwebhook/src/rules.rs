//! What may be written and what is stamped, by resource. Pure.

pub mod workflow_execution;
