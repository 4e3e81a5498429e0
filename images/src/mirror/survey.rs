//! One image of the source in full: its manifests, its blobs, what refers to it, and what its rule objects to.
//!
//! Only manifests and configs are read here; layers move later, when every image of the run is known.

mod companions;
mod objection;
mod trim;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::Timestamp;

use super::declaration::{self, Rule};
use super::error::{MirrorFailure, failed, name};
use crate::client::{Client, Progress, Repository};
use crate::digest::Digest;
use crate::document::{Descriptor, ImageConfig, Index, Manifest, Raw, is_index};
use crate::layout::Layout;
use crate::platform::Platform;
pub(super) use companions::Companions;
pub use objection::Objection;
use trim::Trimmed;
pub(super) use trim::platform_name;

/// Documents of one image read side by side.
const SIDE_BY_SIDE: usize = 8;
/// A config is a small document.
const CONFIG_LIMIT: u64 = 8 << 20;

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
    /// Configs that were fetched to read them, and are in the cache now: how many, and their bytes.
    pub fetched: (usize, u64),
    /// Manifests that were read for it; what registries count.
    pub reads: u32,
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

impl Survey {
    /// Bytes of all its blobs and documents.
    pub fn size(&self) -> u64 {
        let below = self.manifests.iter().map(|(raw, _)| raw).filter(|raw| raw.digest != self.top.digest);
        let documents = below.chain([&self.top]);
        self.blobs.values().map(|blob| blob.size).sum::<u64>()
            + documents.map(|raw| raw.bytes.len() as u64).sum::<u64>()
    }

    /// Digest of the manifest of each platform.
    pub fn platforms(&self) -> BTreeMap<String, Digest> {
        let named =
            self.manifests.iter().filter_map(|(raw, platform)| Some((platform.clone()?, raw.digest.clone())));
        named.collect()
    }

    /// Every platform at the source, those that are left out as well.
    fn offered(&self) -> Vec<String> {
        let original =
            self.upstream.as_ref().and_then(|raw| serde_json::from_slice::<Index>(&raw.bytes).ok());
        let Some(original) = original else { return self.platforms().into_keys().collect() };
        let named = original.manifests.iter().filter_map(|child| child.platform.as_ref()).map(platform_name);
        named.filter(|name| name != "unknown/unknown").collect()
    }

    /// What the rule has against it. Pure.
    pub fn objections(&self, rule: &Rule, now: Timestamp) -> Vec<Objection> {
        let mut objections = Vec::new();
        let kept = self.platforms();
        let wanted = rule.platforms.iter().map(ToString::to_string);
        let missing: Vec<String> = wanted.filter(|platform| !kept.contains_key(platform)).collect();
        if !missing.is_empty() {
            objections.push(Objection::Platforms { missing, has: self.offered() });
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

/// An image and the manifests below it.
pub(super) struct Children {
    pub repository: Repository,
    /// As it will be at the destination.
    pub top: Raw,
    /// As it is at the source, when platforms are left out.
    pub upstream: Option<Raw>,
    /// Those below it, each with its platform; the image itself when it is no index.
    pub manifests: Vec<(Raw, Option<String>)>,
}

impl Children {
    /// The blobs its manifests name. What cannot be read is complained about when the rest is.
    pub fn blobs(&self) -> BTreeSet<Digest> {
        let readable = self.manifests.iter().filter_map(|(raw, _)| serde_json::from_slice(&raw.bytes).ok());
        readable.flat_map(|manifest: Manifest| blobs_of(&manifest)).map(|blob| blob.digest).collect()
    }
}

/// Reads an image's manifests, by its digest.
pub(super) async fn children(
    client: &Client,
    place: &declaration::Repository,
    platforms: &[Platform],
    tag: &str,
    digest: &Digest,
) -> Result<Children, MirrorFailure> {
    let image = name(place, tag);
    let repository = client.repository(&place.registry, &place.name).map_err(failed("read", place, tag))?;
    let top = repository.manifest(&digest.to_string()).await.map_err(failed("read", place, tag))?;
    let top = top.ok_or_else(|| MirrorFailure::Moved { image: image.clone() })?;
    let malformed = |problem: String| MirrorFailure::Malformed { image: image.clone(), problem };

    let (top, upstream, children) = if is_index(&top.media_type) {
        let Trimmed { kept, index } = trim::trim(&top, platforms).map_err(malformed)?;
        match index {
            Some(trimmed) => (trimmed, Some(top), kept),
            None => (top, None, kept),
        }
    } else {
        (top, None, Vec::new())
    };
    let mut manifests: Vec<(Raw, Option<String>)> = stream::iter(children)
        .map(async |child| {
            let platform =
                child.platform.as_ref().map(platform_name).filter(|name| name != "unknown/unknown");
            Ok::<_, MirrorFailure>((read(&repository, &child.digest, &image).await?, platform))
        })
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    if !is_index(&top.media_type) {
        manifests.push((top.clone(), None));
    }
    Ok(Children { repository, top, upstream, manifests })
}

/// Where an image is surveyed, and how much of it is wanted.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub client: &'a Client,
    pub place: &'a declaration::Repository,
    /// Others are left out; empty means all.
    pub platforms: &'a [Platform],
    /// Where configs are kept, so that they cross the network once.
    pub cache: &'a Layout,
    /// What finds signatures and SBOMs, where they are wanted.
    pub companions: Option<&'a Companions>,
    /// What they can be about besides: the original of an image that was shortened before.
    pub original: Option<&'a Digest>,
}

/// Reads an image by its digest.
pub(super) async fn survey(sight: Sight<'_>, tag: &str, digest: &Digest) -> Result<Survey, MirrorFailure> {
    let Sight { client, place, platforms, .. } = sight;
    survey_children(sight, tag, children(client, place, platforms, tag, digest).await?).await
}

/// Reads the rest of an image whose manifests are known.
pub(super) async fn survey_children(
    sight: Sight<'_>,
    tag: &str,
    children: Children,
) -> Result<Survey, MirrorFailure> {
    let Sight { client: _, place, platforms: _, cache, companions, original } = sight;
    let image = name(place, tag);
    let Children { repository, top, upstream, manifests } = children;
    let mut survey = Survey {
        top,
        upstream,
        manifests,
        referrers: Vec::new(),
        blobs: BTreeMap::new(),
        created: None,
        fetched: (0, 0),
        reads: 0,
    };
    let configs = survey.add_manifests(&image)?;
    let subjects = survey.subjects(original);
    let (configs, (referrers, reads)) =
        tokio::try_join!(read_configs(&repository, cache, &configs, &image), async {
            match companions {
                Some(companions) => companions.of(&subjects, &image).await,
                None => Ok((Vec::new(), 0)),
            }
        })?;
    let below = survey.manifests.iter().filter(|(raw, _)| raw.digest != survey.top.digest).count();
    survey.reads = u32::try_from(1 + below + reads).unwrap_or(u32::MAX);
    survey.add_configs(configs);
    for referrer in &referrers {
        add_blobs(&mut survey.blobs, &referrer.raw, &image)?;
    }
    survey.referrers = referrers;
    Ok(survey)
}

impl Survey {
    /// Takes in the blobs of its manifests; gives the configs of those that are images, with the manifest each belongs to.
    fn add_manifests(&mut self, image: &str) -> Result<Vec<(usize, Descriptor)>, MirrorFailure> {
        let mut configs = Vec::new();
        for (index, (raw, _)) in self.manifests.iter().enumerate() {
            if is_index(&raw.media_type) {
                let problem = format!("the index {} lists another index", self.top.digest);
                return Err(MirrorFailure::Malformed { image: image.to_owned(), problem });
            }
            let config = add_blobs(&mut self.blobs, raw, image)?.config;
            let is_image = config.media_type.ends_with("image.config.v1+json")
                || config.media_type == "application/vnd.docker.container.image.v1+json";
            if is_image {
                configs.push((index, config));
            }
        }
        Ok(configs)
    }

    /// When it was made, and the platform of an image without an index.
    fn add_configs(&mut self, configs: Vec<(usize, Option<ImageConfig>, u64)>) {
        for (index, config, fetched) in configs {
            self.fetched.0 += usize::from(fetched > 0);
            self.fetched.1 += fetched;
            let Some(config) = config else { continue };
            let created = config.created.and_then(|created| created.parse::<Timestamp>().ok());
            self.created = self.created.max(created);
            let (raw, platform) = &mut self.manifests[index];
            if platform.is_none() && raw.digest == self.top.digest {
                *platform = Some(format!("{}/{}", config.os, config.architecture));
            }
        }
    }

    /// Everything a signature or an SBOM can be about, the image itself first.
    fn subjects(&self, original: Option<&Digest>) -> Vec<Digest> {
        let mut subjects = vec![self.top.digest.clone()];
        let below = self.manifests.iter().map(|(raw, _)| &raw.digest);
        for digest in self.upstream.iter().map(|raw| &raw.digest).chain(original).chain(below) {
            if !subjects.contains(digest) {
                subjects.push(digest.clone());
            }
        }
        subjects
    }
}

/// Reads configs into the cache; gives what each says, unless it is unreadable, and the bytes that came for it.
async fn read_configs(
    repository: &Repository,
    cache: &Layout,
    configs: &[(usize, Descriptor)],
    image: &str,
) -> Result<Vec<(usize, Option<ImageConfig>, u64)>, MirrorFailure> {
    let failed =
        |source| MirrorFailure::Registry { doing: "read the config of", image: image.to_owned(), source };
    stream::iter(configs)
        .map(async |(index, config)| {
            if config.size > CONFIG_LIMIT {
                let problem = format!("the config {} has {} bytes", config.digest, config.size);
                return Err(MirrorFailure::Malformed { image: image.to_owned(), problem });
            }
            let quiet: Progress = Arc::new(|_| {});
            let fetched = repository.fetch_blob(config, cache, &quiet).await.map_err(failed)?;
            let raw = cache.read(config)?;
            Ok((*index, serde_json::from_slice(&raw.bytes).ok(), fetched))
        })
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await
}

pub(super) fn add_blobs(
    blobs: &mut BTreeMap<Digest, Descriptor>,
    raw: &Raw,
    image: &str,
) -> Result<Manifest, MirrorFailure> {
    let manifest: Manifest =
        serde_json::from_slice(&raw.bytes).map_err(|error| MirrorFailure::Malformed {
            image: image.to_owned(),
            problem: format!("the manifest {}: {error}", raw.digest),
        })?;
    for blob in blobs_of(&manifest) {
        blobs.entry(blob.digest.clone()).or_insert(blob);
    }
    Ok(manifest)
}

/// Config and layers, those that are in a registry.
fn blobs_of(manifest: &Manifest) -> Vec<Descriptor> {
    let all = manifest.layers.iter().chain([&manifest.config]);
    all.filter(|blob| !blob.is_elsewhere()).cloned().collect()
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
