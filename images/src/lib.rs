//! From recipes to images in a registry, and the proof that each image is for the architecture it claims.
//!
//! `recipe` reads what should be built, `plan` decides how (pure), `build` compiles with cargo and assembles reproducible
//! OCI images in-process into a `layout` on disk, `proof` walks its layers, `push` moves what is missing to a
//! registry by digest. `registry` is an OCI distribution registry in this process; `client` speaks to any registry. `policy`
//! judges where images come from.
//!
//! It is not a container engine: nothing here runs a Dockerfile or needs a daemon; `container` hands generated ones to those who do, and
//! proves what comes back. It knows no cluster and no product; images are rows in `images/images.toml`.

pub mod recipe;

pub mod cargo;
pub mod platform;
pub mod toolchain;

pub mod plan;

pub mod build;
pub mod layer;
pub mod proof;

pub mod attest;
pub mod base;
pub mod bundle;
pub mod mirror;
pub mod prove;

pub mod policy;

pub mod client;
pub mod container;
pub mod containerfile;
pub mod publish;
pub mod push;
pub mod registry;
pub mod sign;
pub mod tarball;
pub mod wire;

pub mod digest;
pub mod document;
mod held;
pub mod layout;
pub mod reference;

pub use build::{BuildError, BuildEvent, BuiltImage, BuiltManifest, build};
pub use digest::Digest;
pub use layout::Layout;
pub use plan::{BuildPlan, BuildRequest, Platforms, plan};
pub use platform::Platform;

pub use publish::{PublishEvent, Published, publish};
pub use push::{Destination, PushEvent, Pushed, push};
pub use recipe::{Recipe, Recipes};
pub use reference::Reference;
