//! What goes into the layers of an image: what its recipe declares and the program, with executables taken into memory.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::attest::audit;
use crate::bundle::Bundle;
use crate::layer::{Content, Entry};
use crate::plan::BuildPlan;
use crate::proof;
use crate::recipe::{EntryContent, Recipe};

/// A layer's name and what is in it.
pub(super) type NamedLayer = (String, Vec<Entry>);

/// The layers bottom to top: those of the recipe, then the binary.
pub(super) fn declared(plan: &BuildPlan, recipe: &Recipe, binary: PathBuf) -> Vec<NamedLayer> {
    let mut layers = Vec::new();
    for layer in &recipe.layers {
        let mut entries = Vec::new();
        for entry in &layer.entries {
            let content = match &entry.content {
                EntryContent::Directory => Content::Directory,
                EntryContent::Text(text) => Content::Bytes(text.clone().into_bytes()),
                EntryContent::Source(source) => Content::File(plan.root.join(source)),
                EntryContent::Bundle(bundle) => {
                    entries.extend(bundled(*bundle, &entry.path, entry.mode));
                    continue;
                }
            };
            entries.push(Entry { path: entry.path.clone(), mode: entry.mode, content });
        }
        layers.push((layer.name.clone(), entries));
    }
    let program = Entry { path: recipe.entrypoint.clone(), mode: 0o755, content: Content::File(binary) };
    layers.push(("program".to_string(), vec![program]));
    layers
}

/// A bundle at a path: one file, or a directory that has the declared mode with files that can be read.
fn bundled(bundle: Bundle, path: &str, mode: u32) -> Vec<Entry> {
    let below = |(name, bytes): (String, Vec<u8>)| match name.as_str() {
        "" => Entry { path: path.to_string(), mode, content: Content::Bytes(bytes) },
        name => Entry { path: format!("{path}/{name}"), mode: 0o644, content: Content::Bytes(bytes) },
    };
    let directory = Entry { path: path.to_string(), mode, content: Content::Directory };
    let directory = bundle.is_directory().then_some(directory);
    directory.into_iter().chain(bundle.files().into_iter().map(below)).collect()
}

/// Takes executables into memory, the program with the list of what is in it: what is packed, proven and started are the same bytes, whatever
/// happens to the files meanwhile. The error names the file.
pub(super) fn loaded(
    recipe: &Recipe,
    mut layers: Vec<NamedLayer>,
    audit: Option<&[u8]>,
) -> Result<Vec<NamedLayer>, (PathBuf, io::Error)> {
    for Entry { path, content, .. } in layers.iter_mut().flat_map(|(_, entries)| entries) {
        let Content::File(file) = content else { continue };
        let failed = |source| (file.clone(), source);
        let mut bytes = match proof::is_executable(file).map_err(failed)? {
            true => fs::read(&*file).map_err(failed)?,
            false => continue,
        };
        if let Some(audit) = audit.filter(|_| *path == recipe.entrypoint) {
            bytes = audit::embed(bytes, audit).map_err(|problem| failed(io::Error::other(problem)))?;
        }
        *content = Content::Bytes(bytes);
    }
    Ok(layers)
}
