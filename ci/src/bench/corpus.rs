//! Images that look like those of real registries and are made from numbers: layers shared by everything, by a repository, by nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use images::Digest;
use images::client::{Client, ClientError, Progress, Repository, Source};
use images::document::{
    CONFIG, Descriptor, DescriptorPlatform, INDEX, Index, LAYER_GZIP, MANIFEST, Manifest, Raw,
};
use serde_json::json;

/// What is generated.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// What it is called.
    pub name: &'static str,
    /// Repositories.
    pub repositories: usize,
    /// Tags of each.
    pub tags: usize,
    /// Architectures of each image.
    pub architectures: Vec<&'static str>,
    /// Bytes of the layer that all images of an architecture share.
    pub shared: usize,
    /// Bytes of the layer that a repository's images of an architecture share.
    pub common: usize,
    /// Layers of each image alone, and the bytes of each.
    pub own: (usize, usize),
    /// Whether each image has a referrer and a signature in cosign's manner.
    pub signed: bool,
}

/// What is in the registry now.
#[derive(Debug, Default)]
pub struct Published {
    /// Repository, tag and index of each image.
    pub images: Vec<(String, String, Raw)>,
    /// Size of every blob, each once.
    pub blobs: BTreeMap<Digest, u64>,
}

impl Published {
    /// Bytes of all blobs, each counted once.
    pub fn bytes(&self) -> u64 {
        self.blobs.values().sum()
    }

    /// The repositories, each once.
    pub fn repositories(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.images.iter().map(|(repository, _, _)| repository.as_str()).collect();
        names.dedup();
        names
    }
}

/// Bytes that look random and are always the same: nothing can compress them.
pub fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// Puts the corpus into a registry.
pub async fn publish(corpus: &Corpus, client: &Client, host: &str) -> Result<Published, ClientError> {
    let mut published = Published::default();
    for number in 0..corpus.repositories {
        let name = format!("library/app{number}");
        let repository = client.repository(host, &name)?;
        for tag in 0..corpus.tags {
            let index = image(corpus, &repository, &mut published, number, tag).await?;
            let tag = format!("v1.{tag}.0");
            repository.put_manifest(&index, &[&tag]).await?;
            if corpus.signed {
                sign(&repository, &mut published, &index).await?;
            }
            published.images.push((name.clone(), tag, index));
        }
    }
    Ok(published)
}

async fn image(
    corpus: &Corpus,
    repository: &Repository,
    published: &mut Published,
    number: usize,
    tag: usize,
) -> Result<Raw, ClientError> {
    let mut listed = Vec::new();
    for (place, architecture) in corpus.architectures.iter().enumerate() {
        let seed = |kind: usize, number: usize, tag: usize, layer: usize| {
            (((place * 10 + kind) * 1000 + number) * 1000 + tag) as u64 * 1000 + layer as u64 + 1
        };
        let mut layers = vec![(corpus.shared, seed(1, 0, 0, 0)), (corpus.common, seed(2, number, 0, 0))];
        let (own, size) = corpus.own;
        layers.extend((0..own).map(|layer| (size, seed(3, number, tag, layer))));
        let mut descriptors = Vec::new();
        for (size, seed) in layers.into_iter().filter(|(size, _)| *size > 0) {
            descriptors.push(blob(repository, published, LAYER_GZIP, noise(size, seed)).await?);
        }
        let config = json!({
            "created": "2026-01-01T00:00:00Z", "os": "linux", "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": []}, "config": {"Labels": {"image": format!("{number}/{tag}")}},
        });
        let config = blob(repository, published, CONFIG, config.to_string().into_bytes()).await?;
        let raw = manifest(config, descriptors, None);
        repository.put_manifest(&raw, &[]).await?;
        let platform = DescriptorPlatform {
            os: "linux".to_owned(),
            architecture: (*architecture).to_owned(),
            variant: None,
        };
        listed.push(Descriptor { platform: Some(platform), ..raw.descriptor() });
    }
    Ok(document(INDEX, &Index::new(listed)))
}

/// An SBOM that refers to the image, and a signature under the tag cosign gives it.
async fn sign(repository: &Repository, published: &mut Published, index: &Raw) -> Result<(), ClientError> {
    let about = format!("about {}", index.digest).into_bytes();
    let content = blob(repository, published, "application/spdx+json", about).await?;
    let sbom = manifest(content.clone(), vec![content.clone()], Some(index.descriptor()));
    repository.put_manifest(&sbom, &[]).await?;
    let signature = manifest(content, Vec::new(), None);
    let tag = format!("sha256-{}.sig", index.digest.hex());
    repository.put_manifest(&signature, &[&tag]).await?;
    Ok(())
}

async fn blob(
    repository: &Repository,
    published: &mut Published,
    media_type: &str,
    bytes: Vec<u8>,
) -> Result<Descriptor, ClientError> {
    let blob = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
    if repository.head_blob(&blob.digest).await?.is_none() {
        let quiet: Progress = Arc::new(|_| {});
        repository.push_blob(&blob, &Source::Bytes(bytes.into()), None, &quiet).await?;
    }
    published.blobs.insert(blob.digest.clone(), blob.size);
    Ok(blob)
}

fn manifest(config: Descriptor, layers: Vec<Descriptor>, subject: Option<Descriptor>) -> Raw {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        artifact_type: subject.as_ref().map(|_| "application/spdx+json".to_owned()),
        config,
        layers,
        subject,
        annotations: BTreeMap::new(),
    };
    document(MANIFEST, &manifest)
}

/// These documents have nothing in them that could not be written.
fn document(media_type: &str, document: &impl serde::Serialize) -> Raw {
    Raw::of(media_type, document).unwrap_or_else(|_| Raw::new(media_type, "{}"))
}
