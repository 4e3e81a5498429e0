//! Listens on every front that has backends; a front without backends is closed, so the kernel refuses the connection.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::relay::{Turn, relay};
use super::table::{Backends, Front, Transport};

/// A UDP client that is silent for this long is forgotten.
const UDP_IDLE: Duration = Duration::from_secs(30);
/// Largest datagram relayed.
const DATAGRAM: usize = 64 * 1024;

/// The open fronts.
#[derive(Default)]
pub(super) struct Proxy {
    open: BTreeMap<Front, Open>,
}

struct Open {
    backends: watch::Sender<Arc<Backends>>,
    /// Closes the listener, not the connections it accepted.
    _close: DropGuard,
}

impl Proxy {
    /// Opens, updates and closes fronts; returns those that could not be opened.
    pub(super) async fn serve(&mut self, wanted: &BTreeMap<Front, Backends>) -> Vec<(Front, io::Error)> {
        self.open.retain(|front, _| wanted.contains_key(front));
        let mut failed = Vec::new();
        for (front, backends) in wanted {
            match self.open.get(front) {
                Some(open) => {
                    open.backends.send_if_modified(|current| {
                        let changed = **current != *backends;
                        if changed {
                            *current = Arc::new(backends.clone());
                        }
                        changed
                    });
                }
                None => match open(*front, backends.clone()).await {
                    Ok(open) => drop(self.open.insert(*front, open)),
                    Err(error) => failed.push((*front, error)),
                },
            }
        }
        failed
    }
}

async fn open(front: Front, backends: Backends) -> io::Result<Open> {
    let backends = watch::Sender::new(Arc::new(backends));
    let close = CancellationToken::new();
    let current = backends.subscribe();
    match front.transport {
        Transport::Tcp => {
            let listener = TcpListener::bind(front.address).await?;
            tokio::spawn(close.clone().run_until_cancelled_owned(accept(listener, current)));
        }
        Transport::Udp => {
            let socket = UdpSocket::bind(front.address).await?;
            tokio::spawn(close.clone().run_until_cancelled_owned(datagrams(Arc::new(socket), current)));
        }
    }
    Ok(Open { backends, _close: close.drop_guard() })
}

async fn accept(listener: TcpListener, backends: watch::Receiver<Arc<Backends>>) {
    let turn = Turn::default();
    loop {
        match listener.accept().await {
            Ok((client, from)) => {
                let candidates = turn.order(&backends.borrow(), from.ip());
                tokio::spawn(relay(client, candidates));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections to a service");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn datagrams(front: Arc<UdpSocket>, backends: watch::Receiver<Arc<Backends>>) {
    let turn = Turn::default();
    let mut clients: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let Ok((length, from)) = front.recv_from(&mut buffer).await else { continue };
        clients.retain(|_, session| !session.is_closed());
        let session = clients.entry(from).or_insert_with(|| {
            let (sender, receiver) = mpsc::channel(64);
            let backend = turn.order(&backends.borrow(), from.ip()).first().copied();
            tokio::spawn(session(front.clone(), from, backend, receiver));
            sender
        });
        // A full queue loses the datagram, as a network would.
        let _ = session.try_send(buffer[..length].to_vec());
    }
}

/// One client's datagrams to one backend and the answers back.
async fn session(
    front: Arc<UdpSocket>,
    client: SocketAddr,
    backend: Option<SocketAddr>,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
) {
    let Some(backend) = backend else { return };
    let Ok(socket) = UdpSocket::bind("0.0.0.0:0").await else { return };
    if socket.connect(backend).await.is_err() {
        return;
    }
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let step = async {
            tokio::select! {
                datagram = outgoing.recv() => match datagram {
                    Some(datagram) => socket.send(&datagram).await.map(drop),
                    None => Err(io::ErrorKind::BrokenPipe.into()),
                },
                received = socket.recv(&mut buffer) => match received {
                    Ok(length) => front.send_to(&buffer[..length], client).await.map(drop),
                    Err(error) => Err(error),
                },
            }
        };
        if !matches!(tokio::time::timeout(UDP_IDLE, step).await, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    /// A server that answers each connection with one byte.
    async fn answering(byte: u8) -> SocketAddrV4 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(&[byte]).await;
            }
        });
        address
    }

    async fn free_address() -> SocketAddrV4 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
        address
    }

    async fn ask(address: SocketAddrV4) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map(|_| answer)
    }

    fn fronts(front: Front, addresses: Vec<SocketAddrV4>) -> BTreeMap<Front, Backends> {
        BTreeMap::from([(front, Backends { addresses, sticky: false })])
    }

    #[tokio::test]
    async fn connections_reach_each_backend_and_a_closed_front_refuses() {
        let front = Front { transport: Transport::Tcp, address: free_address().await };
        let (a, b) = (answering(b'a').await, answering(b'b').await);
        let mut proxy = Proxy::default();
        assert!(proxy.serve(&fronts(front, vec![a, b])).await.is_empty());
        let mut answers = [ask(front.address).await.unwrap(), ask(front.address).await.unwrap()];
        answers.sort();
        assert_eq!(answers, [b"a", b"b"]);
        proxy.serve(&fronts(front, vec![b])).await;
        assert_eq!(ask(front.address).await.unwrap(), b"b");
        proxy.serve(&BTreeMap::new()).await;
        let refused = async {
            while ask(front.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), refused).await.expect("front stays open");
    }

    #[tokio::test]
    async fn dead_backend_is_passed_over() {
        let front = Front { transport: Transport::Tcp, address: free_address().await };
        let mut proxy = Proxy::default();
        proxy.serve(&fronts(front, vec![free_address().await, answering(b'x').await])).await;
        assert_eq!(ask(front.address).await.unwrap(), b"x");
        assert_eq!(ask(front.address).await.unwrap(), b"x");
    }

    #[tokio::test]
    async fn datagrams_find_their_way_back() {
        let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let SocketAddr::V4(backend) = echo.local_addr().unwrap() else { panic!("not IPv4") };
        tokio::spawn(async move {
            let mut buffer = [0; 100];
            while let Ok((length, from)) = echo.recv_from(&mut buffer).await {
                let _ = echo.send_to(&buffer[..length], from).await;
            }
        });
        let front = Front { transport: Transport::Udp, address: free_address().await };
        let mut proxy = Proxy::default();
        proxy.serve(&fronts(front, vec![backend])).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(b"hello", front.address).await.unwrap();
        let mut buffer = [0; 100];
        let (length, from) = tokio::time::timeout(Duration::from_secs(5), client.recv_from(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((&buffer[..length], from), (&b"hello"[..], SocketAddr::V4(front.address)));
    }
}
