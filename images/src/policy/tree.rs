//! Every image reference of a workspace, file by file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Mention, Place, containerfile, yaml};
use crate::mirror::declaration::{self, MirrorError};
use crate::recipe;

/// Folders that hold nothing somebody wrote.
const SKIPPED: [&str; 4] = ["target", ".git", "node_modules", "vendor"];
/// Files above this size are not declarations.
const LARGEST: u64 = 4 * 1024 * 1024;

/// A workspace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file or folder.
    #[error("look for image references in {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The mirror's declaration.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
}

/// Reads every Containerfile and YAML file below `root`, in the order of their names.
///
/// What a product below it (a folder with recipes of its own) builds itself comes from no registry and is left out.
pub fn collect(root: &Path) -> Result<Vec<Mention>, TreeError> {
    let mut mentions = Vec::new();
    let files = files(root)?;
    for path in &files {
        let relative = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
        let Some(kind) = kind_of(&relative) else { continue };
        if kind == Place::Mirror {
            mentions.extend(destinations(root, &relative)?);
            continue;
        }
        let bytes = fs::read(path).map_err(|source| TreeError::Read { path: path.clone(), source })?;
        let text = String::from_utf8_lossy(&bytes);
        mentions.extend(match kind {
            Place::Containerfile => containerfile::mentions(&relative, &text),
            Place::Manifest if text.contains("kind.x-k8s.io/") => {
                yaml::mentions(&relative, &text, Place::NodeImage)
            }
            Place::Manifest | Place::NodeImage | Place::Workflow | Place::Mirror => {
                yaml::mentions(&relative, &text, kind)
            }
        });
    }
    for (folder, own) in products(root, &files) {
        mentions.retain(|mention| {
            let is_own = |image: &String| own.contains(image);
            !(mention.file.starts_with(&folder) && mention.image.as_ref().is_ok_and(is_own))
        });
    }
    Ok(mentions)
}

/// The products below the workspace: their folders, and the images they build. Recipes that cannot be read exempt nothing.
fn products(root: &Path, files: &[PathBuf]) -> Vec<(String, BTreeSet<String>)> {
    let product = |path: &PathBuf| {
        let folder = path.strip_prefix(root).ok()?.to_str()?.strip_suffix(recipe::FILE)?;
        let recipes: toml::Table = fs::read_to_string(path).ok()?.parse().ok()?;
        let own = recipes.get("image")?.as_table()?.keys().cloned().collect();
        (!folder.is_empty()).then(|| (folder.to_owned(), own))
    };
    files.iter().filter_map(product).collect()
}

/// Where the mirror copies to; its sources are what it exists to replace.
fn destinations(root: &Path, file: &str) -> Result<Vec<Mention>, TreeError> {
    let mirror = declaration::load(root)?;
    let mention = |rule: declaration::Rule| Mention {
        file: file.to_owned(),
        line: rule.line,
        place: Place::Mirror,
        image: Ok(rule.destination.to_string()),
    };
    Ok(mirror.rules.into_iter().map(mention).collect())
}

/// What a file is by its name; `None` for files that name no images.
fn kind_of(relative: &str) -> Option<Place> {
    let name = relative.rsplit('/').next()?;
    let lower = name.to_ascii_lowercase();
    let is_containerfile = ["containerfile", "dockerfile"].iter().any(|word| {
        lower == *word || lower.ends_with(&format!(".{word}")) || lower.starts_with(&format!("{word}."))
    });
    let is_yaml = lower.ends_with(".yaml") || lower.ends_with(".yml");
    if relative == declaration::FILE {
        return Some(Place::Mirror);
    }
    match (is_containerfile, is_yaml) {
        (true, _) => Some(Place::Containerfile),
        (false, true) if relative.starts_with(".github/") => Some(Place::Workflow),
        (false, true) => Some(Place::Manifest),
        (false, false) => None,
    }
}

fn files(root: &Path) -> Result<Vec<PathBuf>, TreeError> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let failed = |source| TreeError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let metadata = entry.metadata().map_err(failed)?;
            if metadata.is_dir()
                && !SKIPPED.contains(&name.as_str())
                && (name == ".github" || !name.starts_with('.'))
            {
                folders.push(entry.path());
            } else if metadata.is_file() && metadata.len() <= LARGEST {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        for (file, kind) in [
            ("Containerfile", Some(Place::Containerfile)),
            ("images/app.Dockerfile", Some(Place::Containerfile)),
            ("Dockerfile.dev", Some(Place::Containerfile)),
            (".github/workflows/ci.yml", Some(Place::Workflow)),
            ("manifests/a/deployment.yaml", Some(Place::Manifest)),
            ("images/mirror.toml", Some(Place::Mirror)),
            ("src/main.rs", None),
        ] {
            assert_eq!(kind_of(file), kind, "{file}");
        }
    }

    #[test]
    fn a_workspace_is_read_without_what_was_built() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("b/pod.yaml", "image: one\n");
        write("a/Containerfile", "FROM two\n");
        write("target/pod.yaml", "image: built\n");
        // The product below builds one of the images it deploys.
        write("small/images/images.toml", "[image.own]\npackage = \"own\"\n");
        write("small/pod.yaml", "image: own\n---\nimage: four\n");
        write("z.yaml", "image: own\n");
        write("cluster.yaml", "apiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n  - image: three\n");
        let found: Vec<_> = collect(root.path())
            .unwrap()
            .into_iter()
            .map(|mention| (mention.place, mention.image.unwrap()))
            .collect();
        let expected = [
            (Place::Containerfile, "two"),
            (Place::Manifest, "one"),
            (Place::NodeImage, "three"),
            (Place::Manifest, "four"),
            (Place::Manifest, "own"),
        ];
        assert_eq!(found, expected.map(|(place, image)| (place, image.to_owned())));
    }
}
