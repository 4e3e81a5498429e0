//! TLS connections to webhooks: one client for each webhook, kept as long as address and authority stay the same.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::configuration::Webhook;

/// Where to connect to, and the name the certificate has to be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub port: u16,
    pub server_name: String,
}

type HttpClient = Client<Connector, Full<Bytes>>;

struct Kept {
    place: Place,
    ca_bundle: Vec<u8>,
    client: HttpClient,
}

/// The clients, by webhook.
#[derive(Default)]
pub struct Connections {
    kept: Mutex<HashMap<String, Kept>>,
}

impl Connections {
    /// The client for a webhook; `fresh` gives up the connections it has.
    pub fn client(&self, webhook: &Webhook, place: &Place, fresh: bool) -> Result<HttpClient, String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.get(&webhook.id)
            && !fresh
            && known.place == *place
            && known.ca_bundle == webhook.ca_bundle
        {
            return Ok(known.client.clone());
        }
        let connector = Connector { place: place.clone(), tls: tls(&webhook.ca_bundle)? };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let new = Kept { place: place.clone(), ca_bundle: webhook.ca_bundle.clone(), client: client.clone() };
        kept.insert(webhook.id.clone(), new);
        Ok(client)
    }
}

/// Trusts the authorities of the bundle and nobody else.
fn tls(ca_bundle: &[u8]) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_bundle) {
        let certificate =
            certificate.map_err(|error| format!("unable to load root certificates: {error}"))?;
        roots.add(certificate).map_err(|error| format!("unable to load root certificates: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

/// Opens connections to one place, whatever the URL says: it names a Service, which only the store can resolve.
#[derive(Clone)]
pub struct Connector {
    place: Place,
    tls: TlsConnector,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let Self { place: Place { host, port, server_name }, tls } = self.clone();
        Box::pin(async move {
            let name = ServerName::try_from(server_name.clone())
                .map_err(|_| Failure(format!("{server_name:?} is no name of a server")))?;
            let stream = TcpStream::connect((host.as_str(), port)).await;
            let stream = stream.map_err(|error| Failure(dial_error(&host, port, &error)))?;
            // Reviews are small; waiting for more to send only delays them.
            let _ = stream.set_nodelay(true);
            let stream =
                tls.connect(name, stream).await.map_err(|error| Failure(tls_error(&server_name, &error)))?;
            Ok(TokioIo::new(Stream(stream)))
        })
    }
}

/// `dial tcp 10.96.0.5:443: connect: connection refused`, as Go tells it.
pub fn dial_error(host: &str, port: u16, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {host}:{port}: {why}")
}

fn tls_error(name: &str, error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(fault)) = inner else { return error.to_string() };
    use rustls::CertificateError as Fault;
    let why = match fault {
        Fault::UnknownIssuer | Fault::BadSignature => "certificate signed by unknown authority".to_owned(),
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            format!("certificate is not valid for {name}")
        }
        Fault::Expired
        | Fault::ExpiredContext { .. }
        | Fault::NotValidYet
        | Fault::NotValidYetContext { .. } => "certificate has expired or is not yet valid".to_owned(),
        other => other.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

/// A connection that knows whether it speaks HTTP/2.
pub struct Stream(TlsStream<TcpStream>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self.0.get_ref().1.alpn_protocol() {
            Some(b"h2") => Connected::new().negotiated_h2(),
            _ => Connected::new(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
