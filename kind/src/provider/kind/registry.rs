//! How kind's nodes reach a registry that listens on this machine's loopback: containerd's `certs.d`, and a door on the address of
//! the nodes' gateway, which is an address of this machine.

use std::net::{IpAddr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{ClusterError, Line};
use crate::facts::ContainerEngine;

/// A listener on the gateway's address that leads to the registry; closed when dropped.
#[derive(Debug)]
pub(crate) struct Door {
    task: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Asks for the addresses of the network kind's nodes are in.
pub(super) fn gateway_query(engine: ContainerEngine) -> Line {
    let template = match engine {
        ContainerEngine::Podman => "{{range .Subnets}}{{.Gateway}} {{end}}",
        ContainerEngine::Docker | ContainerEngine::Nerdctl => "{{range .IPAM.Config}}{{.Gateway}} {{end}}",
    };
    (engine.command(), ["network", "inspect", "kind", "--format", template].map(str::to_owned).to_vec())
}

/// The first IPv4 gateway in the answer.
pub(super) fn gateway(answer: &str) -> Option<IpAddr> {
    answer.split_whitespace().filter_map(|word| word.parse::<IpAddr>().ok()).find(IpAddr::is_ipv4)
}

/// The endpoint as nodes can use it, with the door that makes it so when it is on loopback.
pub(super) async fn reachable(
    endpoint: &str,
    gateway: Option<IpAddr>,
) -> Result<(String, Option<Door>), ClusterError> {
    let failed = |message: String| ClusterError::Registry { endpoint: endpoint.to_owned(), message };
    let address = endpoint
        .strip_prefix("http://")
        .and_then(|rest| rest.trim_end_matches('/').parse::<SocketAddr>().ok());
    let Some(registry) = address.filter(|address| address.ip().is_loopback()) else {
        return Ok((endpoint.to_owned(), None));
    };
    let gateway = gateway.ok_or_else(|| failed("the network `kind` has no IPv4 gateway".to_owned()))?;
    let outside = SocketAddr::new(gateway, registry.port());
    let listener = TcpListener::bind(outside)
        .await
        .map_err(|error| failed(format!("listen on {outside}, the gateway of the nodes: {error}")))?;
    let task = tokio::spawn(serve(listener, registry));
    Ok((format!("http://{outside}"), Some(Door { task })))
}

async fn serve(listener: TcpListener, registry: SocketAddr) {
    while let Ok((mut inbound, _)) = listener.accept().await {
        tokio::spawn(async move {
            if let Ok(mut outbound) = TcpStream::connect(registry).await {
                // Either side may hang up; the pull is then retried by containerd.
                let _ = copy_bidirectional(&mut inbound, &mut outbound).await;
            }
        });
    }
}

/// Writes `hosts.toml` for one registry host on one node.
pub(super) fn write_hosts_file(engine: ContainerEngine, node: &str, host: &str, endpoint: &str) -> Line {
    let folder = format!("/etc/containerd/certs.d/{host}");
    let content = format!("[host.\"{endpoint}\"]\n  capabilities = [\"pull\", \"resolve\"]\n");
    let script = format!("mkdir -p '{folder}' && printf '%s' '{content}' > '{folder}/hosts.toml'");
    (engine.command(), ["exec", node, "sh", "-c", &script].map(str::to_owned).to_vec())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn the_gateway_is_the_first_ipv4_address() {
        assert_eq!(gateway("fc00:f853:ccd:e793::1 172.18.0.1 \n"), Some("172.18.0.1".parse().unwrap()));
        assert_eq!(gateway("<no value>"), None);
    }

    #[tokio::test]
    async fn a_door_leads_to_the_registry_and_closes_when_dropped() {
        let registry = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", registry.local_addr().unwrap());
        let (outside, door) = reachable(&endpoint, Some("127.0.0.2".parse().unwrap())).await.unwrap();
        let outside: SocketAddr = outside.strip_prefix("http://").unwrap().parse().unwrap();
        let answer = async {
            let (mut stream, _) = registry.accept().await.unwrap();
            stream.write_all(b"registry").await.unwrap();
        };
        let ask = async {
            let mut text = String::new();
            TcpStream::connect(outside).await.unwrap().read_to_string(&mut text).await.unwrap();
            text
        };
        let ((), text) = tokio::join!(answer, ask);
        assert_eq!(text, "registry");
        let door = door.unwrap();
        door.task.abort();
        while !door.task.is_finished() {
            tokio::task::yield_now().await;
        }
        assert!(TcpStream::connect(outside).await.is_err());
    }

    #[tokio::test]
    async fn a_registry_elsewhere_needs_no_door() {
        let (endpoint, door) = reachable("https://registry.example.com", None).await.unwrap();
        assert_eq!((endpoint.as_str(), door.is_none()), ("https://registry.example.com", true));
        let refused = reachable("http://127.0.0.1:5000", None).await.unwrap_err().to_string();
        assert_eq!(
            refused,
            "make the registry at http://127.0.0.1:5000 reachable for the nodes: the network `kind` has no IPv4 gateway"
        );
    }
}
