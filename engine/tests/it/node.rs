//! The node for real: namespaces, root file systems, networks, images and whole pods on this machine.

pub mod program;
mod sandbox;
