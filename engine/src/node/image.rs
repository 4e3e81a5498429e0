//! Images: from a reference in a pod to directories of layers on disk.
//!
//! Every byte is checked against the digest that names it before anything uses it. Layers are unpacked once, into a directory
//! named after their digest that appears in one step, so that killed or concurrent engines never see half of one.

pub mod digest;
mod flatten;
pub mod manifest;
pub mod pull;
pub mod reference;
mod registry;
pub mod store;
mod unpack;

pub use digest::Digest;
pub use pull::{Image, PullError, Puller};
pub use reference::Reference;
