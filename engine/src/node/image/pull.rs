//! Brings an image from its registry into the store.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::digest::Digest;
use super::manifest::{Configuration, Descriptor, Document, Platform};
use super::reference::Reference;
use super::registry::Registries;
use super::store::Store;
use super::unpack::UnpackError;
use crate::isolation::HostSide;

/// An image that can be run.
#[derive(Debug, Clone)]
pub struct Image {
    /// What the reference meant: the digest of an index or a manifest.
    pub named: Digest,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Its configuration.
    pub configuration: Configuration,
    /// Directories of its layers, topmost first.
    pub layers: Vec<PathBuf>,
}

/// An image could not be brought in.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The HTTP client could not be made.
    #[error("preparing the registry client: {}", chain(source))]
    Client {
        /// The cause.
        source: reqwest::Error,
    },
    /// The registry could not be reached, or the connection broke.
    #[error("fetching {url}: {}", chain(source))]
    Transfer {
        /// What was asked for.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// The registry said no.
    #[error("fetching {url}: the registry answered {status}{}", meaning(*status))]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status code.
        status: u16,
    },
    /// What came is not what was asked for.
    #[error("{what}: expected {expected}, received {received}")]
    Mismatch {
        /// What was asked for.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        received: String,
    },
    /// More than can be meant.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// A manifest, index or configuration is not one.
    #[error("{what} is malformed: {problem}")]
    Malformed {
        /// Which document.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The index has nothing for this node.
    #[error("no match for platform {os}/{architecture} in the index of {image}")]
    Platform {
        /// The image.
        image: String,
        /// The node's.
        os: String,
        /// The node's.
        architecture: String,
    },
    /// A layer cannot be unpacked.
    #[error("layer {digest}: {source}")]
    Layer {
        /// Which one.
        digest: Digest,
        /// The cause.
        source: UnpackError,
    },
    /// The store cannot be written.
    #[error("writing to the image store: {0}")]
    Store(#[from] io::Error),
    /// The engine is going away.
    #[error("the pull was interrupted")]
    Interrupted,
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn meaning(status: u16) -> &'static str {
    match status {
        401 | 403 => " (not authorized)",
        404 => " (not found)",
        429 => " (too many requests)",
        _ => "",
    }
}

/// Pulls images, one at a time.
pub struct Puller {
    registries: Registries,
    store: Arc<Store>,
    platform: Platform,
    /// What this node has by tag; a new node has nothing.
    tags: Mutex<HashMap<Reference, Digest>>,
    turn: tokio::sync::Mutex<()>,
}

impl Puller {
    /// `mirrors`: registry name → base URL that answers for it.
    pub fn new(host: HostSide, mirrors: BTreeMap<String, String>, store: Store, platform: Platform) -> Self {
        let registries = Registries::new(host, mirrors);
        Self {
            registries,
            store: Arc::new(store),
            platform,
            tags: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The image, if nothing has to be fetched for it.
    pub fn present(&self, reference: &Reference) -> Option<Image> {
        let tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = reference.digest.clone().or_else(|| tags.get(reference).cloned())?;
        drop(tags);
        let bytes = self.store.blob(&digest)?;
        let document: Document = serde_json::from_slice(&bytes).ok()?;
        let named = digest.clone();
        let (digest, manifest) = match document.select(&self.platform) {
            Some(selected) => {
                let bytes = self.store.blob(&selected.digest)?;
                (selected.digest.clone(), serde_json::from_slice(&bytes).ok()?)
            }
            None => (digest, document),
        };
        let bytes = self.store.blob(&manifest.config.as_ref()?.digest)?;
        let configuration = serde_json::from_slice(&bytes).ok()?;
        let layers: Vec<Digest> = manifest.layers.into_iter().map(|layer| layer.digest).collect();
        if !layers.iter().all(|layer| self.store.has_layer(layer)) {
            return None;
        }
        Some(Image { named, digest, configuration, layers: self.store.stack(&layers).ok()? })
    }

    /// Fetches whatever of the image is not here yet.
    ///
    /// # Errors
    /// [`PullError`] names what was asked of which address and what came instead. Nothing unverified is kept.
    pub async fn pull(&self, reference: &Reference) -> Result<Image, PullError> {
        let _turn = self.turn.lock().await;
        let (named, document) =
            self.document(reference, reference.version(), reference.digest.as_ref()).await?;
        let (digest, manifest) = self.manifest_for_platform(reference, &named, document).await?;
        let config = manifest.config.as_ref().ok_or_else(|| PullError::Malformed {
            what: format!("manifest {digest} of {reference}"),
            problem: "it has no config".to_owned(),
        })?;
        let configuration = self.configuration(reference, config).await?;
        let diff_ids = configuration.rootfs.clone().unwrap_or_default().diff_ids;
        for (index, layer) in manifest.layers.iter().enumerate() {
            self.layer(reference, layer, diff_ids.get(index)).await?;
        }
        if reference.digest.is_none() {
            let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
            tags.insert(reference.clone(), named.clone());
        }
        let layers: Vec<Digest> = manifest.layers.into_iter().map(|layer| layer.digest).collect();
        let store = Arc::clone(&self.store);
        let layers = blocking(move || Ok(store.stack(&layers)?)).await?;
        Ok(Image { named, digest, configuration, layers })
    }

    async fn document(
        &self,
        reference: &Reference,
        version: String,
        expected: Option<&Digest>,
    ) -> Result<(Digest, Document), PullError> {
        let what = format!("manifest {version} of {reference}");
        let known = expected.and_then(|digest| self.store.blob(digest)).map(Bytes::from);
        let bytes = match known {
            Some(bytes) => bytes,
            None => self.registries.manifest(reference, version).await?,
        };
        let received = Digest::of(&bytes);
        if let Some(expected) = expected.filter(|expected| **expected != received) {
            return Err(mismatch(what, expected, &received));
        }
        let document = parse(&what, &bytes)?;
        self.store.put_blob(&bytes)?;
        Ok((received, document))
    }

    async fn manifest_for_platform(
        &self,
        reference: &Reference,
        digest: &Digest,
        document: Document,
    ) -> Result<(Digest, Document), PullError> {
        if document.manifests.is_empty() {
            return Ok((digest.clone(), document));
        }
        let Platform { os, architecture } = self.platform.clone();
        let none = || PullError::Platform { image: reference.to_string(), os, architecture };
        let selected = document.select(&self.platform).ok_or_else(none)?.digest.clone();
        self.document(reference, selected.to_string(), Some(&selected)).await
    }

    async fn configuration(
        &self,
        reference: &Reference,
        config: &Descriptor,
    ) -> Result<Configuration, PullError> {
        const LIMIT: u64 = 4 << 20;
        let what = format!("configuration {} of {reference}", config.digest);
        if config.size > LIMIT {
            return Err(PullError::TooLarge { what, limit: LIMIT });
        }
        if let Some(bytes) = self.store.blob(&config.digest) {
            return parse(&what, &bytes);
        }
        let mut chunks = self.registries.blob(reference, &config.digest)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() as u64 > config.size {
                break;
            }
        }
        let received = Digest::of(&bytes);
        if received != config.digest {
            return Err(mismatch(what, &config.digest, &received));
        }
        let configuration = parse(&what, &bytes)?;
        self.store.put_blob(&bytes)?;
        Ok(configuration)
    }

    async fn layer(
        &self,
        reference: &Reference,
        layer: &Descriptor,
        diff_id: Option<&String>,
    ) -> Result<(), PullError> {
        if self.store.has_layer(&layer.digest) {
            return Ok(());
        }
        let chunks = self.registries.blob(reference, &layer.digest)?;
        let (store, layer, diff_id) = (Arc::clone(&self.store), layer.clone(), diff_id.cloned());
        blocking(move || receive_layer(&store, &layer, diff_id.as_deref(), chunks)).await
    }
}

/// Writes, checks and unpacks a layer as it arrives.
fn receive_layer(
    store: &Store,
    layer: &Descriptor,
    diff_id: Option<&str>,
    mut chunks: mpsc::Receiver<Result<Bytes, PullError>>,
) -> Result<(), PullError> {
    let what = || format!("layer {}", layer.digest);
    let mut incoming = store.receive()?;
    while let Some(chunk) = chunks.blocking_recv() {
        incoming.write(&chunk?)?;
        if incoming.size() > layer.size {
            return Err(PullError::TooLarge { what: what(), limit: layer.size });
        }
    }
    if incoming.size() != layer.size {
        let (expected, received) = (format!("{} bytes", layer.size), format!("{} bytes", incoming.size()));
        return Err(PullError::Mismatch { what: what(), expected, received });
    }
    let received = incoming.digest();
    if received != layer.digest {
        return Err(mismatch(what(), &layer.digest, &received));
    }
    let unpacked = incoming.unpack();
    let unpacked = unpacked.map_err(|source| PullError::Layer { digest: layer.digest.clone(), source })?;
    let uncompressed = unpacked.uncompressed.to_string();
    match diff_id {
        Some(expected) if expected != uncompressed => {
            let what = format!("layer {} uncompressed", layer.digest);
            Err(PullError::Mismatch { what, expected: expected.to_owned(), received: uncompressed })
        }
        _ => Ok(store.install(&unpacked, &layer.digest)?),
    }
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, PullError> {
    serde_json::from_slice(bytes)
        .map_err(|error| PullError::Malformed { what: what.to_owned(), problem: error.to_string() })
}

fn mismatch(what: String, expected: &Digest, received: &Digest) -> PullError {
    PullError::Mismatch { what, expected: expected.to_string(), received: received.to_string() }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PullError> + Send + 'static,
) -> Result<T, PullError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| PullError::Interrupted)?
}
