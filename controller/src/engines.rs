//! Engines run a workflow as a child object: they build it and read how it does.

pub mod child;
pub mod served;

pub mod job;
pub mod tekton;
