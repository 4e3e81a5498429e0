//! The crate against the outside: HTTP, files, other people's tools.

// A registry whose answers are scripted, in front of a real one or of none.
mod scripted;
// Content to push: blobs, manifests, whole images in a layout.
mod content;

// What a client may expect of the in-process registry.
mod registry;
// What registries do to a client.
mod client;
// Images from a layout to a registry.
mod push;
// From source to a proven image in a registry.
mod build;
