//! The way from a plan to references a cluster can pull: build, prove, push.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::{self, BaseError};
use crate::build::{self, BuildError, BuildEvent, BuiltImage};
use crate::client::Client;
use crate::layout::Layout;
use crate::plan::BuildPlan;
use crate::push::{self, Destination, PushError, PushEvent, Pushed};

/// What was built and where it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The images, with what was proven about them.
    pub images: Vec<BuiltImage>,
    /// The push, with `name → registry/repository@sha256:…`.
    pub pushed: Pushed,
}

/// What happens on the way.
#[derive(Clone, Debug)]
pub enum PublishEvent {
    /// While building.
    Build(BuildEvent),
    /// While pushing.
    Push(PushEvent),
}

/// Images could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// They could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// What they stand on could not be fetched.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// They could not be pushed.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The process is ending.
    #[error("build the images: the process is ending")]
    Interrupted,
}

impl PublishError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            PublishError::Build(error) => error.hint(),
            PublishError::Base(error) => error.hint(),
            PublishError::Push(error) => error.hint(),
            PublishError::Interrupted => None,
        }
    }
}

/// Builds what the plan says and pushes it. Nothing is pushed that was not proven; nothing moves that did not change.
pub async fn publish(
    plan: BuildPlan,
    destination: &Destination,
    client: &Client,
    observer: Arc<dyn Fn(PublishEvent) + Send + Sync>,
) -> Result<Published, PublishError> {
    let layout = Layout::open(&plan.layout).map_err(BuildError::from)?;
    base::fetch(&plan, client).await?;
    let told = observer.clone();
    let build = move || build::build(&plan, &|event| told(PublishEvent::Build(event)));
    let images = tokio::task::spawn_blocking(build).await.map_err(|_| PublishError::Interrupted)??;
    let told: push::Observer = Arc::new(move |event| observer(PublishEvent::Push(event)));
    let pushed = push::push(&layout, &images, destination, client, &told).await?;
    Ok(Published { images, pushed })
}
