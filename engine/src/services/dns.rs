//! The cluster's name server: authority for `cluster.local`, everything else goes to a configured resolver or is refused.

mod message;
mod zone;

use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{oneshot, watch};

use self::message::{Answer, Question, fault};
pub(super) use self::zone::Zone;
use crate::isolation::HostSide;

/// The zone every cluster has.
const ZONE: &str = "cluster.local";
/// How long the outer resolver may take.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(3);
/// A TCP client that is silent for this long is disconnected.
const TCP_IDLE: Duration = Duration::from_secs(10);

/// Everything a question needs.
#[derive(Clone)]
pub(super) struct Server {
    pub zone: watch::Receiver<Arc<Zone>>,
    pub host: HostSide,
    /// Resolver in the host's network for other names.
    pub resolver: Option<SocketAddr>,
}

/// Sockets of the name server.
pub(super) struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds both transports.
    pub(super) async fn bind(address: SocketAddrV4) -> io::Result<Sockets> {
        Ok(Sockets { udp: UdpSocket::bind(address).await?, tcp: TcpListener::bind(address).await? })
    }
}

impl Server {
    /// Answers until cancelled.
    pub(super) async fn serve(self, sockets: Sockets) {
        tokio::join!(self.clone().serve_udp(Arc::new(sockets.udp)), self.serve_tcp(sockets.tcp));
    }

    async fn serve_udp(self, socket: Arc<UdpSocket>) {
        let mut buffer = [0; 4096];
        loop {
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
            let request = buffer[..length].to_vec();
            let (server, socket) = (self.clone(), socket.clone());
            tokio::spawn(async move {
                if let Some(answer) = server.answer(&request, true).await {
                    let _ = socket.send_to(&answer, from).await;
                }
            });
        }
    }

    async fn serve_tcp(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let server = self.clone();
                    tokio::spawn(async move { server.converse(stream).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "name server cannot accept connections");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Questions of one TCP client, one after the other, each with its length before it.
    async fn converse(&self, mut stream: TcpStream) {
        let next = async |stream: &mut TcpStream| {
            let length = stream.read_u16().await?;
            let mut request = vec![0; usize::from(length)];
            stream.read_exact(&mut request).await.map(|_| request)
        };
        while let Ok(Ok(request)) = tokio::time::timeout(TCP_IDLE, next(&mut stream)).await {
            let Some(mut answer) = self.answer(&request, false).await else { return };
            let Ok(length) = u16::try_from(answer.len()) else { return };
            answer.splice(0..0, length.to_be_bytes());
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    async fn answer(&self, request: &[u8], udp: bool) -> Option<Vec<u8>> {
        let question = match Question::parse(request) {
            Ok(question) => question,
            Err(problem) => return fault(problem),
        };
        let answer = self.zone.borrow().look_up(&question.name, question.kind);
        if let (Answer::Refused, Some(resolver)) = (&answer, self.resolver) {
            return self.forward(request.to_vec(), resolver).await;
        }
        let limit = if udp { question.udp_limit } else { usize::from(u16::MAX) };
        Some(question.answer(&answer, limit))
    }

    /// Asks the outer resolver from the host's network and passes its answer on as it is.
    async fn forward(&self, request: Vec<u8>, resolver: SocketAddr) -> Option<Vec<u8>> {
        let (done, answer) = oneshot::channel();
        self.host.handle.spawn(async move {
            let exchange = async {
                let any = if resolver.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(resolver).await?;
                socket.send(&request).await?;
                let mut buffer = vec![0; 4096];
                let length = socket.recv(&mut buffer).await?;
                buffer.truncate(length);
                io::Result::Ok(buffer)
            };
            let _ = done.send(tokio::time::timeout(FORWARD_TIMEOUT, exchange).await);
        });
        answer.await.ok()?.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::message::{ask, kind};
    use super::*;

    async fn start(resolver: Option<SocketAddr>) -> SocketAddrV4 {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": "web"}, "spec": {"clusterIP": "10.96.1.1", "ports": []},
        }))
        .unwrap();
        let zone = watch::Sender::new(Arc::new(Zone::of(&[Arc::new(service)], &[])));
        let server = Server { zone: zone.subscribe(), host: HostSide::current(), resolver };
        // Both transports on one port: take a free TCP port and hope for the UDP one, until it works.
        loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let SocketAddr::V4(address) = tcp.local_addr().unwrap() else { panic!("not IPv4") };
            if let Ok(udp) = UdpSocket::bind(address).await {
                tokio::spawn(async move {
                    let _keep = zone;
                    server.serve(Sockets { udp, tcp }).await;
                });
                return address;
            }
        }
    }

    async fn ask_udp(server: SocketAddrV4, message: &[u8]) -> Vec<u8> {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(message, server).await.unwrap();
        let mut buffer = [0; 4096];
        let received = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut buffer)).await;
        buffer[..received.expect("no answer").unwrap()].to_vec()
    }

    #[tokio::test]
    async fn both_transports_answer() {
        let server = start(None).await;
        let question = ask("web.ns.svc.cluster.local", kind::A);
        let over_udp = ask_udp(server, &question).await;
        assert_eq!(over_udp[over_udp.len() - 4..], [10, 96, 1, 1]);
        let mut stream = TcpStream::connect(server).await.unwrap();
        for _ in 0..2 {
            stream.write_u16(u16::try_from(question.len()).unwrap()).await.unwrap();
            stream.write_all(&question).await.unwrap();
            let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, over_udp);
        }
    }

    #[tokio::test]
    async fn other_names_are_refused_or_forwarded() {
        let outer = start(None).await;
        let question = ask("example.org", kind::A);
        assert_eq!(ask_udp(outer, &question).await[3] & 0x0f, 5);
        let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = echo.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            let (length, from) = echo.recv_from(&mut buffer).await.unwrap();
            buffer[2] |= 0x80;
            echo.send_to(&buffer[..length], from).await.unwrap();
        });
        let answer = ask_udp(start(Some(resolver)).await, &question).await;
        assert_eq!((answer.len(), answer[2] & 0x80), (question.len(), 0x80));
    }
}
