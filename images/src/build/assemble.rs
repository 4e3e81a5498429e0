//! From a recipe and a binary to layers, config, manifest and index in the layout.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entries::{self, NamedLayer};
use super::inputs::{self, PackedLayer, Record};
use super::parallel::in_parallel;
use super::{BuildError, BuildEvent, BuiltImage, BuiltManifest};
use crate::base::{self, Found};
use crate::document::{
    BASE_DIGEST, BASE_NAME, CONFIG, Descriptor, DescriptorPlatform, Empty, Execution, History, INDEX,
    ImageConfig, Index, MANIFEST, Manifest, Raw, Rootfs,
};
use crate::layer::{self, Content, Entry, compressor};
use crate::layout::Layout;
use crate::plan::{BuildPlan, PlannedImage};
use crate::platform::Platform;
use crate::proof::{self, Layer, ProofRow};
use crate::recipe::Recipe;
use crate::reference::Reference;

/// Annotation of a manifest: what packed its layers.
const COMPRESSOR_ANNOTATION: &str = "dev.slipway.layer.compressor";

/// Says something about the program of an image for a platform.
type Tells<'a, T> = &'a (dyn Fn(&PlannedImage, &Platform) -> T + Sync);

/// Where a program is, and the list that goes into it.
pub(super) struct Sources<'a> {
    pub binary: Tells<'a, PathBuf>,
    pub audit: Tells<'a, Option<Arc<[u8]>>>,
}

/// Every platform of every image side by side, those with the largest programs first, so that no core is left with one of them at the end.
pub(super) fn assemble(
    plan: &BuildPlan,
    layout: &Layout,
    sources: &Sources<'_>,
    observer: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Vec<BuiltImage>, BuildError> {
    let of =
        |position: usize| plan.images[position].platforms.iter().map(move |platform| (position, platform));
    let mut order: Vec<(usize, &Platform)> = (0..plan.images.len()).flat_map(of).collect();
    let size = |&(position, platform): &(usize, &Platform)| {
        let program = (sources.binary)(&plan.images[position], platform);
        // What cannot be read is reported where it is packed.
        fs::metadata(program).map_or(0, |metadata| metadata.len())
    };
    order.sort_by_cached_key(|unit| Reverse(size(unit)));
    let parts = in_parallel(&order, |&(position, platform)| {
        part(plan, layout, &plan.images[position], platform, sources, observer)
    })?;
    let mut parts: BTreeMap<(usize, &Platform), Part> = order.into_iter().zip(parts).collect();
    plan.images
        .iter()
        .enumerate()
        .map(|(position, image)| {
            let own = image.platforms.iter().filter_map(|platform| parts.remove(&(position, platform)));
            join(layout, &image.recipe, own.collect())
        })
        .collect()
}

/// One platform of an image, complete in the layout.
struct Part {
    manifest: BuiltManifest,
    proof: Vec<ProofRow>,
    /// Whether its layers were packed and proven before.
    cached: bool,
    /// What it took.
    duration: Duration,
}

/// Packs, proves and describes one platform of an image.
fn part(
    plan: &BuildPlan,
    layout: &Layout,
    image: &PlannedImage,
    platform: &Platform,
    sources: &Sources<'_>,
    observer: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Part, BuildError> {
    let started = Instant::now();
    let recipe = &image.recipe;
    let base = base::find(plan, &recipe.base, platform)
        .map_err(|source| BuildError::Base { image: recipe.name.clone(), source })?;
    let audit = (sources.audit)(image, platform);
    let layers = entries::declared(plan, recipe, (sources.binary)(image, platform));
    let subject = Subject { plan, layout, recipe, platform, base: base.as_ref() };
    let (record, cached) = packed(&subject, layers, audit.as_deref(), observer)?;
    let manifest = BuiltManifest {
        platform: platform.to_string(),
        manifest: documents(&subject, &record.layers)?,
        layer_bytes: record.layers.iter().map(|layer| layer.descriptor.size).sum(),
    };
    Ok(Part { manifest, proof: record.proof, cached, duration: started.elapsed() })
}

/// Makes the image of its platforms, in the order of the recipe.
fn join(layout: &Layout, recipe: &Recipe, parts: Vec<Part>) -> Result<BuiltImage, BuildError> {
    let descriptors = parts.iter().map(|part| part.manifest.manifest.clone()).collect();
    let index = Raw::of(INDEX, &Index::new(descriptors)).map_err(document_error(recipe, "index"))?;
    layout.put(&index)?;
    let moved = layout.tag(&recipe.name, index.descriptor())?;
    let mut image = BuiltImage {
        name: recipe.name.clone(),
        index: index.descriptor(),
        manifests: Vec::new(),
        proof: Vec::new(),
        attestations: Vec::new(),
        cached: !moved,
        seconds: 0.0,
    };
    for part in parts {
        image.manifests.push(part.manifest);
        image.proof.extend(part.proof);
        image.cached &= part.cached;
        image.seconds += part.duration.as_secs_f64();
    }
    Ok(image)
}

/// An image for one platform, while it is made.
struct Subject<'a> {
    plan: &'a BuildPlan,
    layout: &'a Layout,
    recipe: &'a Recipe,
    platform: &'a Platform,
    base: Option<&'a Found>,
}

/// The packed and proven layers: remembered if nothing they depend on was touched, else made now.
fn packed(
    subject: &Subject<'_>,
    layers: Vec<NamedLayer>,
    audit: Option<&[u8]>,
    observer: &(dyn Fn(BuildEvent) + Sync),
) -> Result<(Record, bool), BuildError> {
    let Subject { plan, layout, recipe, platform, base } = *subject;
    let files = layers.iter().flat_map(|(_, entries)| entries).filter_map(|entry| match &entry.content {
        Content::File(path) => Some(path.clone()),
        Content::Directory | Content::Bytes(_) => None,
    });
    let image = &recipe.name;
    let inputs = inputs::digest(recipe, platform, files.collect(), audit)
        .map_err(|(path, source)| BuildError::Input { image: image.clone(), path, source })?;
    if let Some(record) = inputs::recall(&plan.cache, image, platform)
        && record.inputs == inputs
        && record.layers.iter().all(|layer| layout.has(&layer.descriptor))
    {
        return Ok((record, true));
    }

    observer(BuildEvent::Assembling { image: image.clone(), platform: platform.clone() });
    let layers = entries::loaded(recipe, layers, audit).map_err(|(path, source)| BuildError::Input {
        image: image.clone(),
        path,
        source,
    })?;
    let mut packed = base.map(stacked).unwrap_or_default();
    if let Some(base) = base {
        base.carry_layers(layout)?;
    }
    let carried = packed.len();
    for (name, entries) in &layers {
        packed.push(pack(layout, recipe, name, entries)?);
    }
    let config = config(subject, &packed)?;
    let below = packed[..carried].iter().map(|layer| (layer.name.as_str(), Layer::Packed(&layer.descriptor)));
    let own = layers.iter().map(|(name, entries)| (name.as_str(), Layer::Entries(entries)));
    let subject = proof::Subject {
        image,
        platform,
        config: &config.bytes,
        layers: below.chain(own).collect(),
        entrypoint: &recipe.entrypoint,
        scratch: &plan.cache,
    };
    let proof = proof::prove(layout, &subject)?;
    let record = Record { inputs, layers: packed, proof };
    // A record that cannot be written costs the next run time and nothing else.
    if let Err(error) = inputs::remember(&plan.cache, image, platform, &record) {
        tracing::warn!(%error, image, "cannot remember what was packed");
    }
    Ok((record, false))
}

fn pack(layout: &Layout, recipe: &Recipe, name: &str, entries: &[Entry]) -> Result<PackedLayer, BuildError> {
    let failed =
        |source: io::Error| BuildError::Pack { image: recipe.name.clone(), layer: name.to_string(), source };
    let (staged, diff_id) = layer::write(entries, recipe.compression, layout.stage()?).map_err(failed)?;
    let (digest, size) = layout.commit(staged)?;
    let media_type = recipe.compression.media_type();
    Ok(PackedLayer { name: name.to_string(), descriptor: Descriptor::new(media_type, digest, size), diff_id })
}

/// The layers of the base, as if they had been packed here.
fn stacked(base: &Found) -> Vec<PackedLayer> {
    let layers = base.layers.iter().zip(&base.diff_ids).enumerate();
    let name = |position| format!("base {}", position + 1);
    layers
        .map(|(position, (layer, diff_id))| PackedLayer {
            name: name(position),
            descriptor: layer.clone(),
            diff_id: diff_id.clone(),
        })
        .collect()
}

/// Writes config and manifest; the descriptor returned carries the platform, as an index wants it.
fn documents(subject: &Subject<'_>, layers: &[PackedLayer]) -> Result<Descriptor, BuildError> {
    let Subject { layout, recipe, platform, base, .. } = *subject;
    let config = config(subject, layers)?;
    layout.put(&config)?;
    let mut annotations =
        BTreeMap::from([(COMPRESSOR_ANNOTATION.to_string(), compressor(recipe.compression))]);
    if let Some(Found { reference, manifest, .. }) = base {
        let name = Reference { digest: None, ..reference.clone() };
        annotations.insert(BASE_NAME.to_string(), name.to_string());
        annotations.insert(BASE_DIGEST.to_string(), manifest.to_string());
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_string()),
        artifact_type: None,
        config: config.descriptor(),
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        subject: None,
        annotations,
    };
    let manifest = Raw::of(MANIFEST, &manifest).map_err(document_error(recipe, "manifest"))?;
    layout.put(&manifest)?;
    let mut descriptor = manifest.descriptor();
    descriptor.platform = Some(DescriptorPlatform::from(platform));
    Ok(descriptor)
}

/// The config; on a base it is the base's, changed where the recipe says so.
fn config(subject: &Subject<'_>, layers: &[PackedLayer]) -> Result<Raw, BuildError> {
    let failed = document_error(subject.recipe, "config");
    match subject.base {
        None => Raw::of(CONFIG, &own_config(subject, layers)).map_err(failed),
        Some(base) => {
            let own = own_config(subject, layers.get(base.layers.len()..).unwrap_or_default());
            Raw::of(CONFIG, &base.config(&own)).map_err(failed)
        }
    }
}

fn own_config(subject: &Subject<'_>, layers: &[PackedLayer]) -> ImageConfig {
    let Subject { plan, recipe, platform, .. } = *subject;
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
