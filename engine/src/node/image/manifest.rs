//! The documents of an image: index, manifest, configuration, as far as running it needs them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::digest::Digest;

/// Media types asked for, in both families' spelling.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                          application/vnd.docker.distribution.manifest.list.v2+json, \
                          application/vnd.docker.distribution.manifest.v2+json";

/// What an image must have been built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`
    pub os: String,
    /// `amd64`, `arm64`, …
    pub architecture: String,
}

impl Platform {
    /// The platform this engine was built for.
    pub fn native() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned() }
    }
}

/// A blob by digest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its content.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// In an index: what the manifest is for.
    pub platform: Option<DescriptorPlatform>,
}

/// The platform of a manifest in an index.
#[derive(Debug, Clone, Deserialize)]
pub struct DescriptorPlatform {
    /// `linux`
    pub os: String,
    /// `amd64`
    pub architecture: String,
}

/// An index or a manifest: which of the two shows in what is there.
#[derive(Debug, Clone, Deserialize)]
pub struct Document {
    /// Of an index.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// Of a manifest.
    pub config: Option<Descriptor>,
    /// Of a manifest, bottom first.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
}

impl Document {
    /// The manifest of an index for a platform.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        self.manifests.iter().find(|manifest| {
            manifest.platform.as_ref().is_some_and(|candidate| {
                candidate.os == platform.os && candidate.architecture == platform.architecture
            })
        })
    }
}

/// An image's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Configuration {
    /// What its programs were built for.
    #[serde(default)]
    pub architecture: String,
    /// How to run it.
    #[serde(default)]
    pub config: Execution,
    /// Its layers.
    pub rootfs: Option<DiffIds>,
}

/// Digests of the layers, uncompressed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DiffIds {
    /// Bottom first.
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

/// How an image wants to be run; a container may say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Execution {
    /// `uid`, `uid:gid`, `name` or `name:group`
    pub user: Option<String>,
    /// `NAME=value`
    pub env: Option<Vec<String>>,
    /// Program and first arguments.
    pub entrypoint: Option<Vec<String>>,
    /// Further arguments.
    pub cmd: Option<Vec<String>>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// `SIGTERM`, `15`, …
    pub stop_signal: Option<String>,
    /// Paths that expect a volume.
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_gives_the_manifest_of_the_platform() {
        let digest = |digit: char| format!("sha256:{}", digit.to_string().repeat(64));
        let index: Document = serde_json::from_value(serde_json::json!({"manifests": [
            {"digest": digest('a'), "size": 1, "platform": {"os": "linux", "architecture": "arm64"}},
            {"digest": digest('b'), "size": 1, "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": digest('c'), "size": 1, "platform": {"os": "unknown", "architecture": "unknown"}},
        ]}))
        .unwrap();
        let platform =
            |architecture: &str| Platform { os: "linux".into(), architecture: architecture.into() };
        let found =
            |architecture| index.select(&platform(architecture)).map(|manifest| manifest.digest.to_string());
        assert_eq!(found("amd64"), Some(digest('b')));
        assert_eq!(found("riscv64"), None);
    }
}
