//! The service network of the node: cluster IPs, node ports and the cluster's names, inside the node's network namespace.
//!
//! The process itself is in that namespace. Cluster IPs are addresses of an interface without a wire; a user-space proxy listens on them.
//! What must be reachable from the host is accepted on the host's side and dialled here.

mod dns;
mod host_ports;
mod interface;
mod proxy;
mod relay;
mod table;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::watcher;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use self::dns::{Server, Sockets, Zone};
use self::host_ports::HostPorts;
pub use self::host_ports::PortMapping;
use self::interface::Interface;
use self::proxy::Proxy;
use self::table::{Table, table};
use crate::controllers::informer::Informer;
use crate::isolation::HostSide;

/// Changes come in bursts; one pass serves them all.
const SETTLE: Duration = Duration::from_millis(10);
/// How soon a port that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Settings of the service network.
#[derive(Clone, Debug)]
pub struct Options {
    /// Cluster IP of the API server, which listens there itself; it only needs the address.
    pub api_server: Ipv4Addr,
    /// Where the name server listens.
    pub dns: SocketAddrV4,
    /// Resolver in the host's network for names outside `cluster.local`; without one they are refused.
    pub resolver: Option<SocketAddr>,
    /// Ports of the host that lead to node ports, whether or not something answers there yet.
    pub port_mappings: Vec<PortMapping>,
    /// Address of the host on which every node port is opened too.
    pub node_ports_on: Option<Ipv4Addr>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            api_server: Ipv4Addr::new(10, 96, 0, 1),
            dns: SocketAddrV4::new(Ipv4Addr::new(10, 96, 0, 10), 53),
            resolver: None,
            port_mappings: Vec::new(),
            node_ports_on: Some(Ipv4Addr::LOCALHOST),
        }
    }
}

impl Options {
    /// Addresses there must be before any Service exists.
    fn fixed_addresses(&self) -> BTreeSet<Ipv4Addr> {
        BTreeSet::from([self.api_server, *self.dns.ip()])
    }
}

/// What keeps the service network from being made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No conversation with the kernel.
    #[error("cannot open a netlink socket")]
    Netlink {
        /// The kernel's refusal.
        source: io::Error,
    },
    /// The interface cannot be made or used.
    #[error(
        "cannot set up the network interface `{name}`\nhint: the process needs CAP_NET_ADMIN in its network namespace"
    )]
    Interface {
        /// Name of the interface.
        name: &'static str,
        /// The kernel's refusal.
        source: rtnetlink::Error,
    },
    /// Somebody removed the interface in between.
    #[error("the network interface `{name}` was made and is gone again")]
    InterfaceVanished {
        /// Name of the interface.
        name: &'static str,
    },
    /// An address cannot be added or removed.
    #[error("cannot change address {address} on the network interface `{name}`")]
    Address {
        /// The address.
        address: Ipv4Addr,
        /// Name of the interface.
        name: &'static str,
        /// The kernel's refusal.
        source: rtnetlink::Error,
    },
    /// The name server has no socket.
    #[error("cannot serve names on {address}")]
    Names {
        /// Where it should listen.
        address: SocketAddrV4,
        /// The kernel's refusal.
        source: io::Error,
    },
}

/// Adds the addresses that must be there before anything listens on them; `run` does so too.
pub async fn prepare(options: &Options) -> Result<(), Error> {
    Interface::open().await?.hold(&options.fixed_addresses()).await
}

/// Serves the service network until `shutdown`.
pub async fn run(
    client: kube::Client,
    host: HostSide,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let mut interface = Interface::open().await?;
    interface.hold(&options.fixed_addresses()).await?;
    let address = options.dns;
    let sockets = Sockets::bind(address).await.map_err(|source| Error::Names { address, source })?;
    let zone = watch::Sender::new(Arc::new(Zone::default()));
    let server = Server { zone: zone.subscribe(), host: host.clone(), resolver: options.resolver };
    let services: Arc<Informer<Service>> =
        Informer::new(Api::all(client.clone()), watcher::Config::default());
    let slices: Arc<Informer<EndpointSlice>> = Informer::new(Api::all(client), watcher::Config::default());
    let changed = Arc::new(Notify::new());
    let notify = changed.clone();
    services.on_change(move |_| notify.notify_one());
    let notify = changed.clone();
    slices.on_change(move |_| notify.notify_one());
    let follow = async {
        tokio::join!(services.synced(), slices.synced());
        let mut network =
            Network { proxy: Proxy::default(), host_ports: HostPorts::new(host), interface, options };
        loop {
            let (all, endpoints) = (services.cache().all(), slices.cache().all());
            zone.send_replace(Arc::new(Zone::of(&all, &endpoints)));
            let complete = network.follow(&table(&all, &endpoints, &[network.options.api_server])).await?;
            if complete {
                changed.notified().await;
            } else {
                let _ = tokio::time::timeout(RETRY, changed.notified()).await;
            }
            tokio::time::sleep(SETTLE).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        () = server.serve(sockets) => Ok(()),
        () = services.clone().run(shutdown.clone()) => Ok(()),
        () = slices.clone().run(shutdown.clone()) => Ok(()),
        outcome = follow => outcome,
    }
}

struct Network {
    interface: Interface,
    proxy: Proxy,
    host_ports: HostPorts,
    options: Options,
}

impl Network {
    /// Makes the network what the table says; whether all of it could be done.
    async fn follow(&mut self, table: &Table) -> Result<bool, Error> {
        let addresses = &table.addresses | &self.options.fixed_addresses();
        self.interface.hold(&addresses).await?;
        let closed = self.proxy.serve(&table.fronts).await;
        for (front, error) in &closed {
            tracing::warn!(address = %front.address, transport = ?front.transport, %error, "cannot listen for a service");
        }
        let on_every_host_port = self.options.node_ports_on.iter().flat_map(|address| {
            let ports = table.node_ports().into_iter();
            ports.map(|node_port| PortMapping { host: SocketAddr::from((*address, node_port)), node_port })
        });
        let wanted = self.options.port_mappings.iter().copied().chain(on_every_host_port).collect();
        let refused = self.host_ports.serve(&wanted).await;
        for (mapping, error) in &refused {
            tracing::warn!(host = %mapping.host, node_port = mapping.node_port, %error, "cannot listen on the host");
        }
        Ok(closed.is_empty() && refused.is_empty())
    }
}
