//! What a plan consists of, in the order in which it is carried out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use images::BuildPlan;
use kind::{Chosen, ClusterSpec, Lifetime};
use manifests::Components;
use serde::{Serialize, Serializer};

use crate::declaration::Provenance;
use crate::event::{LeftOut, Stage};
use crate::facts::Commit;
use crate::requirements::Requirements;
use crate::spec::{Selector, Work};

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

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
