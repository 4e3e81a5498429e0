//! Things to push.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use images::client::{Client, Options, Progress};
use images::document::{CONFIG, Descriptor, INDEX, Index, LAYER_GZIP, MANIFEST, Manifest, Raw};
use images::{BuiltImage, Digest, Layout};

/// Bytes that look random and are always the same.
pub fn noise(size: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend(next());
    }
    bytes.truncate(size);
    bytes.into()
}

pub fn blob(bytes: &Bytes) -> Descriptor {
    Descriptor::new("application/octet-stream", Digest::of(bytes), bytes.len() as u64)
}

/// A manifest of a config and layers that need not exist.
pub fn manifest(config: &Descriptor, layers: &[Descriptor], subject: Option<Descriptor>) -> Raw {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_string()),
        artifact_type: None,
        config: config.clone(),
        layers: layers.to_vec(),
        subject,
        annotations: Default::default(),
    };
    Raw::of(MANIFEST, &manifest).unwrap()
}

/// An image of these layers in a layout, as `build` would have left it.
pub fn image(layout: &Layout, name: &str, layers: &[&Bytes]) -> BuiltImage {
    let store = |bytes: &[u8], media_type: &str| {
        let mut staged = layout.stage().unwrap();
        staged.write_all(bytes).unwrap();
        let (digest, size) = layout.commit(staged).unwrap();
        Descriptor::new(media_type, digest, size)
    };
    let config = store(format!("{{\"name\":\"{name}\"}}").as_bytes(), CONFIG);
    let layers: Vec<Descriptor> = layers.iter().map(|layer| store(layer, LAYER_GZIP)).collect();
    let manifest = manifest(&config, &layers, None);
    layout.put(&manifest).unwrap();
    let index = Raw::of(INDEX, &Index::new(vec![manifest.descriptor()])).unwrap();
    layout.put(&index).unwrap();
    BuiltImage {
        name: name.to_string(),
        index: index.descriptor(),
        manifests: Vec::new(),
        proof: Vec::new(),
        attestations: Vec::new(),
        cached: false,
        seconds: 0.0,
    }
}

/// A client that does not wait long.
pub fn client() -> Client {
    client_with(Options::default())
}

pub fn client_with(options: Options) -> Client {
    Client::new(Options { pause: Duration::from_millis(2), ..options })
}

/// Nobody is told.
pub fn quiet() -> Progress {
    Arc::new(|_| ())
}

pub fn layout(dir: &Path) -> Layout {
    Layout::open(dir.join("layout")).unwrap()
}
