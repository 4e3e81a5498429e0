//! Recipes: what becomes an image, read from `images/images.toml` and checked before anything is built.
//!
//! `file` is what a person writes, `check` turns it into values that cannot be wrong.

mod check;
mod compression;
mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use compression::{Compression, UnknownCompression};
pub use mistake::Mistake;

use crate::bundle::Bundle;
use crate::mirror::{Lock, LockError};
use crate::platform::Platform;
use crate::reference::Reference;
use mistake::Slip;

/// Where the recipes are, relative to the workspace root.
pub const FILE: &str = "images/images.toml";

/// Every image of the workspace, in name order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recipes {
    /// One recipe per image.
    pub images: Vec<Recipe>,
    /// The image the container builder compiles in, by digest.
    pub toolchain: Option<Reference>,
}

/// One image: its content and its configuration, the same for each platform except for the binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recipe {
    /// Name of the image and of its repository in a registry.
    pub name: String,
    /// Where the binary comes from.
    pub binary: Binary,
    /// What the layers are stacked on.
    pub base: Base,
    /// Platforms it may be built for.
    pub platforms: Vec<Platform>,
    /// Numeric `uid:gid` of the process.
    pub user: String,
    /// TCP ports it listens on (documentation in the image config).
    pub ports: Vec<u16>,
    /// Labels of the image config.
    pub labels: BTreeMap<String, String>,
    /// Environment of the process.
    pub environment: BTreeMap<String, String>,
    /// Absolute path of the binary in the image.
    pub entrypoint: String,
    /// Layers below the binary, bottom first.
    pub layers: Vec<LayerRecipe>,
    /// How layers are packed.
    pub compression: Compression,
}

/// Where the binary of an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binary {
    /// Compiled by cargo.
    Cargo {
        /// Workspace crate.
        package: String,
        /// Binary target of that crate.
        bin: String,
    },
    /// A finished file; `{architecture}` in the path is replaced.
    Prebuilt {
        /// Path relative to the workspace root.
        path: String,
    },
}

/// What the layers are stacked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Nothing.
    Scratch,
    /// Another image, always by digest.
    Image(Reference),
}

/// A small layer of files declared in the recipe file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerRecipe {
    /// Its name in the recipe file.
    pub name: String,
    /// Directories and files; parents are added by themselves.
    pub entries: Vec<EntryRecipe>,
}

/// One directory or file of a declared layer, owned by root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryRecipe {
    /// Absolute path in the image.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is there.
    pub content: EntryContent,
}

/// What is at the path of an [`EntryRecipe`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryContent {
    /// A directory.
    Directory,
    /// A file with this text.
    Text(String),
    /// A file copied from this path, relative to the workspace root.
    Source(String),
    /// Data that comes with this program; a file, or a directory of files.
    Bundle(Bundle),
}

/// The recipe file could not be read or is wrong.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file could not be read.
    #[error("read the image recipes in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something that cannot be meant.
    #[error("{0}")]
    Wrong(Box<Mistake>),
    /// The lock that says from where images of others are pulled.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl RecipeError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            RecipeError::Read { .. } => Some(format!("run this in a workspace with a `{FILE}`")),
            // Shown under the line itself.
            RecipeError::Wrong(_) | RecipeError::Lock(_) => None,
        }
    }
}

/// Reads and checks `images/images.toml` of the workspace at `root`. Images of others are pulled from where `images/mirror.lock` has copies.
pub fn load(root: &Path) -> Result<Recipes, RecipeError> {
    let path = root.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|source| RecipeError::Read { path, source })?;
    Ok(parse(FILE, &text)?.pulled(&Lock::load(root)?))
}

/// Checks the text of a recipe file; `name` is what errors call it.
pub fn parse(name: &str, text: &str) -> Result<Recipes, RecipeError> {
    let wrong = |slip: Slip| RecipeError::Wrong(Box::new(slip.in_file(Path::new(name), text)));
    let file: file::File = toml::from_str(text).map_err(|error| wrong(Slip::from_toml(&error)))?;
    check::check(file).map_err(wrong)
}

impl Recipes {
    /// The same with the approved copies of bases and of the toolchain, as far as the lock has them.
    pub fn pulled(mut self, lock: &Lock) -> Recipes {
        let bases = self.images.iter_mut().filter_map(|recipe| match &mut recipe.base {
            Base::Image(reference) => Some(reference),
            Base::Scratch => None,
        });
        for reference in bases.chain(&mut self.toolchain) {
            if let Some(Ok(copy)) = lock.resolve(reference).map(|copy| copy.parse()) {
                *reference = copy;
            }
        }
        self
    }

    /// The recipe of that name.
    pub fn get(&self, name: &str) -> Option<&Recipe> {
        self.images.iter().find(|recipe| recipe.name == name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.images.iter().map(|recipe| recipe.name.as_str())
    }
}
