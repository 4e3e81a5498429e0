//! What is missing where: one HEAD per image when nothing changed, more only below what is missing.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;

use super::{Destination, PushError, failed};
use crate::build::BuiltImage;
use crate::client::Client;
use crate::digest::Digest;
use crate::document::{BASE_NAME, Descriptor, Index, Manifest};
use crate::layout::Layout;
use crate::reference::Reference;

/// Questions asked side by side.
const SIDE_BY_SIDE: usize = 8;

/// Everything a push will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PushPlan {
    /// What moves, largest first.
    pub blobs: Vec<BlobPlan>,
    /// What is written, in the order of the images.
    pub images: Vec<ImagePlan>,
}

/// A blob that some repositories lack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlobPlan {
    /// The blob.
    pub descriptor: Descriptor,
    /// A repository that has it, so that it can be mounted.
    pub present_in: Option<String>,
    /// Repositories that lack it.
    pub missing_in: Vec<String>,
}

/// What an image lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImagePlan {
    /// Its name.
    pub image: String,
    /// Its repository.
    pub repository: String,
    /// Its index.
    pub index: Descriptor,
    /// Manifests to write, before the index.
    pub manifests: Vec<Descriptor>,
    /// The index itself is missing.
    pub write_index: bool,
    /// Documents about the image to write.
    pub attestations: Vec<Descriptor>,
    /// Tags that point elsewhere or nowhere.
    pub tags: Vec<String>,
}

impl ImagePlan {
    /// Whether everything is there.
    pub fn is_done(&self) -> bool {
        self.manifests.is_empty() && self.attestations.is_empty() && !self.write_index && self.tags.is_empty()
    }
}

/// One image and the blobs asked about.
struct Asked {
    plan: ImagePlan,
    /// Blobs below its missing manifests → whether the repository has them.
    blobs: BTreeMap<Digest, (Descriptor, bool)>,
    /// Blobs the repository lacks → that of the base, which has them.
    of_base: BTreeMap<Digest, String>,
}

pub(super) async fn plan(
    layout: &Layout,
    images: &[BuiltImage],
    destination: &Destination,
    client: &Client,
) -> Result<PushPlan, PushError> {
    let asked: Vec<Asked> = stream::iter(images)
        .map(|image| ask(layout, image, destination, client))
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    Ok(combine(asked))
}

async fn ask(
    layout: &Layout,
    image: &BuiltImage,
    destination: &Destination,
    client: &Client,
) -> Result<Asked, PushError> {
    let name = destination.repository(&image.name);
    let repository = client.repository(&destination.registry, &name).map_err(failed(&image.name))?;
    let head = async |version: &str| {
        let found = repository.head_manifest(version).await.map_err(failed(&image.name))?;
        Ok::<_, PushError>(found.map(|descriptor| descriptor.digest))
    };
    let mut plan = ImagePlan {
        image: image.name.clone(),
        repository: name.clone(),
        index: image.index.clone(),
        manifests: Vec::new(),
        write_index: false,
        attestations: Vec::new(),
        tags: Vec::new(),
    };
    let mut blobs = BTreeMap::new();
    let mut bases = BTreeSet::new();
    let mut want = |manifest: &Descriptor| {
        let Manifest { config, layers, annotations, .. } = layout.document(manifest)?;
        bases.extend(neighbour(&annotations, destination));
        for blob in layers.into_iter().chain([config]) {
            blobs.entry(blob.digest.clone()).or_insert((blob, false));
        }
        Ok::<_, PushError>(())
    };
    for attestation in &image.attestations {
        if head(&attestation.digest.to_string()).await?.is_none() {
            want(attestation)?;
            plan.attestations.push(attestation.clone());
        }
    }
    for tag in &destination.tags {
        if head(tag).await?.as_ref() != Some(&image.index.digest) {
            plan.tags.push(tag.clone());
        }
    }
    // A tag that points at the index proves that it is there.
    let is_known = plan.tags.len() < destination.tags.len();
    if !is_known && head(&image.index.digest.to_string()).await?.is_none() {
        plan.write_index = true;
        for manifest in layout.document::<Index>(&image.index)?.manifests {
            if head(&manifest.digest.to_string()).await?.is_none() {
                want(&manifest)?;
                plan.manifests.push(manifest);
            }
        }
    }
    let questions = blobs.keys().cloned().collect::<Vec<_>>();
    let answers: Vec<(Digest, bool)> = stream::iter(questions)
        .map(|digest| async {
            let found = repository.head_blob(&digest).await.map_err(failed(&image.name))?;
            Ok::<_, PushError>((digest, found.is_some()))
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    for (digest, present) in answers {
        if let Some((_, there)) = blobs.get_mut(&digest) {
            *there = present;
        }
    }
    let mut of_base = BTreeMap::new();
    for base in bases {
        let neighbour = client.repository(&destination.registry, &base).map_err(failed(&image.name))?;
        for (digest, (_, there)) in &blobs {
            // Somebody who may push here need not be allowed to look there; then the blob is sent.
            if !there && matches!(neighbour.head_blob(digest).await, Ok(Some(_))) {
                of_base.insert(digest.clone(), base.clone());
            }
        }
    }
    Ok(Asked { plan, blobs, of_base })
}

/// The repository of an image's base, if it is in the registry the image goes to.
fn neighbour(annotations: &BTreeMap<String, String>, destination: &Destination) -> Option<String> {
    let base: Reference = annotations.get(BASE_NAME)?.parse().ok()?;
    (base.registry == destination.registry).then_some(base.repository)
}

/// One list of blobs out of those of all images. Pure.
fn combine(asked: Vec<Asked>) -> PushPlan {
    let mut blobs: BTreeMap<Digest, BlobPlan> = BTreeMap::new();
    let mut images = Vec::new();
    let mut missing: BTreeSet<(Digest, String)> = BTreeSet::new();
    for Asked { plan, blobs: wanted, of_base } in asked {
        for (digest, (descriptor, present)) in wanted {
            let blob = blobs.entry(digest.clone()).or_insert(BlobPlan {
                descriptor,
                present_in: None,
                missing_in: Vec::new(),
            });
            if let Some(base) = of_base.get(&digest) {
                blob.present_in.get_or_insert(base.clone());
            }
            if present {
                blob.present_in.get_or_insert(plan.repository.clone());
            } else if missing.insert((digest, plan.repository.clone())) {
                blob.missing_in.push(plan.repository.clone());
            }
        }
        images.push(plan);
    }
    let mut blobs: Vec<BlobPlan> = blobs.into_values().filter(|blob| !blob.missing_in.is_empty()).collect();
    blobs.sort_by_key(|blob| std::cmp::Reverse(blob.descriptor.size));
    PushPlan { blobs, images }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::INDEX;

    fn asked(repository: &str, blobs: &[(&str, u64, bool)]) -> Asked {
        let index = Descriptor::new(INDEX, Digest::of(repository.as_bytes()), 1);
        let plan = ImagePlan {
            image: repository.to_string(),
            repository: repository.to_string(),
            index,
            manifests: Vec::new(),
            write_index: true,
            attestations: Vec::new(),
            tags: Vec::new(),
        };
        let blob = |(content, size, present): &(&str, u64, bool)| {
            let digest = Digest::of(content.as_bytes());
            (digest.clone(), (Descriptor::new("layer", digest, *size), *present))
        };
        Asked { plan, blobs: blobs.iter().map(blob).collect(), of_base: BTreeMap::new() }
    }

    #[test]
    fn each_blob_is_planned_once_and_the_largest_first() {
        let plan = combine(vec![
            asked("a", &[("shared", 10, false), ("own", 5, false)]),
            asked("b", &[("shared", 10, false), ("large", 99, false)]),
        ]);
        let summary = |blob: &BlobPlan| (blob.descriptor.size, blob.missing_in.join(" "));
        let expected = [(99, "b".to_string()), (10, "a b".to_string()), (5, "a".to_string())];
        assert_eq!(plan.blobs.iter().map(summary).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_one_repository_has_is_mounted_into_the_other() {
        let plan = combine(vec![asked("a", &[("shared", 10, true)]), asked("b", &[("shared", 10, false)])]);
        assert_eq!(plan.blobs.len(), 1);
        assert_eq!(plan.blobs[0].present_in.as_deref(), Some("a"));
        assert_eq!(plan.blobs[0].missing_in, ["b"]);
    }

    #[test]
    fn what_is_everywhere_does_not_move() {
        let plan = combine(vec![asked("a", &[("shared", 10, true)]), asked("b", &[("shared", 10, true)])]);
        assert_eq!(plan.blobs, []);
    }
}
