//! The declaration: kind's own configuration format, `kind.x-k8s.io/v1alpha4`, read strictly.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mistake::Mistake;
use serde::Deserialize;

const API_VERSION: &str = "kind.x-k8s.io/v1alpha4";
const KIND: &str = "Cluster";
const DEFAULT_NAME: &str = "kind";

/// `text` with every whole `reference` replaced: `a/b:1` is not a part of `a/b:10`.
fn replaced(text: &str, reference: &str, by: &str) -> String {
    let continues = |c: char| c.is_ascii_alphanumeric() || "._-:@/".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(reference) {
        let is_whole = !before.ends_with(continues) && !after.starts_with(continues);
        out.push_str(before);
        out.push_str(if is_whole { by } else { reference });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A cluster as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// The file it was read from.
    pub file: PathBuf,
    /// The text, which kind itself reads.
    pub text: String,
    /// The cluster's name.
    pub name: String,
    /// Its nodes; one control plane when none is declared.
    pub nodes: Vec<Node>,
    /// Addresses and ports.
    pub networking: Networking,
    /// TOML merged into containerd's configuration.
    pub containerd_config_patches: Vec<String>,
    /// YAML merged into kubeadm's configuration.
    pub kubeadm_config_patches: Vec<String>,
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the API server, and pods too when it is the only node.
    #[default]
    ControlPlane,
    /// Runs pods.
    Worker,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Node {
    /// What it is for.
    pub role: Role,
    /// Its image, to be pinned by digest.
    pub image: Option<String>,
    /// Ports of the host that lead to ports of the node.
    pub extra_port_mappings: Vec<PortMapping>,
    /// Folders of the host the node sees.
    pub extra_mounts: Vec<Mount>,
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
    /// YAML merged into this node's kubeadm configuration.
    pub kubeadm_config_patches: Vec<String>,
}

/// A port of the host that leads to a port of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PortMapping {
    /// Port of the node, usually a NodePort.
    pub container_port: u16,
    /// Port of the host; 0 lets the system choose.
    #[serde(default)]
    pub host_port: u16,
    /// Address of the host; loopback when not said, unlike kind, which listens everywhere.
    #[serde(default = "loopback")]
    pub listen_address: String,
    /// TCP, UDP or SCTP.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Transport of a port mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    #[serde(alias = "tcp")]
    Tcp,
    /// UDP.
    #[serde(alias = "udp")]
    Udp,
    /// SCTP.
    #[serde(alias = "sctp")]
    Sctp,
}

/// A folder of the host the node sees.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Mount {
    /// Where it is on the host.
    pub host_path: PathBuf,
    /// Where the node sees it.
    pub container_path: PathBuf,
    /// Whether the node may only read it.
    #[serde(default)]
    pub read_only: bool,
}

/// Addresses and ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Networking {
    /// Address of the API server on the host.
    pub api_server_address: Option<String>,
    /// Port of the API server on the host; 0 lets the system choose.
    pub api_server_port: Option<u16>,
    /// Addresses of pods.
    pub pod_subnet: Option<String>,
    /// Addresses of services.
    pub service_subnet: Option<String>,
    /// Whether kind leaves the network of pods to somebody else.
    #[serde(rename = "disableDefaultCNI")]
    pub disable_default_cni: bool,
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    kind: String,
    api_version: String,
    name: Option<String>,
    #[serde(default)]
    nodes: Vec<Node>,
    #[serde(default)]
    networking: Networking,
    #[serde(default)]
    containerd_config_patches: Vec<String>,
    #[serde(default)]
    kubeadm_config_patches: Vec<String>,
}

/// Why the declaration could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file could not be read.
    #[error("read `{}`: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{0}")]
    Mistake(Box<Mistake>),
}

/// What the reader found; it calls a port by its type.
fn complaint(file: &Path, text: &str, error: &serde_saphyr::Error) -> Mistake {
    let mut mistake = Mistake::from_yaml(file, text, error);
    if mistake.message == "invalid u16" {
        mistake.message = "this is not a port (0 to 65535)".to_owned();
    }
    mistake
}

fn loopback() -> String {
    "127.0.0.1".to_owned()
}

impl ClusterSpec {
    /// The same cluster with other node images, as written → as pulled.
    pub fn with_images(&self, images: &BTreeMap<String, String>) -> ClusterSpec {
        let mut spec = self.clone();
        for image in spec.nodes.iter_mut().filter_map(|node| node.image.as_mut()) {
            if let Some(pulled) = images.get(image) {
                *image = pulled.clone();
            }
        }
        for (written, pulled) in images {
            spec.text = replaced(&spec.text, written, pulled);
        }
        spec
    }

    /// Reads a declaration.
    pub fn load(file: &Path) -> Result<ClusterSpec, SpecError> {
        let text = fs::read_to_string(file)
            .map_err(|source| SpecError::Read { file: file.to_path_buf(), source })?;
        ClusterSpec::parse(file, &text).map_err(|mistake| SpecError::Mistake(Box::new(mistake)))
    }

    /// Reads a declaration's text; `file` is only used in messages.
    pub fn parse(file: &Path, text: &str) -> Result<ClusterSpec, Mistake> {
        let parsed: File = serde_saphyr::from_str(text).map_err(|error| complaint(file, text, &error))?;
        let File {
            kind,
            api_version,
            name,
            mut nodes,
            networking,
            containerd_config_patches,
            kubeadm_config_patches,
        } = parsed;
        for (field, written, expected) in [("kind", &kind, KIND), ("apiVersion", &api_version, API_VERSION)] {
            if written != expected {
                let line = 1 + text.lines().position(|line| line.starts_with(field)).unwrap_or(0);
                let message = format!("`{field}` is `{written}`, which is not a kind configuration");
                return Err(Mistake::at(file, text, line, 1, field.len(), message)
                    .hint(format!("write `{field}: {expected}`")));
            }
        }
        if nodes.is_empty() {
            nodes.push(Node::default());
        }
        let name = name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let (file, text) = (file.to_path_buf(), text.to_owned());
        Ok(ClusterSpec {
            file,
            text,
            name,
            nodes,
            networking,
            containerd_config_patches,
            kubeadm_config_patches,
        })
    }

    /// Every port mapping of every node.
    pub fn port_mappings(&self) -> impl Iterator<Item = &PortMapping> {
        self.nodes.iter().flat_map(|node| &node.extra_port_mappings)
    }

    /// What the embedded engine cannot honour, each as a line that names the field.
    pub fn ignored_by_embedded(&self) -> Vec<String> {
        let ClusterSpec {
            file: _,
            text: _,
            name: _,
            nodes,
            networking,
            containerd_config_patches,
            kubeadm_config_patches,
        } = self;
        let mut ignored = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            if number > 0 {
                ignored.push(format!("nodes[{number}]: the embedded engine has one node"));
                continue;
            }
            if node.image.is_some() {
                ignored.push(format!("nodes[{number}].image: the embedded engine has no node image"));
            }
            if !node.extra_mounts.is_empty() {
                ignored
                    .push(format!("nodes[{number}].extraMounts: its node sees the host's files as they are"));
            }
            if !node.kubeadm_config_patches.is_empty() {
                ignored.push(format!(
                    "nodes[{number}].kubeadmConfigPatches: the embedded engine has no kubeadm"
                ));
            }
        }
        if !containerd_config_patches.is_empty() {
            ignored.push("containerdConfigPatches: the embedded engine has no containerd".to_owned());
        }
        if !kubeadm_config_patches.is_empty() {
            ignored.push("kubeadmConfigPatches: the embedded engine has no kubeadm".to_owned());
        }
        if networking.pod_subnet.is_some() || networking.service_subnet.is_some() {
            ignored.push(
                "networking: the embedded engine's subnets are 10.244.0.0/16 and 10.96.0.0/16".to_owned(),
            );
        }
        ignored
    }
}

#[cfg(test)]
mod tests;
