//! Carries one TCP connection to one of several backends.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;

use super::table::Backends;

/// How long one backend may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Backends with a memory of whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn {
    next: AtomicUsize,
}

impl Turn {
    /// Backends in the order to try for a client.
    pub(super) fn order(&self, backends: &Backends, client: IpAddr) -> Vec<SocketAddr> {
        let count = backends.addresses.len();
        let first = if backends.sticky {
            let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(client);
            usize::try_from(hash % count.max(1) as u64).unwrap_or(0)
        } else {
            self.next.fetch_add(1, Ordering::Relaxed)
        };
        (0..count)
            .map(|step| SocketAddr::V4(backends.addresses[(first.wrapping_add(step)) % count]))
            .collect()
    }
}

/// Relays until both sides are done; when no candidate accepts, the client's connection is reset.
pub(super) async fn relay(mut client: TcpStream, candidates: Vec<SocketAddr>) {
    let Some(mut backend) = connect(&candidates).await else {
        // Without waiting for unsent data the close becomes a reset, which a client can tell from an empty answer.
        let _ = client.set_zero_linger();
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = backend.set_nodelay(true);
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut backend).await {
        tracing::trace!(%error, "connection ended early");
        let _ = client.set_zero_linger();
    }
}

async fn connect(candidates: &[SocketAddr]) -> Option<TcpStream> {
    for candidate in candidates {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => tracing::debug!(backend = %candidate, %error, "backend refused"),
            Err(_) => tracing::debug!(backend = %candidate, "backend did not accept in time"),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn backends(sticky: bool) -> Backends {
        let addresses = (1..=3).map(|last| format!("10.0.0.{last}:80").parse().unwrap()).collect();
        Backends { addresses, sticky }
    }

    fn first(turn: &Turn, backends: &Backends, client: u8) -> String {
        turn.order(backends, Ipv4Addr::new(10, 1, 1, client).into())[0].ip().to_string()
    }

    #[test]
    fn connections_take_turns() {
        let (turn, backends) = (Turn::default(), backends(false));
        let order: Vec<String> = (0..4).map(|_| first(&turn, &backends, 1)).collect();
        assert_eq!(order, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]);
        assert_eq!(turn.order(&backends, Ipv4Addr::LOCALHOST.into()).len(), 3);
    }

    #[test]
    fn sticky_client_stays_with_its_backend() {
        let (turn, backends) = (Turn::default(), backends(true));
        assert_eq!(first(&turn, &backends, 7), first(&turn, &backends, 7));
    }

    #[test]
    fn nobody_to_try_without_backends() {
        assert!(Turn::default().order(&Backends::default(), Ipv4Addr::LOCALHOST.into()).is_empty());
    }
}
