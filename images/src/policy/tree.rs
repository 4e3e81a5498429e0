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
/// Folders that people write to although their names begin with a dot.
const DOTTED: [&str; 3] = [".github", ".tekton", ".gitlab"];
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

/// Reads every Containerfile, manifest, workflow, recipe and mirror entry below `root`, in the order of their names.
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
        if kind == Place::Recipe {
            mentions.extend(bases(path, &relative)?);
            continue;
        }
        let bytes = fs::read(path).map_err(|source| TreeError::Read { path: path.clone(), source })?;
        let text = String::from_utf8_lossy(&bytes);
        // JSON is many things; a manifest says what it is.
        if relative.ends_with(".json") && !text.contains("\"apiVersion\"") {
            continue;
        }
        mentions.extend(match kind {
            Place::Containerfile => containerfile::mentions(&relative, &text),
            Place::Manifest if text.contains("kind.x-k8s.io/") => {
                yaml::mentions(&relative, &text, Place::NodeImage)
            }
            Place::Manifest
            | Place::NodeImage
            | Place::Workflow
            | Place::Recipe
            | Place::Mirror
            | Place::Compiler => yaml::mentions(&relative, &text, kind),
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

/// What recipes build on and in, by the line that says so.
fn bases(path: &Path, file: &str) -> Result<Vec<Mention>, TreeError> {
    let text =
        fs::read_to_string(path).map_err(|source| TreeError::Read { path: path.to_path_buf(), source })?;
    let base = |line: &str| {
        let (key, value) = line.split_once('=')?;
        ["base", "toolchain"].contains(&key.trim()).then_some(())?;
        let value = value.split('#').next()?.trim().trim_matches(['"', '\'']);
        (value != "scratch").then(|| value.to_owned())
    };
    let found = text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, base(line)?)));
    let mention =
        |(line, image)| Mention { file: file.to_owned(), line, place: Place::Recipe, image: Ok(image) };
    Ok(found.map(mention).collect())
}

/// What a file is by its name; `None` for files that name no images.
fn kind_of(relative: &str) -> Option<Place> {
    let name = relative.rsplit('/').next()?;
    let lower = name.to_ascii_lowercase();
    let is_containerfile = ["containerfile", "dockerfile"].iter().any(|word| {
        lower == *word || lower.ends_with(&format!(".{word}")) || lower.starts_with(&format!("{word}."))
    });
    let is_yaml = [".yaml", ".yml", ".json"].iter().any(|ending| lower.ends_with(ending));
    match relative {
        declaration::FILE => return Some(Place::Mirror),
        _ if relative == recipe::FILE || relative.ends_with("/images/images.toml") => {
            return Some(Place::Recipe);
        }
        _ => {}
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
                && (DOTTED.contains(&name.as_str()) || !name.starts_with('.'))
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
            ("test/podman-compose.test.yml", Some(Place::Manifest)),
            ("charts/values.json", Some(Place::Manifest)),
            ("images/mirror.toml", Some(Place::Mirror)),
            ("images/images.toml", Some(Place::Recipe)),
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
        write("c/data.json", "{\"image\": \"no manifest\"}\n");
        write(
            "images/images.toml",
            "[defaults]\nbase = \"scratch\"\n[image.a]\nbase = \"four@sha256:1\" # why\n[container]\ntoolchain = \"five@sha256:2\"\n",
        );
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
            (Place::Recipe, "four@sha256:1"),
            (Place::Recipe, "five@sha256:2"),
            (Place::Manifest, "four"),
            (Place::Manifest, "own"),
        ];
        assert_eq!(found, expected.map(|(place, image)| (place, image.to_owned())));
    }
}
