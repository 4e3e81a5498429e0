//! What everybody packs: the files of images that were built, one directory per image and platform, with a Containerfile beside it that makes
//! the same image of them.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use images::document::{Index, Manifest};
use images::layer::read::each_entry;
use images::recipe::{Binary, Recipe};
use images::{BuildPlan, BuiltImage, Layout};

/// The content of all images.
pub(super) struct Content {
    /// Below it everything else.
    pub root: PathBuf,
    /// What is to be packed.
    pub parts: Vec<Part>,
    /// Bytes of all files.
    pub bytes: u64,
}

/// One platform of an image.
pub(super) struct Part {
    pub image: String,
    pub platform: String,
    /// The context: a `Containerfile`, and the files in `root`.
    pub directory: PathBuf,
}

impl Content {
    /// Takes the images apart, below `root`.
    pub fn of(images: &[BuiltImage], plan: &BuildPlan, root: PathBuf) -> anyhow::Result<Content> {
        let layout = Layout::open(&plan.layout)?;
        let mut content = Content { root, parts: Vec::new(), bytes: 0 };
        for (image, planned) in images.iter().zip(&plan.images) {
            let index: Index = layout.document(&image.index)?;
            for (manifest, platform) in index.manifests.iter().zip(&planned.platforms) {
                let directory = content.root.join(&image.name).join(platform.architecture());
                let Manifest { layers, .. } = layout.document(manifest)?;
                for layer in &layers {
                    content.bytes += unpack(&layout, layer, &directory.join("root"))?;
                }
                fs::write(directory.join("Containerfile"), containerfile(&planned.recipe))?;
                let platform = platform.to_string();
                content.parts.push(Part { image: image.name.clone(), platform, directory });
            }
        }
        Ok(content)
    }

    /// A plan that packs the same files: nothing is compiled, and nothing is remembered from elsewhere.
    pub fn plan(&self, plan: &BuildPlan, cache: &Path) -> BuildPlan {
        let mut plan = plan.clone();
        plan.root = self.root.clone();
        plan.layout = cache.join("layout");
        plan.cache = cache.join("images");
        plan.compilations.clear();
        plan.origin = None;
        for image in &mut plan.images {
            let Recipe { name, entrypoint, .. } = &image.recipe;
            let path = format!("{name}/{{architecture}}/root{entrypoint}");
            image.recipe.binary = Binary::Prebuilt { path };
        }
        plan
    }
}

/// Writes the files of a layer that was packed here, so that it needs no suspicion; gives their bytes.
fn unpack(layout: &Layout, layer: &images::document::Descriptor, root: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    each_entry(layout.open_blob(&layer.digest)?, |path, entry| {
        let target = root.join(path.trim_start_matches('/'));
        if entry.header().entry_type().is_dir() {
            fs::create_dir_all(&target)?;
        } else {
            fs::create_dir_all(target.parent().unwrap_or(root))?;
            let mut file = fs::File::create(&target)?;
            bytes += io::copy(entry, &mut file)?;
            file.flush()?;
        }
        fs::set_permissions(&target, Permissions::from_mode(entry.header().mode()?))
    })
    .with_context(|| format!("unpack a layer to {}", root.display()))?;
    Ok(bytes)
}

/// The least that gives the same image: what a recipe says, without compiling.
fn containerfile(recipe: &Recipe) -> String {
    let mut text = "FROM scratch\nCOPY root/ /\n".to_owned();
    for (name, value) in &recipe.environment {
        text += &format!("ENV {name}={value:?}\n");
    }
    for (name, value) in &recipe.labels {
        text += &format!("LABEL {name}={value:?}\n");
    }
    for port in &recipe.ports {
        text += &format!("EXPOSE {port}/tcp\n");
    }
    text + &format!("USER {}\nWORKDIR /\nENTRYPOINT [{:?}]\n", recipe.user, recipe.entrypoint)
}
