//! The pod network: a bridge in the node's network namespace and a pair of virtual interfaces for each pod.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};

/// Length of the prefix all pods share.
const PREFIX: u8 = 16;
const BRIDGE: &str = "pods";

/// The network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Opening a netlink socket or a namespace failed.
    #[error("{step}: {source}")]
    Io {
        /// What was attempted.
        step: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The kernel refused a change of its network configuration.
    #[error("{step}: {source}")]
    Netlink {
        /// What was attempted.
        step: &'static str,
        /// The cause.
        source: rtnetlink::Error,
    },
    /// Every address is in use.
    #[error("no free pod address in {0}/16")]
    Exhausted(Ipv4Addr),
}

/// The node's end of the pod network. Clones share it.
#[derive(Clone)]
pub struct PodNetwork {
    shared: Arc<Shared>,
}

struct Shared {
    gateway: Ipv4Addr,
    bridge: u32,
    handle: Handle,
    node: OwnedFd,
    addresses: Mutex<Addresses>,
}

/// The address of a pod; free again when dropped.
pub struct Lease {
    address: Ipv4Addr,
    network: Arc<Shared>,
}

impl Lease {
    /// The pod's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut addresses = self.network.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        addresses.taken.remove(&self.address);
    }
}

impl PodNetwork {
    /// Makes the bridge with address `gateway`/16 in the network namespace of the calling thread. The runtime's threads must
    /// all be in that namespace.
    ///
    /// # Errors
    /// [`NetworkError`] names what the kernel refused.
    pub async fn create(gateway: Ipv4Addr) -> Result<Self, NetworkError> {
        let handle = connect()?;
        // Without an address of its own a bridge takes the lowest one of its ports: it would change as pods come and go, and each
        // pod that remembers the old one would lose the gateway until it asks again, most of a minute later.
        let bridge = LinkBridge::new(BRIDGE).address(hardware_address(gateway)).up().build();
        handle.link().add(bridge).execute().await.map_err(netlink("creating the pod bridge"))?;
        let bridge = index_of(&handle, BRIDGE).await?;
        let address = handle.address().add(bridge, IpAddr::V4(gateway), PREFIX);
        address.execute().await.map_err(netlink("giving the pod bridge its address"))?;
        let node = this_namespace("net")?;
        let addresses = Mutex::new(Addresses::new(gateway));
        Ok(Self { shared: Arc::new(Shared { gateway, bridge, handle, node, addresses }) })
    }

    /// The node's address in the pod network.
    pub fn gateway(&self) -> Ipv4Addr {
        self.shared.gateway
    }

    /// Reserves an address.
    pub fn lease(&self) -> Result<Lease, NetworkError> {
        let mut addresses = self.shared.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let address = addresses.take().ok_or(NetworkError::Exhausted(self.shared.gateway))?;
        Ok(Lease { address, network: Arc::clone(&self.shared) })
    }

    /// Connects the network namespace of the *calling thread* with the bridge. For the thread that makes a pod; `lease` says
    /// under which address.
    pub(super) async fn attach(&self, lease: &Lease) -> Result<(), NetworkError> {
        let inside = connect()?;
        let outer = format!("veth{:08x}", u32::from(lease.address));
        // Made where it belongs: moving an interface to another namespace takes the kernel tens of milliseconds.
        let to_node = LinkUnspec::new_with_name(&outer).setns_by_fd(self.shared.node.as_raw_fd()).build();
        let pair = LinkVeth::new("eth0", &outer)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(to_node)))
            .address(hardware_address(lease.address))
            .up()
            .build();
        inside.link().add(pair).execute().await.map_err(netlink("creating the pod's interface"))?;
        let on_bridge = LinkUnspec::new_with_name(&outer).controller(self.shared.bridge).up().build();
        let set = self.shared.handle.link().set(on_bridge).execute().await;
        set.map_err(netlink("connecting the pod to the bridge"))?;
        let eth0 = index_of(&inside, "eth0").await?;
        let address = inside.address().add(eth0, IpAddr::V4(lease.address), PREFIX);
        address.execute().await.map_err(netlink("giving the pod its address"))?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(self.shared.gateway).build();
        inside.route().add(route).execute().await.map_err(netlink("giving the pod a default route"))
    }
}

/// The hardware address that goes with an address of the pod network: whoever gets the address later has the same, so that nothing
/// anybody remembers is ever wrong. The first two bytes mark it as locally made, as CNI's bridge does.
fn hardware_address(address: Ipv4Addr) -> Vec<u8> {
    [0x0a, 0x58].into_iter().chain(address.octets()).collect()
}

/// A namespace of the calling thread.
pub(super) fn this_namespace(kind: &str) -> Result<OwnedFd, NetworkError> {
    let file = File::open(format!("/proc/thread-self/ns/{kind}"));
    Ok(file.map_err(|source| NetworkError::Io { step: "opening a namespace", source })?.into())
}

fn connect() -> Result<Handle, NetworkError> {
    let (connection, handle, _messages) = rtnetlink::new_connection()
        .map_err(|source| NetworkError::Io { step: "opening a netlink socket", source })?;
    tokio::spawn(connection);
    Ok(handle)
}

async fn index_of(handle: &Handle, name: &str) -> Result<u32, NetworkError> {
    let step = "looking an interface up";
    let found =
        handle.link().get().match_name(name.to_owned()).execute().try_next().await.map_err(netlink(step))?;
    let missing = || NetworkError::Io { step, source: io::Error::from(io::ErrorKind::NotFound) };
    Ok(found.ok_or_else(missing)?.header.index)
}

fn netlink(step: &'static str) -> impl Fn(rtnetlink::Error) -> NetworkError {
    move |source| NetworkError::Netlink { step, source }
}

/// Which addresses are in use. Freed ones are used again as late as possible: neighbours may still remember them.
struct Addresses {
    network: u32,
    last: u32,
    taken: BTreeSet<Ipv4Addr>,
}

impl Addresses {
    fn new(gateway: Ipv4Addr) -> Self {
        let network = u32::from(gateway) & (u32::MAX << (32 - u32::from(PREFIX)));
        Self { network, last: u32::from(gateway) - network, taken: BTreeSet::from([gateway]) }
    }

    fn take(&mut self) -> Option<Ipv4Addr> {
        let hosts = (1_u32 << (32 - u32::from(PREFIX))) - 2;
        for _ in 0..hosts {
            self.last = self.last % hosts + 1;
            let address = Ipv4Addr::from(self.network + self.last);
            if self.taken.insert(address) {
                return Some(address);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_used_again_only_after_all_others() {
        let mut addresses = Addresses::new(Ipv4Addr::new(10, 244, 0, 1));
        let first = addresses.take().unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 244, 0, 2));
        addresses.taken.remove(&first);
        assert_eq!(addresses.take(), Some(Ipv4Addr::new(10, 244, 0, 3)));
        let rest = std::iter::from_fn(|| addresses.take()).count();
        assert_eq!(rest, 65_534 - 2, "all but the gateway and the one in use");
        assert_eq!(addresses.take(), None);
    }
}
