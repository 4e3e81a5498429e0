//! One pod on the node.
//!
//! `observed` is what is known of it, plain data; `decide` says what is to be done next and `status` what the API is told, both
//! pure; `worker` is the task that does it.

pub(crate) mod decide;
pub(crate) mod observed;
pub(crate) mod status;

mod ground;
mod instance;
mod report;
mod start;
pub(crate) mod worker;

#[cfg(test)]
mod tests;
