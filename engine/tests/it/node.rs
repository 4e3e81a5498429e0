//! The node for real: namespaces, root file systems, networks, images and whole pods on this machine.

mod cluster;
mod failures;
mod lifecycle;
pub mod program;
mod registry;
mod sandbox;
mod volumes;
