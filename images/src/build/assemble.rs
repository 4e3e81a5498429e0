//! From a recipe and a binary to layers, config, manifest and index in the layout.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::inputs::{self, PackedLayer, Record};
use super::{BuildError, BuildEvent, BuiltImage, BuiltManifest};
use crate::document::{
    CONFIG, Descriptor, DescriptorPlatform, Empty, Execution, History, INDEX, ImageConfig, Index, MANIFEST,
    Manifest, Raw, Rootfs,
};
use crate::layer::{self, COMPRESSOR, Content, Entry};
use crate::layout::Layout;
use crate::plan::{BuildPlan, PlannedImage};
use crate::platform::Platform;
use crate::proof;
use crate::recipe::{Compression, EntryContent, Recipe};

/// Annotation of a manifest: what packed its layers.
const COMPRESSOR_ANNOTATION: &str = "dev.slipway.layer.compressor";

/// Makes one image complete in the layout, for each of its platforms.
pub(super) fn assemble(
    plan: &BuildPlan,
    layout: &Layout,
    image: &PlannedImage,
    binary: &dyn Fn(&PlannedImage, &Platform) -> PathBuf,
    observer: &(dyn Fn(BuildEvent) + Sync),
) -> Result<BuiltImage, BuildError> {
    let PlannedImage { recipe, platforms } = image;
    let mut manifests = Vec::new();
    let mut rows = Vec::new();
    let mut cached = true;
    for platform in platforms {
        let layers = layer_entries(plan, recipe, binary(image, platform));
        let (record, was_packed) = packed(plan, layout, recipe, platform, &layers, observer)?;
        let manifest = documents(plan, layout, recipe, platform, &record.layers)?;
        cached &= was_packed;
        manifests.push(BuiltManifest {
            platform: platform.to_string(),
            manifest,
            layer_bytes: record.layers.iter().map(|layer| layer.descriptor.size).sum(),
        });
        rows.extend(record.proof);
    }
    let index = Index::new(manifests.iter().map(|built| built.manifest.clone()).collect());
    let index = Raw::of(INDEX, &index).map_err(document_error(recipe, "index"))?;
    layout.put(&index)?;
    let moved = layout.tag(&recipe.name, index.descriptor())?;
    Ok(BuiltImage {
        name: recipe.name.clone(),
        index: index.descriptor(),
        manifests,
        proof: rows,
        attestations: Vec::new(),
        cached: cached && !moved,
        seconds: 0.0,
    })
}

/// The layers bottom to top: those of the recipe, then the binary.
fn layer_entries(plan: &BuildPlan, recipe: &Recipe, binary: PathBuf) -> Vec<(String, Vec<Entry>)> {
    let mut layers = Vec::new();
    for layer in &recipe.layers {
        let entries = layer.entries.iter().map(|entry| Entry {
            path: entry.path.clone(),
            mode: entry.mode,
            content: match &entry.content {
                EntryContent::Directory => Content::Directory,
                EntryContent::Text(text) => Content::Bytes(text.clone().into_bytes()),
                EntryContent::Source(source) => Content::File(plan.root.join(source)),
            },
        });
        layers.push((layer.name.clone(), entries.collect()));
    }
    let program = Entry { path: recipe.entrypoint.clone(), mode: 0o755, content: Content::File(binary) };
    layers.push(("program".to_string(), vec![program]));
    layers
}

/// The packed and proven layers: remembered if nothing they depend on was touched, else made now.
fn packed(
    plan: &BuildPlan,
    layout: &Layout,
    recipe: &Recipe,
    platform: &Platform,
    layers: &[(String, Vec<Entry>)],
    observer: &(dyn Fn(BuildEvent) + Sync),
) -> Result<(Record, bool), BuildError> {
    let files = layers.iter().flat_map(|(_, entries)| entries).filter_map(|entry| match &entry.content {
        Content::File(path) => Some(path.clone()),
        Content::Directory | Content::Bytes(_) => None,
    });
    let image = &recipe.name;
    let inputs = inputs::digest(recipe, platform, files.collect())
        .map_err(|(path, source)| BuildError::Input { image: image.clone(), path, source })?;
    if let Some(record) = inputs::recall(&plan.cache, image, platform)
        && record.inputs == inputs
        && record.layers.iter().all(|layer| layout.has(&layer.descriptor))
    {
        return Ok((record, true));
    }

    observer(BuildEvent::Assembling { image: image.clone(), platform: platform.clone() });
    let layers = layers
        .iter()
        .map(|(name, entries)| pack(layout, recipe, name, entries))
        .collect::<Result<Vec<_>, _>>()?;
    let config = Raw::of(CONFIG, &config(plan, recipe, platform, &layers))
        .map_err(document_error(recipe, "config"))?;
    let subject = proof::Subject {
        image,
        platform,
        config: &config.bytes,
        layers: layers.iter().map(|layer| (layer.name.as_str(), &layer.descriptor)).collect(),
        entrypoint: &recipe.entrypoint,
        scratch: &plan.cache,
    };
    let proof = proof::prove(layout, &subject)?;
    let record = Record { inputs, layers, proof };
    // A record that cannot be written costs the next run time and nothing else.
    if let Err(error) = inputs::remember(&plan.cache, image, platform, &record) {
        tracing::warn!(%error, image, "cannot remember what was packed");
    }
    Ok((record, false))
}

fn pack(layout: &Layout, recipe: &Recipe, name: &str, entries: &[Entry]) -> Result<PackedLayer, BuildError> {
    let failed =
        |source: io::Error| BuildError::Pack { image: recipe.name.clone(), layer: name.to_string(), source };
    let (staged, written) = layer::write(entries, recipe.compression, layout.stage()?).map_err(failed)?;
    layout.commit(staged)?;
    let media_type = recipe.compression.media_type();
    Ok(PackedLayer {
        name: name.to_string(),
        descriptor: Descriptor::new(media_type, written.digest, written.size),
        diff_id: written.diff_id,
    })
}

/// Writes config and manifest; the descriptor returned carries the platform, as an index wants it.
fn documents(
    plan: &BuildPlan,
    layout: &Layout,
    recipe: &Recipe,
    platform: &Platform,
    layers: &[PackedLayer],
) -> Result<Descriptor, BuildError> {
    let config =
        Raw::of(CONFIG, &config(plan, recipe, platform, layers)).map_err(document_error(recipe, "config"))?;
    layout.put(&config)?;
    let Compression::Gzip(level) = recipe.compression;
    let compressor = format!("{COMPRESSOR}, gzip level {level}");
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_string()),
        artifact_type: None,
        config: config.descriptor(),
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        subject: None,
        annotations: BTreeMap::from([(COMPRESSOR_ANNOTATION.to_string(), compressor)]),
    };
    let manifest = Raw::of(MANIFEST, &manifest).map_err(document_error(recipe, "manifest"))?;
    layout.put(&manifest)?;
    let mut descriptor = manifest.descriptor();
    descriptor.platform = Some(DescriptorPlatform::from(platform));
    Ok(descriptor)
}

fn config(plan: &BuildPlan, recipe: &Recipe, platform: &Platform, layers: &[PackedLayer]) -> ImageConfig {
    let created = created(plan.source_date_epoch);
    let history = layers
        .iter()
        .map(|layer| History { created: created.clone(), created_by: Some(format!("layer {}", layer.name)) });
    ImageConfig {
        created: created.clone(),
        architecture: platform.architecture().to_string(),
        os: platform.os().to_string(),
        variant: platform.variant().map(str::to_string),
        config: Execution {
            user: Some(recipe.user.clone()),
            exposed_ports: recipe.ports.iter().map(|port| (format!("{port}/tcp"), Empty {})).collect(),
            env: recipe.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            entrypoint: vec![recipe.entrypoint.clone()],
            cmd: Vec::new(),
            working_dir: Some("/".to_string()),
            labels: recipe.labels.clone(),
        },
        rootfs: Rootfs {
            kind: "layers".to_string(),
            diff_ids: layers.iter().map(|layer| layer.diff_id.clone()).collect(),
        },
        history: history.collect(),
    }
}

/// RFC 3339 in UTC, or nothing for a time no calendar has.
fn created(source_date_epoch: u64) -> Option<String> {
    let seconds = i64::try_from(source_date_epoch).ok()?;
    jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

fn document_error<'a>(
    recipe: &'a Recipe,
    document: &'static str,
) -> impl FnOnce(serde_json::Error) -> BuildError + 'a {
    move |source| BuildError::Document { image: recipe.name.clone(), document, source }
}
