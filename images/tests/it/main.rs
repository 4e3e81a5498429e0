//! The crate against the outside: HTTP, files, other people's tools.

// A registry whose answers are scripted, in front of a real one or of none.
#[cfg(test)]
mod scripted;
// Content to push: blobs, manifests, whole images in a layout.
#[cfg(test)]
mod content;

// Something to build.
#[cfg(test)]
mod workspace;

// What a client may expect of the in-process registry.
#[cfg(test)]
mod registry;
// What registries do to a client.
#[cfg(test)]
mod client;
// Images from a layout to a registry.
#[cfg(test)]
mod push;
// From source to a proven image in a registry.
#[cfg(test)]
mod build;
// Images on other images.
#[cfg(test)]
mod base;
// What nobody sends by accident.
#[cfg(test)]
mod hostile;
// A source and a destination.
#[cfg(test)]
mod sides;

// Images from registry to registry.
#[cfg(test)]
mod mirror;
// What is signed and said about them.
#[cfg(test)]
mod signatures;
// Where there is no network.
#[cfg(test)]
mod bundle;
// What that costs, and why.
#[cfg(test)]
mod forecast;
// Images over wires on which things happen.
#[cfg(test)]
#[path = "../faults/rounds.rs"]
mod rounds;
