//! The JSON documents of the OCI image specification, as far as this crate writes and reads them.
//!
//! Reading is tolerant of fields not listed here; nothing that was read is ever serialised again: a manifest that came from
//! elsewhere stays the bytes it was, in [`Raw`].

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::platform::Platform;

/// Media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an image config.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a gzip layer.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of a zstd layer.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Media type of a layer that is not packed.
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of Docker's gzip layer, an OCI one by another name.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Media type of Docker's manifest list, an index by another name.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Media type of `{}`, the config of what has none.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Annotation with the name of the image another one is stacked on.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// Annotation with the digest of the manifest another one is stacked on.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// Annotation that names an image inside a layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A manifest or index exactly as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Its media type.
    pub media_type: String,
    /// Digest of `bytes`.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Bytes,
}

impl Raw {
    /// `bytes` with their SHA-256 digest.
    pub fn new(media_type: impl Into<String>, bytes: impl Into<Bytes>) -> Raw {
        let bytes = bytes.into();
        Raw { media_type: media_type.into(), digest: Digest::of(&bytes), bytes }
    }

    /// Writes a document of our own.
    pub fn of(media_type: &str, document: &impl Serialize) -> Result<Raw, serde_json::Error> {
        Ok(Raw::new(media_type, serde_json::to_vec(document)?))
    }

    /// The descriptor that points at it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest.clone(), self.bytes.len() as u64)
    }
}

/// A pointer to content: type, digest and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Type of the content.
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// In an index: what the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<DescriptorPlatform>,
    /// In a referrers list: what kind of artifact it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Free text about the content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A descriptor with the three required fields.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_string(),
            digest,
            size,
            platform: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Whether it is a layer that is to be fetched from elsewhere, and not the registry's to give.
    pub fn is_elsewhere(&self) -> bool {
        self.media_type.contains("foreign") || self.media_type.contains("nondistributable")
    }

    /// Whether it points at an index (OCI or Docker).
    pub fn is_index(&self) -> bool {
        is_index(&self.media_type)
    }
}

/// Whether a media type is that of an index (OCI or Docker).
pub fn is_index(media_type: &str) -> bool {
    media_type == INDEX || media_type == DOCKER_INDEX
}

/// `{}`, the config of what has none.
pub fn empty() -> Raw {
    Raw::new(EMPTY, "{}")
}

/// A manifest for one document about `subject`.
pub fn artifact(kind: &str, content: &Raw, subject: &Descriptor) -> Result<Raw, serde_json::Error> {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_string()),
        artifact_type: Some(kind.to_string()),
        config: empty().descriptor(),
        layers: vec![content.descriptor()],
        subject: Some(Descriptor::new(&subject.media_type, subject.digest.clone(), subject.size)),
        annotations: BTreeMap::new(),
    };
    Raw::of(MANIFEST, &manifest)
}

/// The platform of a descriptor; plain text because others write platforms this crate does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorPlatform {
    /// e.g. `amd64`.
    pub architecture: String,
    /// e.g. `linux`.
    pub os: String,
    /// e.g. `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl From<&Platform> for DescriptorPlatform {
    fn from(platform: &Platform) -> DescriptorPlatform {
        DescriptorPlatform {
            architecture: platform.architecture().to_string(),
            os: platform.os().to_string(),
            variant: platform.variant().map(str::to_string),
        }
    }
}

/// An image index: one manifest per platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u8,
    /// [`INDEX`], where it is written at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact, where the index is one itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// What it lists.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// What it is about, for referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An index of `manifests`.
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: Some(INDEX.to_string()),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// An image manifest: a config and layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u8,
    /// [`MANIFEST`], where it is written at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact, where it is not an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers, bottom first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// What it is about, for referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image config: how to run it, and what its layers unpack to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339 time; fixed by the source, not by the clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// e.g. `amd64`.
    pub architecture: String,
    /// e.g. `linux`.
    pub os: String,
    /// e.g. `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How to run it.
    #[serde(default, deserialize_with = "or_default")]
    pub config: Execution,
    /// What the layers unpack to.
    pub rootfs: Rootfs,
    /// How each layer came to be.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// The `config` part of an image config; its field names are capitalised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Execution {
    /// `uid:gid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `8080/tcp` → `{}`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `NAME=value`.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Program and its fixed arguments.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Default arguments.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Directory the process starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Free text.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// `{}`: the specification's way to write a set in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// The unpacked layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digest of each uncompressed layer, bottom first.
    pub diff_ids: Vec<Digest>,
}

/// How a layer came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339 time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// Docker writes `null` where others leave a field out.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker's classic builder writes it.
    #[test]
    fn what_is_null_in_a_config_is_empty() {
        let text = r#"{"architecture": "amd64", "os": "linux", "history": null,
            "config": {"User": "", "ExposedPorts": null, "Env": null, "Entrypoint": ["/app"], "Cmd": null,
                       "Volumes": null, "OnBuild": null, "Labels": null},
            "rootfs": {"type": "layers", "diff_ids": []}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        let expected = Execution {
            user: Some(String::new()),
            entrypoint: vec!["/app".to_owned()],
            ..Execution::default()
        };
        assert_eq!((config.config, config.history), (expected, Vec::new()));
        let without = r#"{"architecture": "amd64", "os": "linux", "config": null, "rootfs": {"type": "layers", "diff_ids": []}}"#;
        let config: ImageConfig = serde_json::from_str(without).unwrap();
        assert_eq!(config.config, Execution::default());
    }
}
