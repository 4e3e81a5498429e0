//! What a node is told when it starts.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use super::pod::observed::BackOff;
use crate::isolation::HostSide;

/// Settings of a node.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of its Node object.
    pub name: String,
    /// Where pods have their files while they exist; an absolute path.
    pub state_dir: PathBuf,
    /// Where images are kept, an absolute path; several engines may share it.
    pub store_dir: PathBuf,
    /// Registry host → base URL that answers for it.
    pub registry_mirrors: BTreeMap<String, String>,
    /// The network in which registries are.
    pub host: HostSide,
    /// First address of the pod network, the node's own; the prefix is /16.
    pub gateway: Ipv4Addr,
    /// The cluster's name server.
    pub dns: Ipv4Addr,
    /// The domain of the cluster's names.
    pub domain: String,
    /// Where pods find the API server.
    pub api_server: SocketAddrV4,
    /// Delays between restarts, and between pulls that fail.
    pub back_off: BackOff,
    /// Version of Kubernetes the node claims to have.
    pub version: String,
}

impl Options {
    /// Settings that fit the defaults of the service network.
    pub fn new(name: impl Into<String>, state_dir: PathBuf, store_dir: PathBuf, host: HostSide) -> Self {
        Self {
            name: name.into(),
            state_dir,
            store_dir,
            registry_mirrors: BTreeMap::new(),
            host,
            gateway: Ipv4Addr::new(10, 244, 0, 1),
            dns: Ipv4Addr::new(10, 96, 0, 10),
            domain: "cluster.local".to_owned(),
            api_server: SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 1), 443),
            back_off: BackOff::default(),
            version: "v1.33.0".to_owned(),
        }
    }
}
