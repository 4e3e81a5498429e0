//! Asking our own listener, as the API server will: does it answer with the current certificate?

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::certificate::{Unusable, Usable, roots};

const TIMEOUT: Duration = Duration::from_secs(5);

/// The listener did not answer as it should.
#[derive(Debug, Error)]
pub enum HandshakeError {
    /// The CA cannot be trusted by anybody.
    #[error(transparent)]
    Ca(#[from] Unusable),
    /// No TLS can be spoken.
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
    /// The name is not one.
    #[error("`{0}` is not a server name")]
    Name(String),
    /// Nobody answers, or not so that it can be trusted.
    #[error("handshake with {address} as `{name}` failed: {source}")]
    Io {
        /// Of the listener.
        address: SocketAddr,
        /// That the API server will ask for.
        name: String,
        /// What failed.
        source: io::Error,
    },
    /// Somebody answers, with another certificate.
    #[error("{0} answers with another certificate than the Secret holds")]
    Other(SocketAddr),
}

/// A real handshake with `address`, trusting only the CA of `usable` and expecting its certificate.
pub async fn check(address: SocketAddr, name: &str, usable: &Usable) -> Result<(), HandshakeError> {
    let roots = roots(&usable.material.ca_certificate)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server_name =
        ServerName::try_from(name.to_owned()).map_err(|_| HandshakeError::Name(name.to_owned()))?;
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(server_name, stream).await
    };
    let failed = |source| HandshakeError::Io { address, name: name.to_owned(), source };
    let connected = timeout(TIMEOUT, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = connected.map_err(failed)?;
    let (_, connection) = stream.get_ref();
    let presented = connection.peer_certificates().and_then(<[_]>::first);
    if presented == usable.certified_key.cert.first() { Ok(()) } else { Err(HandshakeError::Other(address)) }
}
