//! The node: a kubelet that runs the pods bound to it as processes in Linux namespaces, an ordinary client of the API.

pub mod image;
pub mod rooted;
pub mod sandbox;
