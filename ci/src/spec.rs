//! What a pipeline is, as declared in `ci/pipelines/<name>.toml` and checked before anything is decided.
//!
//! `file` is what a person writes; a mistake in it is shown with file, line and caret.

mod file;
mod program;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use images::Platform;
use kind::Provider;
use mistake::Mistake;
use serde::Serialize;

pub use program::Program;

/// Where the pipelines are, relative to the workspace.
pub const FOLDER: &str = "ci/pipelines";

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name: that of its file.
    pub name: String,
    /// What it is for, in one sentence.
    pub description: String,
    /// How long all of it may take.
    pub deadline: Duration,
    /// Which images are built; none when the pipeline has no use for images.
    pub images: Option<Images>,
    /// Where they run.
    pub cluster: Option<Cluster>,
    /// What is deployed there.
    pub deploy: Option<Deploy>,
    /// The tiers, in the order they run.
    pub tiers: Vec<Tier>,
}

/// The section `[images]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// Names of recipes; none means all.
    pub names: Vec<String>,
    /// For which platforms.
    pub platforms: Platforms,
}

/// Platforms to build for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Platforms {
    /// This machine's.
    #[default]
    Host,
    /// All that each recipe declares.
    Declared,
    /// These.
    Only(Vec<Platform>),
}

/// The section `[cluster]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Who provides it.
    pub provider: Provider,
    /// The declaration in kind's format, relative to the workspace.
    pub declaration: PathBuf,
    /// How long it may take to answer.
    pub deadline: Duration,
}

/// The section `[deploy]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deploy {
    /// Components that are left out.
    pub without: Vec<String>,
}

/// One `[[tier]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What it does.
    pub work: Work,
    /// Tiers that have to pass before.
    pub needs: Vec<String>,
    /// How long it may take.
    pub deadline: Duration,
    /// Percent of the tests that have to pass.
    pub threshold: u8,
    /// Whether it needs the deployment.
    pub cluster: bool,
    /// Programs of others without which it is skipped.
    pub programs: Vec<Program>,
}

/// What a tier does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Work {
    /// Compiles the images and every test binary.
    Compile,
    /// Runs test binaries.
    Tests(Tests),
    /// Is satisfied when these test binaries exist.
    Compiles {
        /// Which.
        tests: Vec<Selector>,
    },
    /// Compares the images' executables with what they claim, and with the nodes.
    Architecture,
    /// Holds every image reference of the workspace against the registry policy.
    Policy,
    /// Compares the requirements with the tests that passed.
    Requirements,
    /// Runs a command.
    Command {
        /// Program and arguments.
        command: Vec<String>,
        /// Variables added to its environment.
        environment: BTreeMap<String, String>,
    },
}

/// A tier of tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tests {
    /// Which test binaries.
    pub tests: Vec<Selector>,
    /// Variables added to their environment.
    pub environment: BTreeMap<String, String>,
    /// Tests at once in one binary; none leaves it to the binary.
    pub threads: Option<u16>,
    /// Attempts after a failure.
    pub retries: u8,
    /// Component → parts of the names of tests that make no sense without it.
    pub skip_without: BTreeMap<String, Vec<String>>,
}

/// Which test binaries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selector {
    /// The libraries' own tests.
    Lib,
    /// The binaries' own tests.
    Bin,
    /// The target of that name in `tests/` of any crate.
    Named(String),
}

/// A pipeline could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Its file could not be read.
    #[error("read the pipeline `{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Pipelines there are.
        known: Vec<String>,
        /// Why.
        source: io::Error,
    },
    /// It says something that cannot be.
    #[error("{0}")]
    Mistake(Box<Mistake>),
}

impl From<Mistake> for SpecError {
    fn from(mistake: Mistake) -> SpecError {
        SpecError::Mistake(Box::new(mistake))
    }
}

impl SpecError {
    /// The edit or command that helps; a mistake carries its own.
    pub fn hint(&self) -> Option<String> {
        match self {
            SpecError::Read { known, .. } => Some(format!("the pipelines are: {}", known.join(", "))),
            SpecError::Mistake(_) => None,
        }
    }
}

/// Reads the pipeline called `name` of the workspace `root`.
pub fn load(root: &Path, name: &str) -> Result<Spec, SpecError> {
    let file = Path::new(FOLDER).join(format!("{name}.toml"));
    let text = fs::read_to_string(root.join(&file)).map_err(|source| SpecError::Read {
        file: file.clone(),
        known: names(root),
        source,
    })?;
    parse(name, &file, &text)
}

/// Reads the text of a pipeline; `file` is only used in messages.
pub fn parse(name: &str, file: &Path, text: &str) -> Result<Spec, SpecError> {
    Ok(file::parse(name, file, text)?)
}

/// Names of the workspace's pipelines.
pub fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
        .collect();
    names.sort();
    names
}

impl Selector {
    fn parse(word: &str) -> Selector {
        match word {
            "lib" => Selector::Lib,
            "bin" => Selector::Bin,
            name => Selector::Named(name.to_owned()),
        }
    }
}

impl Work {
    /// Whether it counts tests.
    pub fn has_tests(&self) -> bool {
        matches!(self, Work::Tests(_))
    }

    /// Variables added to the environment of what it runs.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        match self {
            Work::Tests(tests) => &tests.environment,
            Work::Command { environment, .. } => environment,
            Work::Compile
            | Work::Compiles { .. }
            | Work::Architecture
            | Work::Policy
            | Work::Requirements => &NONE,
        }
    }
}

/// How a value of an environment names an image: `{image:<name>}`.
const PLACEHOLDER: &str = "{image:";

/// The images a value of an environment names.
pub fn image_placeholders(value: &str) -> impl Iterator<Item = &str> {
    value.split(PLACEHOLDER).skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// The value with each image it names replaced by that image's reference.
pub fn with_images(value: &str, references: &BTreeMap<String, String>) -> String {
    let mut value = value.to_owned();
    for (name, reference) in references {
        value = value.replace(&format!("{PLACEHOLDER}{name}}}"), reference);
    }
    value
}
