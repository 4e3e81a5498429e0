//! What will be done, decided before anything is done. Pure: the same declaration, facts and request give the same plan, which can be
//! printed, compared and kept.

mod choose;
mod error;
mod shape;
mod show;
mod skip;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use images::BuildRequest;
use images::mirror::Lock;
use kind::{Chosen, ClusterSpec, Lifetime, Provider};
use manifests::Components;
use mistake::did_you_mean;

use crate::declaration::Declaration;
use crate::event::Stage;
use crate::facts::Facts;
use crate::pulled;
use crate::spec::{self, Tier, Work};

pub use error::PlanError;
pub use shape::{Cluster, Code, Component, Deploy, Plan, PlannedTier, Registry, Skipped};

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
    /// Options of deployment: names of folders in `manifests/options`.
    pub options: Vec<String>,
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
