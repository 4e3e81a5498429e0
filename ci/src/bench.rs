//! Measurements against other people's tools, side by side in one run: what they are given is generated here, and what they do is
//! counted on the wire.

pub mod corpus;
pub mod mirror;
pub mod registry;

mod tool;
