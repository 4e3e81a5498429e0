//! One image of the source in full: its manifests, its blobs, what refers to it, and what its rule objects to.
//!
//! Only manifests and configs are read here; layers move later, when every image of the run is known.

mod trim;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;

use super::declaration::Rule;
use super::error::{MirrorFailure, failed, name};
use crate::client::{Client, Repository};
use crate::digest::Digest;
use crate::document::{Descriptor, ImageConfig, Index, Manifest, Raw, is_index};
use trim::Trimmed;

/// Manifests read side by side.
const SIDE_BY_SIDE: usize = 4;
/// A config is a small document.
const CONFIG_LIMIT: usize = 8 << 20;
/// Endings of the tags under which cosign keeps what refers to a digest.
const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

/// An image as it will be at the destination.
#[derive(Debug)]
pub struct Survey {
    /// What the tag will point at.
    pub top: Raw,
    /// What it points at at the source, when platforms are left out.
    pub upstream: Option<Raw>,
    /// Manifests below it, each with its platform.
    pub manifests: Vec<(Raw, Option<String>)>,
    /// What refers to it.
    pub referrers: Vec<Referrer>,
    /// Every blob, each once.
    pub blobs: BTreeMap<Digest, Descriptor>,
    /// When it was made: the newest of its platforms.
    pub created: Option<Timestamp>,
}

/// A manifest about another one.
#[derive(Debug)]
pub struct Referrer {
    /// The manifest.
    pub raw: Raw,
    /// What it is.
    pub kind: String,
    /// The tag under which it is found, for those that have no `subject`.
    pub tag: Option<String>,
}

/// What a rule has against an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objection {
    /// Platforms that it must have are missing.
    Platforms {
        /// Those.
        missing: Vec<String>,
        /// What it has.
        has: Vec<String>,
    },
    /// It is too large.
    Size {
        /// Its bytes.
        bytes: u64,
        /// How many there may be.
        limit: u64,
    },
    /// It is too young, or does not say how old it is.
    Age {
        /// When it was made.
        created: Option<String>,
        /// From when it may be taken.
        from: Option<String>,
    },
}

impl Survey {
    /// Bytes of all its blobs and documents.
    pub fn size(&self) -> u64 {
        let documents = self.manifests.iter().map(|(raw, _)| raw).chain([&self.top]);
        self.blobs.values().map(|blob| blob.size).sum::<u64>()
            + documents.map(|raw| raw.bytes.len() as u64).sum::<u64>()
    }

    /// Digest of the manifest of each platform.
    pub fn platforms(&self) -> BTreeMap<String, Digest> {
        let named =
            self.manifests.iter().filter_map(|(raw, platform)| Some((platform.clone()?, raw.digest.clone())));
        named.collect()
    }

    /// What the rule has against it. Pure.
    pub fn objections(&self, rule: &Rule, now: Timestamp) -> Vec<Objection> {
        let mut objections = Vec::new();
        let has: Vec<String> = self.platforms().into_keys().collect();
        let missing: Vec<String> = rule
            .platforms
            .iter()
            .map(ToString::to_string)
            .filter(|platform| !has.contains(platform))
            .collect();
        if !missing.is_empty() {
            objections.push(Objection::Platforms { missing, has });
        }
        let bytes = self.size();
        if bytes > rule.maximum_size {
            objections.push(Objection::Size { bytes, limit: rule.maximum_size });
        }
        if !rule.minimum_age.is_zero() {
            let from = self.created.and_then(|created| created.checked_add(rule.minimum_age).ok());
            if from.is_none_or(|from| from > now) {
                let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
                objections.push(Objection::Age { created: text(self.created), from: text(from) });
            }
        }
        objections
    }
}

impl Objection {
    /// The edit that helps.
    pub fn hint(&self) -> String {
        match self {
            Objection::Platforms { .. } => {
                "change `platforms` of its rule in images/mirror.toml, or take another tag"
            }
            Objection::Size { .. } => {
                "raise `maximum-size` of its rule in images/mirror.toml if that is meant"
            }
            Objection::Age { .. } => "wait, or lower `minimum-age` of its rule in images/mirror.toml",
        }
        .to_owned()
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::Platforms { missing, has } if has.is_empty() => {
                write!(f, "it lacks {} and names no platform at all", missing.join(", "))
            }
            Objection::Platforms { missing, has } => {
                write!(f, "it lacks {}; it has {}", missing.join(", "), has.join(", "))
            }
            Objection::Size { bytes, limit } => write!(f, "it has {bytes} bytes, more than {limit}"),
            Objection::Age { created: None, .. } => f.write_str("it does not say when it was made"),
            Objection::Age { created: Some(created), from } => {
                write!(
                    f,
                    "it was made on {created} and may be taken from {}",
                    from.as_deref().unwrap_or("never")
                )
            }
        }
    }
}

/// Reads an image of the source by its digest.
pub async fn survey(
    client: &Client,
    rule: &Rule,
    tag: &str,
    digest: &Digest,
) -> Result<Survey, MirrorFailure> {
    let image = name(&rule.source, tag);
    let failed = || failed("read", &rule.source, tag);
    let repository = client.repository(&rule.source.registry, &rule.source.name).map_err(failed())?;
    let top = repository.manifest(&digest.to_string()).await.map_err(failed())?;
    let top = top.ok_or_else(|| MirrorFailure::Moved { image: image.clone() })?;
    let malformed = |problem: String| MirrorFailure::Malformed { image: image.clone(), problem };

    let (top, upstream, children) = if is_index(&top.media_type) {
        let Trimmed { kept, index } = trim::trim(&top, &rule.platforms).map_err(malformed)?;
        match index {
            Some(trimmed) => (trimmed, Some(top), kept),
            None => (top, None, kept),
        }
    } else {
        (top, None, Vec::new())
    };
    let manifests: Vec<(Raw, Option<String>)> = stream::iter(children)
        .map(async |child| {
            let platform =
                child.platform.as_ref().map(trim::platform_name).filter(|name| name != "unknown/unknown");
            Ok::<_, MirrorFailure>((read(&repository, &child.digest, &image).await?, platform))
        })
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    let mut survey =
        Survey { top, upstream, manifests, referrers: Vec::new(), blobs: BTreeMap::new(), created: None };
    complete(&mut survey, &repository, &image).await?;
    if rule.referrers {
        survey.referrers = referrers(&repository, &survey, &image).await?;
        for referrer in &survey.referrers {
            add_blobs(&mut survey.blobs, &referrer.raw, &image)?;
        }
    }
    Ok(survey)
}

/// The blobs of its images, when they were made, and the platform of an image without an index.
async fn complete(survey: &mut Survey, repository: &Repository, image: &str) -> Result<(), MirrorFailure> {
    if !is_index(&survey.top.media_type) {
        survey.manifests.push((survey.top.clone(), None));
    }
    for index in 0..survey.manifests.len() {
        let (raw, platform) = survey.manifests[index].clone();
        if is_index(&raw.media_type) {
            let problem = format!("the index {} lists another index", survey.top.digest);
            return Err(MirrorFailure::Malformed { image: image.to_owned(), problem });
        }
        let manifest = add_blobs(&mut survey.blobs, &raw, image)?;
        let is_image = manifest.config.media_type.ends_with("image.config.v1+json")
            || manifest.config.media_type == "application/vnd.docker.container.image.v1+json";
        if !is_image {
            continue;
        }
        let failed =
            |source| MirrorFailure::Registry { doing: "read the config of", image: image.to_owned(), source };
        let config = repository.blob(&manifest.config, CONFIG_LIMIT).await.map_err(failed)?;
        let Ok(config) = serde_json::from_slice::<ImageConfig>(&config) else { continue };
        let created = config.created.and_then(|created| created.parse::<Timestamp>().ok());
        survey.created = survey.created.max(created);
        if platform.is_none() && survey.top.digest == raw.digest {
            survey.manifests[index].1 = Some(format!("{}/{}", config.os, config.architecture));
        }
    }
    Ok(())
}

fn add_blobs(
    blobs: &mut BTreeMap<Digest, Descriptor>,
    raw: &Raw,
    image: &str,
) -> Result<Manifest, MirrorFailure> {
    let manifest: Manifest =
        serde_json::from_slice(&raw.bytes).map_err(|error| MirrorFailure::Malformed {
            image: image.to_owned(),
            problem: format!("the manifest {}: {error}", raw.digest),
        })?;
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        // Layers that are to be fetched from elsewhere are not the registry's to give.
        if !blob.media_type.contains("foreign") && !blob.media_type.contains("nondistributable") {
            blobs.entry(blob.digest.clone()).or_insert_with(|| blob.clone());
        }
    }
    Ok(manifest)
}

/// Everything about the image and its manifests, by the referrers API (or its fallback tag) and by cosign's tags.
async fn referrers(
    repository: &Repository,
    survey: &Survey,
    image: &str,
) -> Result<Vec<Referrer>, MirrorFailure> {
    let subjects: BTreeSet<&Digest> = survey
        .manifests
        .iter()
        .map(|(raw, _)| raw)
        .chain([&survey.top])
        .chain(&survey.upstream)
        .map(|raw| &raw.digest)
        .collect();
    let failed =
        |source| MirrorFailure::Registry { doing: "read the referrers of", image: image.to_owned(), source };
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for subject in subjects {
        for descriptor in repository.referrers(subject, None).await.map_err(failed)? {
            if known.insert(descriptor.digest.clone()) {
                let raw = read(repository, &descriptor.digest, image).await?;
                let kind = descriptor.artifact_type.unwrap_or(descriptor.media_type);
                found.push(Referrer { raw, kind, tag: None });
            }
        }
        for ending in COSIGN {
            let tag = format!("{}-{}.{ending}", subject.algorithm().name(), subject.hex());
            let Some(descriptor) = repository.head_manifest(&tag).await.map_err(failed)? else { continue };
            let raw = read(repository, &descriptor.digest, image).await?;
            found.push(Referrer { raw, kind: format!("cosign {ending}"), tag: Some(tag) });
        }
    }
    Ok(found)
}

async fn read(repository: &Repository, digest: &Digest, image: &str) -> Result<Raw, MirrorFailure> {
    let failed = |source| MirrorFailure::Registry { doing: "read", image: image.to_owned(), source };
    let raw = repository.manifest(&digest.to_string()).await.map_err(failed)?;
    raw.ok_or_else(|| MirrorFailure::Malformed {
        image: image.to_owned(),
        problem: format!("it names the manifest {digest}, which its registry does not have"),
    })
}

/// Reads a document as an index; the error is a sentence fragment.
fn index_of(raw: &Raw) -> Result<Index, String> {
    serde_json::from_slice(&raw.bytes).map_err(|error| format!("the index {}: {error}", raw.digest))
}
