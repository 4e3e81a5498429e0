//! What will be done, decided before anything is done. Pure: the same declaration, facts and request give the same plan, which can be
//! printed, compared and kept.

mod choose;
mod show;
mod skip;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use images::mirror::Lock;
use images::{BuildPlan, BuildRequest};
use kind::{Chosen, ClusterSpec, Lifetime, Provider};
use manifests::Components;
use mistake::did_you_mean;
use serde::{Serialize, Serializer};

use crate::declaration::{Declaration, Provenance};
use crate::event::{LeftOut, Stage};
use crate::facts::{Commit, Facts};
use crate::pulled;
use crate::requirements::Requirements;
use crate::spec::{self, Selector, Tier, Work};

/// The registry's name in image references. Nodes are told where it really is.
pub const REGISTRY_HOST: &str = "registry.slipway.localhost";

/// What somebody wants of a pipeline beyond what it declares.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The workspace.
    pub root: PathBuf,
    /// Where runs, clusters and caches are kept.
    pub home: PathBuf,
    /// The `slipway-engine` binary.
    pub engine: PathBuf,
    /// Components to leave out.
    pub without: Vec<String>,
    /// Only these tiers, and what they cannot do without.
    pub tiers: Vec<String>,
    /// The first stage; what earlier ones made is taken from the run before.
    pub from: Option<Stage>,
    /// Leave the cluster up.
    pub keep: bool,
    /// Another name for the cluster than the pipeline's own.
    pub cluster: Option<String>,
    /// Another provider than the declared one.
    pub provider: Option<Provider>,
    /// Somebody's registry, as in `registry.example.com/team`, instead of one of our own.
    pub registry: Option<String>,
}

/// What will be done.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The pipeline.
    pub pipeline: String,
    /// What it is for.
    pub description: String,
    /// The state of the sources.
    pub commit: Option<Commit>,
    /// This machine's platform.
    pub platform: String,
    /// This machine's cores.
    pub cores: usize,
    /// How long all of it may take.
    #[serde(serialize_with = "seconds", rename = "deadline-seconds")]
    pub deadline: Duration,
    /// The stages that are gone through, in order.
    pub stages: Vec<Stage>,
    /// The first stage, when what earlier ones made is taken from the run before.
    pub from: Option<Stage>,
    /// How tests are compiled.
    pub code: Code,
    /// The images.
    pub images: Option<BuildPlan>,
    /// The OCI layout the images are in.
    pub layout: PathBuf,
    /// Where the images go.
    pub registry: Registry,
    /// The cluster.
    pub cluster: Option<Cluster>,
    /// What is deployed there.
    pub deploy: Option<Deploy>,
    /// Every tier, also those that are left out.
    pub tiers: Vec<PlannedTier>,
    /// What the declaration has and this run does not: by request, or because this machine lacks what it takes.
    pub left_out: Vec<LeftOut>,
    /// What the tests have to show.
    #[serde(skip)]
    pub requirements: Option<Requirements>,
    /// Where images come from, and where they may.
    #[serde(skip)]
    pub provenance: Option<Provenance>,
}

/// How tests are compiled: everything in one run of cargo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Code {
    /// The workspace.
    pub root: PathBuf,
    /// The target triple, the same as for the images: nothing is compiled twice.
    pub triple: String,
    /// The test binaries the tier of kind `compile` makes.
    pub tests: Vec<Selector>,
}

/// The cluster.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    /// Its name, and that of its directory.
    pub name: String,
    /// Who provides it.
    pub provider: Chosen,
    /// Why.
    pub reason: String,
    /// Its directory.
    pub directory: PathBuf,
    /// Where the embedded engine keeps unpacked images.
    pub store: PathBuf,
    /// The embedded engine.
    pub engine: PathBuf,
    /// Whose life it shares.
    pub lifetime: Lifetime,
    /// How long it may take to answer.
    #[serde(serialize_with = "seconds", rename = "deadline-seconds")]
    pub deadline: Duration,
    /// Parts of the declaration that this provider does not honour.
    pub ignored: Vec<String>,
    /// Node images as they are written → their approved copies, which are pulled instead.
    pub copies: BTreeMap<String, String>,
    /// The declaration.
    #[serde(skip)]
    pub spec: ClusterSpec,
}

/// Where images are pushed to, and nodes pull from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registry {
    /// One of our own on this machine, which keeps images in this directory.
    Own(PathBuf),
    /// Somebody's, as in `registry.example.com/team`.
    Other(String),
}

/// What is deployed.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deploy {
    /// In the order they are applied.
    pub order: Vec<Component>,
    /// Components that are left out.
    pub without: Vec<String>,
    /// Images of others as they are written → their approved copies, which are pulled instead.
    pub copies: BTreeMap<String, String>,
    /// The declaration.
    #[serde(skip)]
    pub components: Components,
}

/// A component, in short.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Component {
    /// Its name.
    pub name: String,
    /// Components that come before it.
    pub needs: Vec<String>,
    /// Its objects.
    pub objects: usize,
    /// How long it may take to become ready.
    #[serde(serialize_with = "seconds", rename = "deadline-seconds")]
    pub deadline: Duration,
}

/// A tier.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedTier {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it does.
    pub work: Work,
    /// Tiers that have to pass before, those left out removed.
    pub needs: Vec<String>,
    /// How long it may take.
    #[serde(serialize_with = "seconds", rename = "deadline-seconds")]
    pub deadline: Duration,
    /// Percent of the tests that have to pass.
    pub threshold: u8,
    /// Whether it needs the deployment.
    pub cluster: bool,
    /// Tests that are not run because a component is left out: a part of their name, and the reason.
    pub skip: Vec<(String, String)>,
    /// Why it does not run on this machine.
    pub skipped: Option<Skipped>,
}

/// Why a tier does not run on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Skipped {
    /// As in "`postgres` is not installed".
    pub reason: String,
    /// The command that helps.
    pub hint: String,
}

/// What was asked for cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No tier has that name.
    #[error("run the tier `{name}`: the pipeline `{pipeline}` has none of that name")]
    UnknownTier {
        /// What was asked for.
        name: String,
        /// The pipeline.
        pipeline: String,
        /// The likely fix.
        hint: Option<String>,
    },
    /// No component has that name.
    #[error("leave out the component `{name}`: there is none of that name")]
    UnknownComponent {
        /// What was asked for.
        name: String,
        /// The likely fix.
        hint: Option<String>,
    },
    /// A tier that was asked for by name cannot run here.
    #[error("run the tier `{tier}`: {}", skipped.reason)]
    Skipped {
        /// The tier.
        tier: String,
        /// Why.
        skipped: Skipped,
    },
    /// A tier wants an image nobody builds.
    #[error("run the tier `{tier}`: its environment wants the image `{image}`, which is not built here")]
    UnknownImage {
        /// The tier.
        tier: String,
        /// The image.
        image: String,
        /// The likely fix.
        hint: Option<String>,
    },
    /// The pipeline has no such stage.
    #[error("begin at `{stage}`: the pipeline `{pipeline}` does not go through that stage")]
    NoSuchStage {
        /// The stage.
        stage: Stage,
        /// The pipeline.
        pipeline: String,
    },
    /// The nodes of a cluster that is not ours cannot pull from this machine.
    #[error("use the {provider}: its nodes cannot pull from the registry on this machine")]
    NoRegistry {
        /// The cluster.
        provider: String,
    },
    /// The images.
    #[error(transparent)]
    Images(#[from] images::plan::PlanError),
    /// The cluster.
    #[error("{}", .0.problem)]
    Cluster(kind::Unavailable),
}

impl PlanError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::UnknownTier { hint, .. }
            | PlanError::UnknownComponent { hint, .. }
            | PlanError::UnknownImage { hint, .. } => hint.clone(),
            PlanError::Skipped { skipped, .. } => Some(skipped.hint.clone()),
            PlanError::NoSuchStage { pipeline, .. } => {
                Some(format!("see its stages: cargo xtask plan {pipeline}"))
            }
            PlanError::NoRegistry { .. } => {
                Some("name one that they can pull from: `--registry registry.example.com/team`".to_owned())
            }
            PlanError::Images(error) => error.hint(),
            PlanError::Cluster(unavailable) => Some(unavailable.hint.clone()),
        }
    }
}

/// Decides everything. Pure.
pub fn plan(declaration: &Declaration, facts: &Facts, request: &Request) -> Result<Plan, PlanError> {
    let spec = &declaration.spec;
    let without = components_without(declaration, request)?;
    let choice = choose::tiers(spec, request, &without)?;
    let wants_cluster = choice.kept.iter().any(|tier| tier.cluster);
    let stages = choose::stages(spec, request, wants_cluster)?;
    let images = match (&spec.images, &declaration.recipes) {
        (Some(section), Some(recipes)) if stages.contains(&Stage::Build) && choice.wants_images(request) => {
            Some(images::plan(recipes, &build_request(section, facts, request))?)
        }
        _ => None,
    };
    let mut tiers: Vec<PlannedTier> =
        choice.kept.iter().map(|tier| planned(tier, &choice.kept, &without)).collect();
    let skipped = skip::without_programs(&mut tiers, &choice.kept, facts, request)?;
    if let Some(recipes) = &declaration.recipes {
        let known: Vec<&str> = recipes.names().collect();
        tiers.iter().try_for_each(|tier| check_images(tier, &known))?;
    }
    Ok(Plan {
        pipeline: spec.name.clone(),
        description: spec.description.clone(),
        commit: facts.commit.clone(),
        platform: facts.platform.to_string(),
        cores: facts.cores,
        deadline: spec.deadline,
        from: request.from,
        code: Code {
            root: request.root.clone(),
            triple: images::platform::host_triple(),
            tests: choose::compiled_together(&tiers),
        },
        layout: request.home.join("cache/layout"),
        images,
        registry: match &request.registry {
            Some(other) => Registry::Other(other.clone()),
            None => Registry::Own(request.home.join("registry")),
        },
        cluster: match (&spec.cluster, &declaration.cluster) {
            (Some(section), Some(declared)) if stages.contains(&Stage::Deploy) => {
                Some(cluster(section, declared, &declaration.lock, facts, request)?)
            }
            _ => None,
        },
        deploy: declaration
            .components
            .as_ref()
            .filter(|_| stages.contains(&Stage::Deploy))
            .map(|components| deploy(components, &without, &declaration.lock)),
        stages,
        tiers,
        left_out: choice.left_out.into_iter().chain(skipped).collect(),
        requirements: declaration.requirements.clone(),
        provenance: declaration.provenance.clone(),
    })
}

fn components_without(declaration: &Declaration, request: &Request) -> Result<Vec<String>, PlanError> {
    let declared = declaration.spec.deploy.iter().flat_map(|deploy| &deploy.without);
    let mut without: Vec<String> = declared.chain(&request.without).cloned().collect();
    without.sort();
    without.dedup();
    let known = declaration.components.as_ref().map(Components::names).unwrap_or_default();
    match without.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(without),
        Some(name) => {
            let hint = did_you_mean(name, known.iter().copied())
                .or_else(|| (!known.is_empty()).then(|| format!("the components are: {}", known.join(", "))));
            Err(PlanError::UnknownComponent { name: name.clone(), hint })
        }
    }
}

fn build_request(section: &spec::Images, facts: &Facts, request: &Request) -> BuildRequest {
    BuildRequest {
        root: request.root.clone(),
        cache: request.home.join("cache"),
        images: section.names.clone(),
        platforms: match &section.platforms {
            spec::Platforms::Host => images::Platforms::Host,
            spec::Platforms::Declared => images::Platforms::Declared,
            spec::Platforms::Only(platforms) => images::Platforms::Only(platforms.clone()),
        },
        profile: None,
        compression: None,
        source_date_epoch: facts.source_date_epoch,
        toolchains: facts.toolchains.clone(),
        container: None,
        origin: None,
    }
}

fn cluster(
    section: &spec::Cluster,
    declared: &ClusterSpec,
    lock: &Lock,
    facts: &Facts,
    request: &Request,
) -> Result<Cluster, PlanError> {
    let copies = pulled::of_nodes(lock, declared);
    let requested = request.provider.as_ref().unwrap_or(&section.provider);
    let choice = kind::choose(requested, &facts.cluster).map_err(PlanError::Cluster)?;
    if matches!(choice.provider, Chosen::Existing { .. }) && request.registry.is_none() {
        return Err(PlanError::NoRegistry { provider: choice.provider.to_string() });
    }
    let ignored = match &choice.provider {
        Chosen::Embedded => declared.ignored_by_embedded(),
        Chosen::Kind(_) | Chosen::Existing { .. } => Vec::new(),
    };
    // A name of its own: a cluster somebody works with is not taken down by a run.
    let name = request.cluster.clone().unwrap_or_else(|| format!("{}-e2e", declared.name));
    Ok(Cluster {
        directory: cluster_directory(&request.home, &name),
        store: request.home.join("store"),
        engine: request.engine.clone(),
        lifetime: if leaves_up(request) { Lifetime::Detached } else { Lifetime::Tied },
        deadline: section.deadline,
        provider: choice.provider,
        reason: choice.reason,
        ignored,
        spec: ClusterSpec { name: name.clone(), ..declared.with_images(&copies) },
        copies,
        name,
    })
}

impl PlannedTier {
    /// Whether the two, one after the other, run side by side: tests that need the same and no cluster.
    pub fn runs_beside(&self, other: &PlannedTier) -> bool {
        let are_tests = self.work.has_tests() && other.work.has_tests();
        are_tests && !self.cluster && !other.cluster && self.needs == other.needs
    }
}

impl Plan {
    /// The tiers in three parts: up to what is compiled, those that need no cluster, and the first that does with all that follow.
    pub fn phases(&self) -> [&[PlannedTier]; 3] {
        let first = self.tiers.iter().position(|tier| tier.cluster).unwrap_or(self.tiers.len());
        let (before, on_cluster) = self.tiers.split_at(first);
        let compiled = before.iter().rposition(|tier| tier.work == Work::Compile).map_or(0, |last| last + 1);
        let (build, beside) = before.split_at(compiled);
        [build, beside, on_cluster]
    }
}

/// Where the cluster of that name is kept.
pub fn cluster_directory(home: &Path, name: &str) -> PathBuf {
    home.join("clusters").join(name)
}

/// A cluster that a run only continues with was left up by an earlier one, and is left up again.
fn leaves_up(request: &Request) -> bool {
    request.keep || request.from == Some(Stage::Deploy)
}

fn deploy(components: &Components, without: &[String], lock: &Lock) -> Deploy {
    let order = components.iter().filter(|component| !without.contains(&component.name));
    let order = order.map(|component| Component {
        name: component.name.clone(),
        needs: component.needs.iter().filter(|need| !without.contains(need)).cloned().collect(),
        objects: component.objects.len(),
        deadline: component.deadline,
    });
    Deploy {
        order: order.collect(),
        without: without.to_vec(),
        copies: pulled::of_components(lock, components),
        components: components.clone(),
    }
}

fn planned(tier: &Tier, kept: &[&Tier], without: &[String]) -> PlannedTier {
    let is_kept = |need: &&String| kept.iter().any(|tier| tier.name == **need);
    let skip = match &tier.work {
        Work::Tests(tests) => {
            let absent = tests.skip_without.iter().filter(|(component, _)| without.contains(component));
            absent
                .flat_map(|(component, names)| {
                    names.iter().map(move |name| (name.clone(), format!("--without {component}")))
                })
                .collect()
        }
        _ => Vec::new(),
    };
    PlannedTier {
        name: tier.name.clone(),
        title: tier.title.clone(),
        work: tier.work.clone(),
        needs: tier.needs.iter().filter(is_kept).cloned().collect(),
        deadline: tier.deadline,
        threshold: tier.threshold,
        cluster: tier.cluster,
        skip,
        skipped: None,
    }
}

fn check_images(tier: &PlannedTier, known: &[&str]) -> Result<(), PlanError> {
    for value in tier.work.environment().values() {
        if let Some(image) = spec::image_placeholders(value).find(|image| !known.contains(image)) {
            return Err(PlanError::UnknownImage {
                tier: tier.name.clone(),
                image: image.to_owned(),
                hint: did_you_mean(image, known.iter().copied()),
            });
        }
    }
    Ok(())
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
