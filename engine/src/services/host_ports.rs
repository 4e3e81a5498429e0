//! Ports on the host's loopback that lead to node ports: accepted in the host's network, dialled in the node's.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::relay::relay;
use crate::isolation::HostSide;

/// A host address that leads to a node port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortMapping {
    /// Where the host listens.
    pub host: SocketAddr,
    /// Port in the node's network.
    pub node_port: u16,
}

/// The open listeners.
pub(super) struct HostPorts {
    host: HostSide,
    open: BTreeMap<PortMapping, DropGuard>,
}

impl HostPorts {
    /// None open yet.
    pub(super) fn new(host: HostSide) -> HostPorts {
        HostPorts { host, open: BTreeMap::new() }
    }

    /// Opens and closes listeners; returns those that could not be opened.
    pub(super) async fn serve(&mut self, wanted: &BTreeSet<PortMapping>) -> Vec<(PortMapping, io::Error)> {
        self.open.retain(|mapping, _| wanted.contains(mapping));
        let mut failed = Vec::new();
        for mapping in wanted {
            if self.open.contains_key(mapping) {
                continue;
            }
            match open(&self.host, *mapping).await {
                Ok(guard) => drop(self.open.insert(*mapping, guard)),
                Err(error) => failed.push((*mapping, error)),
            }
        }
        failed
    }
}

async fn open(host: &HostSide, mapping: PortMapping) -> io::Result<DropGuard> {
    let close = CancellationToken::new();
    let (opened, outcome) = oneshot::channel();
    let (accepted, connections) = mpsc::channel(16);
    host.handle.spawn(close.clone().run_until_cancelled_owned(async move {
        match TcpListener::bind(mapping.host).await {
            Ok(listener) => {
                let _ = opened.send(Ok(()));
                accept(listener, accepted).await;
            }
            Err(error) => drop(opened.send(Err(error))),
        }
    }));
    outcome.await.map_err(io::Error::other)??;
    tokio::spawn(close.clone().run_until_cancelled_owned(dial(connections, mapping.node_port)));
    Ok(close.drop_guard())
}

/// On the host's side.
async fn accept(listener: TcpListener, accepted: mpsc::Sender<std::net::TcpStream>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream.into_std(),
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections on the host");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Ok(stream) = stream
            && accepted.send(stream).await.is_err()
        {
            return;
        }
    }
}

/// In the node's network.
async fn dial(mut connections: mpsc::Receiver<std::net::TcpStream>, node_port: u16) {
    while let Some(stream) = connections.recv().await {
        if let Ok(stream) = TcpStream::from_std(stream) {
            tokio::spawn(relay(stream, vec![SocketAddr::from((Ipv4Addr::LOCALHOST, node_port))]));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn host_port_leads_to_the_node_port_and_closes_when_no_longer_wanted() {
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node_port = node.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = node.accept().await {
                let _ = stream.write_all(b"node").await;
            }
        });
        let host = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut ports = HostPorts::new(HostSide::current());
        let failed = ports.serve(&BTreeSet::from([PortMapping { host, node_port }])).await;
        assert!(failed.is_empty(), "{failed:?}");
        let mut answer = String::new();
        TcpStream::connect(host).await.unwrap().read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "node");
        ports.serve(&BTreeSet::new()).await;
        let closed = async {
            while TcpStream::connect(host).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(5), closed).await.expect("port stays open");
    }

    #[tokio::test]
    async fn taken_host_port_is_reported() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mapping = PortMapping { host: taken.local_addr().unwrap(), node_port: 1 };
        let failed = HostPorts::new(HostSide::current()).serve(&BTreeSet::from([mapping])).await;
        assert_eq!(failed[0].1.kind(), io::ErrorKind::AddrInUse);
    }
}
