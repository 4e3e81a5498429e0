//! What is deployed: `manifests/components.toml` and one folder of plain YAML per component.

mod file;
mod folder;
mod option;

use std::path::{Path, PathBuf};
use std::time::Duration;

use mistake::Mistake;
use serde::{Deserialize, Serialize};

use crate::object::Object;
use crate::order;

/// Name of the folder and of the declaration, relative to the workspace.
const FOLDER: &str = "manifests";
const DECLARATION: &str = "manifests/components.toml";

/// When a component counts as ready, beyond "every object is current".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Readiness {
    /// Every object is current by the rules of its kind: rollouts complete, jobs done, definitions established.
    #[default]
    Objects,
    /// And every Service of the component has a ready endpoint.
    Endpoints,
    /// And every webhook of the component carries a CA bundle, its service answers, and the API server admits a dry run.
    Admission,
}

/// One component as declared.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its name: the key in `components.toml`.
    pub name: String,
    /// Folder with its YAML, relative to the workspace.
    pub folder: PathBuf,
    /// Components that come before it.
    pub needs: Vec<String>,
    /// How long it may take from applied to ready.
    pub deadline: Duration,
    /// What ready means for it.
    pub readiness: Readiness,
    /// Objects it creates at run time, as `Kind/name`; references to them are not dangling.
    pub provides: Vec<String>,
    /// Restarts of one container that are still taken for a normal start.
    pub restarts: u32,
    /// The objects, in the order of the files.
    pub objects: Vec<Object>,
    /// An object that is only sent as a dry run, to see whether the component's webhooks admit it.
    pub admission_probe: Option<Object>,
}

/// Every component, in dependency order.
#[derive(Debug, Clone)]
pub struct Components {
    components: Vec<Component>,
}

/// Why the declaration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file could not be read.
    #[error("read `{}`: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// No option has that name.
    #[error("deploy with the option `{name}`: there is none of that name\n  = hint: {hint}")]
    UnknownOption {
        /// What was asked for.
        name: String,
        /// The likely fix.
        hint: String,
    },
    /// A file says something that cannot be.
    #[error("{0}")]
    Mistake(Box<Mistake>),
}

impl From<Mistake> for LoadError {
    fn from(mistake: Mistake) -> LoadError {
        LoadError::Mistake(Box::new(mistake))
    }
}

impl Components {
    /// Reads `manifests/components.toml` and every component's folder below the workspace `root`.
    pub fn load(root: &Path) -> Result<Components, LoadError> {
        let declared = file::read(root, Path::new(DECLARATION))?;
        let mut components = Vec::new();
        for entry in &declared.entries {
            components.push(folder::load(root, entry)?);
        }
        folder::check_listed(root, Path::new(FOLDER), &components)?;
        folder::check_duplicates(root, &components)?;
        let edges =
            components.iter().map(|component| (component.name.clone(), component.needs.clone())).collect();
        let order = order::components(&edges).map_err(|cycle| declared.cycle(&cycle))?;
        components.sort_by_key(|component| order.iter().position(|name| *name == component.name));
        Ok(Components { components })
    }

    /// Components made in code, already in dependency order; for tests of other crates' wiring.
    pub fn from_parts(components: Vec<Component>) -> Components {
        Components { components }
    }

    /// The components, in dependency order.
    pub fn iter(&self) -> impl Iterator<Item = &Component> {
        self.components.iter()
    }

    /// The component of that name.
    pub fn get(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.name == name)
    }

    /// Names, in dependency order.
    pub fn names(&self) -> Vec<&str> {
        self.components.iter().map(|component| component.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests;
