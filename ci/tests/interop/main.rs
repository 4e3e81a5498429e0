//! Commands against other people's programs. Run by name: `cargo test --workspace --test interop`.
//!
//!     apt-get install docker-registry

// The mirror to Docker's registry.
#[cfg(test)]
mod mirror;
#[cfg(test)]
#[path = "../kill/world.rs"]
mod world;
