//! From a layout to a registry: only what is missing moves, and a name changes only when everything behind it has arrived.
//!
//! `plan` asks by HEAD what is there, from the top down: an index the registry has needs no further questions. `execute` moves
//! blobs side by side, each once, however many repositories want it; then manifests, then indexes by digest, tags last.

mod execute;
mod plan;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use plan::{BlobPlan, ImagePlan, PushPlan};

use crate::build::BuiltImage;
use crate::client::{Client, ClientError};
use crate::digest::Digest;
use crate::layout::{Layout, LayoutError};
use crate::reference::{Reference, is_repository, is_tag};

/// Where images go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The registry as in references: `registry.example`, `127.0.0.1:5000`.
    pub registry: String,
    /// Put before the images' names, e.g. `team`; may be empty.
    pub prefix: String,
    /// Tags to point at each image; may be empty, references are by digest anyway.
    pub tags: Vec<String>,
}

/// Reads `host[/prefix][:tag]`.
impl FromStr for Destination {
    type Err = PushError;

    fn from_str(text: &str) -> Result<Destination, PushError> {
        let malformed = || PushError::Destination { what: text.to_string() };
        let (registry, rest) = text.split_once('/').unwrap_or((text, ""));
        let (prefix, tag) = rest.rsplit_once(':').map_or((rest, None), |(prefix, tag)| (prefix, Some(tag)));
        let is_host = registry.contains(['.', ':']) || registry == "localhost";
        let is_prefix = prefix.is_empty() || is_repository(prefix);
        if !is_host || !is_prefix || tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(malformed());
        }
        Ok(Destination {
            registry: registry.to_string(),
            prefix: prefix.to_string(),
            tags: tag.into_iter().map(str::to_string).collect(),
        })
    }
}

impl Destination {
    /// A registry whose repositories are named like the images.
    pub fn registry(registry: impl Into<String>) -> Destination {
        Destination { registry: registry.into(), prefix: String::new(), tags: Vec::new() }
    }

    /// The repository of an image.
    pub fn repository(&self, image: &str) -> String {
        let prefix = self.prefix.trim_matches('/');
        if prefix.is_empty() { image.to_string() } else { format!("{prefix}/{image}") }
    }

    fn check(&self, images: &[BuiltImage]) -> Result<(), PushError> {
        let names = images.iter().map(|image| self.repository(&image.name));
        for name in names {
            if !is_repository(&name) {
                return Err(PushError::Destination { what: name });
            }
        }
        match self.tags.iter().find(|tag| !is_tag(tag)) {
            Some(tag) => Err(PushError::Destination { what: tag.clone() }),
            None => Ok(()),
        }
    }
}

/// What a push did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pushed {
    /// Image name → `registry/repository@sha256:…`.
    pub references: BTreeMap<String, String>,
    /// Blobs that were sent.
    pub blobs: usize,
    /// Blobs the registry took from a repository next door.
    pub mounted: usize,
    /// Manifests, indexes and tags that were written.
    pub manifests: usize,
    /// Bytes that were sent; 0 means nothing changed.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// What happens while pushing, for whoever shows progress.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PushEvent {
    /// It is known what is missing.
    Planned {
        /// Blobs to be sent or mounted.
        blobs: usize,
        /// Their bytes.
        bytes: u64,
        /// Images that are already there.
        unchanged: usize,
    },
    /// Bytes have moved.
    Progress {
        /// How many, since the last time.
        bytes: u64,
    },
    /// A blob has arrived.
    Blob {
        /// Its repository.
        repository: String,
        /// Its digest.
        digest: Digest,
        /// The registry had it next door.
        mounted: bool,
        /// Bytes that were sent for it.
        bytes: u64,
    },
    /// An image is there, under all its tags.
    Pushed {
        /// The image.
        image: String,
        /// By digest.
        reference: String,
    },
}

/// Who is told what happens.
pub type Observer = Arc<dyn Fn(PushEvent) + Send + Sync>;

/// Images could not be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// The destination is not one.
    #[error("push to `{what}`: the name is malformed")]
    Destination {
        /// The repository or tag.
        what: String,
    },
    /// The registry does not do what it should.
    #[error("push the image `{image}`")]
    Registry {
        /// The image.
        image: String,
        /// Why.
        source: ClientError,
    },
    /// The layout cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl PushError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            PushError::Destination { .. } => {
                Some("names are lower case, e.g. `registry.example/team/app:v1`".to_string())
            }
            PushError::Registry { source, .. } => source.hint(),
            PushError::Layout(error) => error.hint(),
        }
    }
}

/// Pushes images from a layout. Whatever the registry has already does not move.
pub async fn push(
    layout: &Layout,
    images: &[BuiltImage],
    destination: &Destination,
    client: &Client,
    observer: &Observer,
) -> Result<Pushed, PushError> {
    let started = Instant::now();
    destination.check(images)?;
    let plan = plan::plan(layout, images, destination, client).await?;
    observer(PushEvent::Planned {
        blobs: plan.blobs.len(),
        bytes: plan.blobs.iter().map(|blob| blob.descriptor.size).sum(),
        unchanged: plan.images.iter().filter(|image| image.is_done()).count(),
    });
    let mut pushed = execute::execute(layout, &plan, destination, client, observer).await?;
    pushed.seconds = started.elapsed().as_secs_f64();
    Ok(pushed)
}

fn reference(destination: &Destination, repository: &str, digest: &Digest) -> String {
    Reference {
        registry: destination.registry.clone(),
        repository: repository.to_string(),
        tag: None,
        digest: Some(digest.clone()),
    }
    .to_string()
}

fn failed(image: &str) -> impl FnOnce(ClientError) -> PushError {
    let image = image.to_string();
    move |source| PushError::Registry { image, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_people_write_them() {
        let check = |text: &str, registry: &str, prefix: &str, tags: &[&str]| {
            let destination: Destination = text.parse().unwrap();
            assert_eq!(
                (destination.registry.as_str(), destination.prefix.as_str()),
                (registry, prefix),
                "{text}"
            );
            assert_eq!(destination.tags, tags, "{text}");
        };
        check("registry.example", "registry.example", "", &[]);
        check("127.0.0.1:5000", "127.0.0.1:5000", "", &[]);
        check("registry.example/team/app:v1", "registry.example", "team/app", &["v1"]);
        check("localhost/:v1", "localhost", "", &["v1"]);
        for malformed in
            ["", "team", "registry.example/Team", "registry.example/team:v 1", "registry.example/../x"]
        {
            assert!(malformed.parse::<Destination>().is_err(), "{malformed}");
        }
    }
}
