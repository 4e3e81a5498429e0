//! Base images: fetched once by digest, kept beside the images that stand on them, and carried into these as they are: the same layers, and a
//! config of which only that is changed which the recipe says.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::client::{Client, ClientError, Progress, Repository};
use crate::digest::Digest;
use crate::document::{
    DOCKER_LAYER_GZIP, Descriptor, ImageConfig, Index, LAYER_GZIP, LAYER_TAR, LAYER_ZSTD, Manifest, REF_NAME,
    Raw,
};
use crate::layout::{Layout, LayoutError};
use crate::plan::BuildPlan;
use crate::platform::Platform;
use crate::recipe::Base;
use crate::reference::Reference;

/// A base image cannot be had or used.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// Its registry does not give it.
    #[error("fetch the base image {base}")]
    Registry {
        /// The base.
        base: Box<Reference>,
        /// Why not.
        source: ClientError,
    },
    /// Its registry does not have it.
    #[error("fetch the base image {base}: the registry does not have it")]
    Absent {
        /// The base.
        base: Box<Reference>,
    },
    /// It was not fetched.
    #[error("use the base image {base}: it was not fetched")]
    NotFetched {
        /// The base.
        base: Box<Reference>,
    },
    /// It is for other platforms.
    #[error("use the base image {base} for {platform}: it is for {}", list(found))]
    Platform {
        /// The base.
        base: Box<Reference>,
        /// What was wanted.
        platform: Platform,
        /// What it is for.
        found: Vec<String>,
    },
    /// Its documents are not what they should be.
    #[error("use the base image {base}: {problem}")]
    Malformed {
        /// The base.
        base: Box<Reference>,
        /// What is wrong with it.
        problem: String,
    },
    /// Its copy cannot be read or written.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

fn list(platforms: &[String]) -> String {
    if platforms.is_empty() { "none that is known".to_string() } else { platforms.join(", ") }
}

impl BaseError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            BaseError::Registry { source, .. } => source.hint(),
            BaseError::Absent { base } => Some(format!(
                "what there is now: `skopeo inspect docker://{}/{}`",
                base.registry, base.repository
            )),
            BaseError::Platform { .. } => {
                Some(format!("take another base or fewer `platforms` in `{}`", crate::recipe::FILE))
            }
            BaseError::NotFetched { .. } | BaseError::Malformed { .. } => None,
            BaseError::Layout(error) => error.hint(),
        }
    }
}

/// A base image for one platform, complete in its layout.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// What recipes call it.
    pub reference: Reference,
    /// Digest of its manifest for the platform.
    pub manifest: Digest,
    /// Its layers, bottom first, with OCI media types.
    pub layers: Vec<Descriptor>,
    /// Digest of each when unpacked.
    pub diff_ids: Vec<Digest>,
    config: Map<String, Value>,
    layout: Layout,
}

/// The bases of a plan, each once.
fn wanted(plan: &BuildPlan) -> Vec<(&Reference, Vec<&Platform>)> {
    let mut wanted: Vec<(&Reference, Vec<&Platform>)> = Vec::new();
    for image in &plan.images {
        let Base::Image(reference) = &image.recipe.base else { continue };
        match wanted.iter_mut().find(|(known, _)| *known == reference) {
            Some((_, platforms)) => platforms.extend(&image.platforms),
            None => wanted.push((reference, image.platforms.iter().collect())),
        }
    }
    wanted
}

/// Whether the plan has a base at all.
pub fn needed(plan: &BuildPlan) -> bool {
    !wanted(plan).is_empty()
}

fn directory(plan: &BuildPlan) -> PathBuf {
    plan.cache.join("bases")
}

/// Fetches the bases the plan needs. What is there is not asked for again: a digest does not change.
pub async fn fetch(plan: &BuildPlan, client: &Client) -> Result<(), BaseError> {
    for (reference, platforms) in wanted(plan) {
        let layout = Layout::open(directory(plan))?;
        let missing: Vec<&Platform> =
            platforms.into_iter().filter(|platform| find_in(&layout, reference, platform).is_err()).collect();
        if !missing.is_empty() {
            fetch_one(&layout, reference, &missing, client).await?;
        }
    }
    Ok(())
}

async fn fetch_one(
    layout: &Layout,
    reference: &Reference,
    platforms: &[&Platform],
    client: &Client,
) -> Result<(), BaseError> {
    let failed = |source| BaseError::Registry { base: Box::new(reference.clone()), source };
    let repository = client.repository(&reference.registry, &reference.repository).map_err(failed)?;
    let top = document(&repository, layout, reference, reference.digest.as_ref()).await?;
    for platform in platforms {
        let chosen = choose(layout, reference, &top, platform)?;
        let manifest = document(&repository, layout, reference, Some(&chosen.digest)).await?;
        let Manifest { config, layers, .. } = layout.document(&manifest)?;
        let nobody: Progress = Arc::new(|_| ());
        for blob in layers.iter().chain([&config]) {
            repository.fetch_blob(blob, layout, &nobody).await.map_err(failed)?;
        }
    }
    // Named last: what has a name is complete.
    layout.tag(&reference.to_string(), top)?;
    Ok(())
}

/// Brings a manifest or index into the layout.
async fn document(
    repository: &Repository,
    layout: &Layout,
    reference: &Reference,
    digest: Option<&Digest>,
) -> Result<Descriptor, BaseError> {
    let absent = || BaseError::Absent { base: Box::new(reference.clone()) };
    let digest = digest.ok_or_else(absent)?;
    let failed = |source| BaseError::Registry { base: Box::new(reference.clone()), source };
    let raw: Raw = repository.manifest(&digest.to_string()).await.map_err(failed)?.ok_or_else(absent)?;
    layout.put(&raw)?;
    Ok(raw.descriptor())
}

/// The manifest for a platform: the index's, or the only one there is.
fn choose(
    layout: &Layout,
    reference: &Reference,
    top: &Descriptor,
    platform: &Platform,
) -> Result<Descriptor, BaseError> {
    if !top.is_index() {
        return Ok(top.clone());
    }
    let Index { manifests, .. } = layout.document(top)?;
    let suits = |found: &&Descriptor| {
        found.platform.as_ref().is_some_and(|found| {
            let variant = found.variant.as_deref();
            // arm64 has been written with and without its only variant.
            let same_variant =
                variant == platform.variant() || (variant == Some("v8") && platform.variant().is_none());
            (found.os.as_str(), found.architecture.as_str()) == (platform.os(), platform.architecture())
                && same_variant
        })
    };
    manifests.iter().find(suits).cloned().ok_or_else(|| BaseError::Platform {
        base: Box::new(reference.clone()),
        platform: platform.clone(),
        found: manifests
            .iter()
            .filter_map(|found| found.platform.as_ref())
            .map(|found| format!("{}/{}", found.os, found.architecture))
            .collect(),
    })
}

/// The base of an image for a platform; nothing for `scratch`.
pub(crate) fn find(plan: &BuildPlan, base: &Base, platform: &Platform) -> Result<Option<Found>, BaseError> {
    match base {
        Base::Scratch => Ok(None),
        Base::Image(reference) => find_in(&Layout::open(directory(plan))?, reference, platform).map(Some),
    }
}

fn find_in(layout: &Layout, reference: &Reference, platform: &Platform) -> Result<Found, BaseError> {
    let base = || Box::new(reference.clone());
    let name = reference.to_string();
    let named = layout.index()?.manifests;
    let top = named.into_iter().find(|listed| listed.annotations.get(REF_NAME) == Some(&name));
    let top = top.ok_or_else(|| BaseError::NotFetched { base: base() })?;
    let manifest = choose(layout, reference, &top, platform)?;
    if !layout.is_complete(&manifest) {
        return Err(BaseError::NotFetched { base: base() });
    }
    let Manifest { config, layers, .. } = layout.document(&manifest)?;
    let malformed = |problem: String| BaseError::Malformed { base: base(), problem };
    let layers = layers.into_iter().map(oci).collect::<Result<Vec<_>, _>>().map_err(malformed)?;
    let raw = layout.read(&config)?;
    let typed: ImageConfig = understood(&raw.bytes).map_err(malformed)?;
    let found = format!("{}/{}", typed.os, typed.architecture);
    if (typed.os.as_str(), typed.architecture.as_str()) != (platform.os(), platform.architecture()) {
        return Err(BaseError::Platform { base: base(), platform: platform.clone(), found: vec![found] });
    }
    let diff_ids = typed.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        return Err(malformed(format!(
            "its config lists {} layers, its manifest {}",
            diff_ids.len(),
            layers.len()
        )));
    }
    Ok(Found {
        reference: reference.clone(),
        manifest: manifest.digest,
        layers,
        diff_ids,
        config: understood(&raw.bytes).map_err(malformed)?,
        layout: layout.clone(),
    })
}

fn understood<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("its config cannot be understood: {error}"))
}

/// Docker's layers are OCI layers by another name, and an OCI manifest calls them so.
fn oci(layer: Descriptor) -> Result<Descriptor, String> {
    let media_type = match layer.media_type.as_str() {
        LAYER_GZIP | DOCKER_LAYER_GZIP => LAYER_GZIP,
        LAYER_ZSTD => LAYER_ZSTD,
        LAYER_TAR => LAYER_TAR,
        other => return Err(format!("layers of the type `{other}` cannot be passed on")),
    };
    Ok(Descriptor::new(media_type, layer.digest, layer.size))
}

impl Found {
    /// Puts its layers into the layout of the image, without copying where the file system can.
    pub(crate) fn carry_layers(&self, into: &Layout) -> Result<(), LayoutError> {
        for layer in self.layers.iter().filter(|layer| !into.has(layer)) {
            into.link(&self.layout, layer)?;
        }
        Ok(())
    }

    /// The config of an image on this base: the base's, with what the recipe says instead of it or besides it.
    pub(crate) fn config(&self, own: &ImageConfig) -> Value {
        let mut merged = self.config.clone();
        for (key, value) in [
            ("created", json!(own.created)),
            ("os", json!(own.os)),
            ("architecture", json!(own.architecture)),
        ] {
            merged.insert(key.to_string(), value);
        }
        let execution = merged.entry("config").or_insert_with(|| json!({}));
        if !execution.is_object() {
            *execution = json!({});
        }
        if let (Some(execution), Ok(Value::Object(own))) =
            (execution.as_object_mut(), serde_json::to_value(&own.config))
        {
            overlay(execution, own);
        }
        let mut history = own_array(&merged, "history");
        history.extend(own.history.iter().map(|step| json!(step)));
        merged.insert("history".to_string(), Value::Array(history));
        let diff_ids = self.diff_ids.iter().chain(&own.rootfs.diff_ids);
        merged.insert(
            "rootfs".to_string(),
            json!({ "type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>() }),
        );
        Value::Object(merged)
    }
}

fn own_array(of: &Map<String, Value>, key: &str) -> Vec<Value> {
    of.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Sets are united, variables replaced by name; everything else the recipe has wins, and what it does not know stays. The arguments of the
/// base belong to the base's program.
fn overlay(base: &mut Map<String, Value>, own: Map<String, Value>) {
    base.remove("Cmd");
    for (key, value) in own {
        match (key.as_str(), base.get_mut(&key), value) {
            ("Labels" | "ExposedPorts", Some(Value::Object(there)), Value::Object(more)) => {
                there.extend(more)
            }
            ("Env", Some(Value::Array(there)), Value::Array(more)) => {
                for variable in more {
                    let name = |value: &Value| {
                        value.as_str().and_then(|text| text.split('=').next()).map(str::to_string)
                    };
                    there.retain(|known| name(known) != name(&variable));
                    there.push(variable);
                }
            }
            ("WorkingDir", Some(Value::String(there)), _) if !there.is_empty() => {}
            (_, _, value) => drop(base.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Execution, Rootfs};

    fn found(config: Value) -> Found {
        let dir = tempfile::tempdir().unwrap();
        Found {
            reference: format!("registry.example/base@sha256:{}", "0".repeat(64)).parse().unwrap(),
            manifest: Digest::of(b"manifest"),
            layers: Vec::new(),
            diff_ids: vec![Digest::of(b"base")],
            config: config.as_object().unwrap().clone(),
            layout: Layout::open(dir.path()).unwrap(),
        }
    }

    fn own() -> ImageConfig {
        ImageConfig {
            created: Some("2026-01-01T00:00:00Z".to_string()),
            architecture: "arm64".to_string(),
            os: "linux".to_string(),
            variant: None,
            config: Execution {
                user: Some("1:1".to_string()),
                env: vec!["PATH=/own".to_string(), "NEW=1".to_string()],
                entrypoint: vec!["/program".to_string()],
                working_dir: Some("/".to_string()),
                labels: [("title".to_string(), "own".to_string())].into(),
                ..Execution::default()
            },
            rootfs: Rootfs { kind: "layers".to_string(), diff_ids: vec![Digest::of(b"own")] },
            history: Vec::new(),
        }
    }

    #[test]
    fn the_recipe_adds_to_the_base_and_what_it_does_not_know_stays() {
        let base = json!({
            "created": "2020-01-01T00:00:00Z", "architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "9",
            "config": {
                "User": "0", "Env": ["PATH=/bin", "container=oci"], "Entrypoint": ["/init"], "Cmd": ["--boot"],
                "WorkingDir": "/work", "Labels": { "title": "base", "vendor": "somebody" }, "StopSignal": "SIGINT",
            },
            "history": [{ "created_by": "somebody" }],
        });
        let merged = found(base).config(&own());
        assert_eq!(
            merged,
            json!({
                "created": "2026-01-01T00:00:00Z", "architecture": "arm64", "os": "linux", "variant": "v8", "os.version": "9",
                "config": {
                    "User": "1:1", "Env": ["container=oci", "PATH=/own", "NEW=1"], "Entrypoint": ["/program"],
                    "WorkingDir": "/work", "Labels": { "title": "own", "vendor": "somebody" }, "StopSignal": "SIGINT",
                },
                "history": [{ "created_by": "somebody" }],
                "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"base"), Digest::of(b"own")] },
            })
        );
    }

    #[test]
    fn a_base_without_any_config_gets_one() {
        let merged = found(json!({ "architecture": "arm64", "os": "linux", "config": null })).config(&own());
        assert_eq!(merged["config"]["User"], "1:1");
        assert_eq!(merged["config"]["WorkingDir"], "/");
    }
}
