//! Engines run a workflow as a child object: they build it and read how it does.

pub mod job;
