//! Where containers run: the namespaces of a pod, and processes with a root file system of their own inside them.
//!
//! The engine starts itself again as a small single-threaded process ([`entry`]), which joins the pod's namespaces, forks the
//! container's first process as a child *of the engine* and goes away. That child builds its root and becomes the program.
//! No process besides the container's own stays behind, and set-up runs in ordinary code, not between `fork` and `exec`.

pub mod capability;
pub mod entry;
mod identity;
pub mod launch;
pub mod network;
pub mod pod;
mod rootfs;
pub mod spec;
