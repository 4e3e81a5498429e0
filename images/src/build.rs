//! Building: compile with cargo, pack layers, prove them, write the layout. Whatever did not change is not touched.
//!
//! `compile` runs cargo once per platform, `entries` are what goes into layers, `inputs` recognises what was packed before, `assemble` makes the
//! documents, `parallel` uses every core for that.

mod assemble;
mod compile;
mod entries;
mod inputs;
mod parallel;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use compile::CompileError;

use parallel::in_parallel;

use crate::attest::metadata::{self, Metadata};
use crate::attest::{self, audit};
use crate::base::BaseError;
use crate::container::{self, ContainerError};
use crate::document::Descriptor;
use crate::layout::{Layout, LayoutError};
use crate::plan::{BuildPlan, Compilation, PlannedImage};
use crate::platform::Platform;
use crate::proof::{ProofError, ProofRow};
use crate::recipe::Binary;
use crate::reference::Reference;

/// An image in the layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuiltImage {
    /// Its name, also its repository.
    pub name: String,
    /// The image index: what is pushed and deployed.
    pub index: Descriptor,
    /// One manifest per platform.
    pub manifests: Vec<BuiltManifest>,
    /// What was proven about its executables.
    pub proof: Vec<ProofRow>,
    /// Manifests of the documents about it.
    #[serde(default)]
    pub attestations: Vec<Descriptor>,
    /// Whether everything was already in the layout.
    pub cached: bool,
    /// Seconds spent on assembly and proof, the sum over its platforms.
    pub seconds: f64,
}

impl BuiltImage {
    /// The reference manifests use: by digest, in the registry called `registry`.
    pub fn reference(&self, registry: &str) -> Reference {
        Reference {
            registry: registry.to_string(),
            repository: self.name.clone(),
            tag: None,
            digest: Some(self.index.digest.clone()),
        }
    }
}

/// One platform of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BuiltManifest {
    /// Its platform.
    pub platform: String,
    /// Its manifest.
    pub manifest: Descriptor,
    /// Bytes of its layers as packed.
    pub layer_bytes: u64,
}

/// What happens while building, for whoever shows progress.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum BuildEvent {
    /// A toolchain is being made, which happens once on a machine.
    Preparing {
        /// For this platform.
        platform: Platform,
        /// Which part of it, as in "building the standard library for …".
        what: String,
    },
    /// cargo was started.
    CompileStarted {
        /// For this platform.
        platform: Platform,
        /// These binaries.
        binaries: Vec<String>,
        /// The command, as one could type it.
        command: String,
    },
    /// cargo said something (progress and warnings).
    CompilerLine {
        /// For this platform.
        platform: Platform,
        /// The line.
        line: String,
    },
    /// cargo says how far it is.
    Progress {
        /// For this platform.
        platform: Platform,
        /// Steps that are done.
        done: usize,
        /// Steps there are.
        total: usize,
    },
    /// cargo finished one crate.
    Compiled {
        /// For this platform.
        platform: Platform,
        /// The crate.
        package: String,
        /// It was up to date.
        fresh: bool,
    },
    /// cargo finished well.
    CompileFinished {
        /// For this platform.
        platform: Platform,
        /// Crates that were compiled; 0 means nothing changed.
        compiled: usize,
        /// How long it took.
        duration: Duration,
    },
    /// An image's layers are being packed and proven for a platform.
    Assembling {
        /// The image.
        image: String,
        /// The platform.
        platform: Platform,
    },
    /// An image is complete in the layout.
    Built(Box<BuiltImage>),
}

/// The images could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// cargo failed.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A file that should go into an image cannot be read.
    #[error("read {} for the image `{image}`", path.display())]
    Input {
        /// The image.
        image: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A layer could not be packed.
    #[error("pack the layer `{layer}` of the image `{image}`")]
    Pack {
        /// The image.
        image: String,
        /// The layer.
        layer: String,
        /// Why.
        source: io::Error,
    },
    /// A document could not be written.
    #[error("write the {document} of the image `{image}`")]
    Document {
        /// The image.
        image: String,
        /// Which document.
        document: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// cargo does not say what is in the programs.
    #[error("list what the images are made of")]
    Metadata {
        /// Why.
        source: io::Error,
    },
    /// It cannot be built in a container.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The image it stands on cannot be used.
    #[error("build the image `{image}`")]
    Base {
        /// The image.
        image: String,
        /// Why.
        source: BaseError,
    },
    /// The layout could not be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The image is not what it claims to be.
    #[error(transparent)]
    Proof(#[from] ProofError),
}

impl BuildError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            BuildError::Compile(error) => error.hint(),
            BuildError::Input { .. } => Some(format!("check the path in `{}`", crate::recipe::FILE)),
            BuildError::Metadata { .. } => {
                Some("see what `cargo metadata --format-version 1` says".to_string())
            }
            BuildError::Pack { .. } | BuildError::Document { .. } => None,
            BuildError::Container(error) => error.hint(),
            BuildError::Base { source, .. } => source.hint(),
            BuildError::Layout(error) => error.hint(),
            BuildError::Proof(error) => error.hint(),
        }
    }
}

/// Builds what the plan says. Blocking: call it from a thread of its own.
pub fn build(
    plan: &BuildPlan,
    observer: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Vec<BuiltImage>, BuildError> {
    let mut executables = BTreeMap::new();
    for compilation in &plan.compilations {
        let built = compile::compile(plan, compilation, observer)?;
        executables.insert(compilation.toolchain.platform.clone(), built);
    }
    let described = described(plan)?;
    let layout = Layout::open(&plan.layout)?;
    let binary = |image: &PlannedImage, platform: &Platform| match &image.recipe.binary {
        Binary::Cargo { bin, .. } => executables[platform][bin].clone(),
        Binary::Prebuilt { path } => plan.root.join(path.replace("{architecture}", platform.architecture())),
    };
    // What is shipped says what it was compiled from; the default profile only serves tests.
    let audit = |image: &PlannedImage, platform: &Platform| match (&image.recipe.binary, &plan.profile) {
        (Binary::Cargo { package, .. }, Some(_)) => {
            audit::list(described.get(platform)?, package).map(Arc::from)
        }
        _ => None,
    };
    let sources = assemble::Sources { binary: &binary, audit: &audit };
    let mut images = match &plan.container {
        Some(container) => {
            in_parallel(&plan.images, |image| container::build(plan, &layout, image, container, observer))?
        }
        None => assemble::assemble(plan, &layout, &sources, observer)?,
    };
    for image in &images {
        observer(BuildEvent::Built(Box::new(image.clone())));
    }
    if let Some(origin) = &plan.origin {
        attest::attest(plan, &layout, origin, &described, &mut images)?;
    }
    if images.iter().any(|image| !image.cached) {
        layout.prune()?;
    }
    Ok(images)
}

/// What cargo knows about the programs of each platform, where anybody wants to know it.
fn described(plan: &BuildPlan) -> Result<BTreeMap<Platform, Metadata>, BuildError> {
    if plan.origin.is_none() && plan.profile.is_none() {
        return Ok(BTreeMap::new());
    }
    let mut triples: BTreeMap<Platform, String> = BTreeMap::new();
    for Compilation { toolchain, .. } in &plan.compilations {
        triples.insert(toolchain.platform.clone(), toolchain.triple.clone());
    }
    if plan.container.is_some() {
        for platform in plan.images.iter().flat_map(|image| &image.platforms) {
            triples.insert(platform.clone(), platform.native_triple());
        }
    }
    let triples: Vec<(Platform, String)> = triples.into_iter().collect();
    let described = in_parallel(&triples, |(platform, triple)| {
        let metadata = metadata::metadata(&plan.root, triple, &plan.cache)
            .map_err(|source| BuildError::Metadata { source })?;
        Ok::<_, BuildError>((platform.clone(), metadata))
    });
    Ok(described?.into_iter().collect())
}
