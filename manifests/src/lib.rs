//! The YAML that is deployed, and everything that happens to it: read, rendered with final image digests, applied once in
//! dependency order, awaited, and explained when it does not become ready.
//!
//! Progress is in the types: [`Components`] → [`Rendered`] → [`Applied`] → [`Ready`]. Reading, rendering, ordering, the
//! readiness rules and the diagnosis are pure functions; only `apply`, `ready` and `diagnose::snapshot` talk to a cluster.
//!
//! What this crate is not: a template language (the YAML beside it is complete and works with `kubectl apply -k`), and it
//! never patches an object after applying it.

pub mod apply;
pub mod components;
pub mod diagnose;
pub mod document;
pub mod event;
pub mod object;
pub mod order;
pub mod ready;
pub mod render;

pub use apply::{Applied, ApplyError, apply};
pub use components::{Component, Components, LoadError, Readiness};
pub use diagnose::{Diagnosis, Snapshot, diagnose, explain};
pub use event::DeployEvent;
pub use mistake::Mistake;
pub use object::{Object, ObjectId};
pub use ready::{NotReady, Ready, ReadyError, ready};
pub use render::{RenderError, Rendered, RenderedComponent, render};

/// The field manager of every server-side apply this crate sends.
pub const FIELD_MANAGER: &str = "slipway";

/// Label that names the component an object was rendered for; the key of pruning and of the diagnosis.
pub const COMPONENT_LABEL: &str = "slipway.localhost/component";

/// Label whose value [`FIELD_MANAGER`] marks an object as ours.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
