//! Everything somebody has written down about a pipeline, read and checked in one place. After [`crate::plan`] nobody reads it again.

use std::collections::BTreeSet;
use std::path::Path;

use images::Recipes;
use images::mirror::{Lock, LockError};
use images::policy::{self, Finding, Mention, Policy, PolicyError, TreeError};
use images::recipe::{self, RecipeError};
use kind::ClusterSpec;
use manifests::{Components, LoadError, Mistake};

use crate::requirements::Requirements;
use crate::spec::{self, Spec, SpecError, Work};

/// A pipeline and what it refers to. What it has no use for is not read.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The pipeline.
    pub spec: Spec,
    /// The image recipes.
    pub recipes: Option<Recipes>,
    /// The cluster.
    pub cluster: Option<ClusterSpec>,
    /// The components.
    pub components: Option<Components>,
    /// The requirements.
    pub requirements: Option<Requirements>,
    /// The registry policy and what it judges.
    pub provenance: Option<Provenance>,
    /// Where the approved copies of other people's images are.
    pub lock: Lock,
}

/// Where images come from, and where they may.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// The registry policy.
    pub policy: Policy,
    /// Every image reference of the workspace.
    pub mentions: Vec<Mention>,
    /// Names of images the workspace builds itself.
    pub own: BTreeSet<String>,
    /// What is to be said when the mirror has no lock.
    pub unlocked: Option<Finding>,
}

/// A declaration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DeclarationError {
    /// The pipeline.
    #[error(transparent)]
    Pipeline(#[from] SpecError),
    /// The image recipes.
    #[error(transparent)]
    Recipes(#[from] RecipeError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] kind::SpecError),
    /// The components.
    #[error(transparent)]
    Components(#[from] LoadError),
    /// The requirements.
    #[error(transparent)]
    Requirements(Box<Mistake>),
    /// The registry policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The files that name images.
    #[error(transparent)]
    References(#[from] TreeError),
    /// The mirror's lock.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl DeclarationError {
    /// The edit or command that helps, unless the message has it already.
    pub fn hint(&self) -> Option<String> {
        match self {
            DeclarationError::Pipeline(error) => error.hint(),
            DeclarationError::Recipes(error) => error.hint(),
            DeclarationError::Cluster(_)
            | DeclarationError::Components(_)
            | DeclarationError::Requirements(_)
            | DeclarationError::Policy(_)
            | DeclarationError::Lock(_)
            | DeclarationError::References(_) => None,
        }
    }
}

impl Declaration {
    /// The same, with components as these options of deployment change them.
    pub fn with_options(mut self, root: &Path, options: &[String]) -> Result<Declaration, DeclarationError> {
        for option in options {
            let components = self.components.take();
            self.components =
                components.map(|components| components.with_option(root, option)).transpose()?;
        }
        Ok(self)
    }
}

/// Reads the pipeline called `name` of the workspace `root` and what it refers to.
pub fn load(root: &Path, name: &str) -> Result<Declaration, DeclarationError> {
    let spec = spec::load(root, name)?;
    let recipes = spec.images.is_some().then(|| recipe::load(root)).transpose()?;
    let cluster =
        spec.cluster.as_ref().map(|cluster| load_cluster(root, &cluster.declaration)).transpose()?;
    let components = spec.deploy.is_some().then(|| Components::load(root)).transpose()?;
    let wants_requirements = spec.tiers.iter().any(|tier| tier.work == Work::Requirements);
    let requirements = wants_requirements
        .then(|| Requirements::load(root))
        .transpose()
        .map_err(|mistake| DeclarationError::Requirements(Box::new(mistake)))?;
    let wants_policy = spec.tiers.iter().any(|tier| tier.work == Work::Policy);
    let provenance = wants_policy.then(|| load_provenance(root)).transpose()?;
    let lock = Lock::load(root)?;
    Ok(Declaration { spec, recipes, cluster, components, requirements, provenance, lock })
}

fn load_provenance(root: &Path) -> Result<Provenance, DeclarationError> {
    Ok(Provenance {
        policy: policy::load(root)?,
        mentions: policy::collect(root)?,
        own: recipe::load(root)?.names().map(str::to_owned).collect(),
        unlocked: policy::unlocked(root),
    })
}

/// Mistakes name the file as it is called in the workspace; commands of other tools get its full path.
fn load_cluster(root: &Path, file: &Path) -> Result<ClusterSpec, kind::SpecError> {
    let path = root.join(file);
    let text = std::fs::read_to_string(&path)
        .map_err(|source| kind::SpecError::Read { file: file.to_path_buf(), source })?;
    let spec =
        ClusterSpec::parse(file, &text).map_err(|mistake| kind::SpecError::Mistake(Box::new(mistake)))?;
    Ok(ClusterSpec { file: path, ..spec })
}
