//! Connections: TLS, HTTP/1.1 and HTTP/2, and the identity in a client's certificate.
//!
//! Two ways in: over a listener, and in-process through [`client`]. Both end in the same chain.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{HeaderValue, USER_AGENT};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::handle::handle;
use super::user::User;
use super::{Api, authenticate};
use crate::isolation::HostSide;

/// How long a client may take for the TLS handshake, and for the headers of a request.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// How long requests may go on after the end was announced.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

/// Requests one HTTP/2 connection may have open: an informer holds one for each kind.
const STREAMS: u32 = 1000;

/// A listener in the host's network.
pub async fn bind_on_host(host: &HostSide, address: SocketAddr) -> io::Result<TcpListener> {
    // A socket stays in the network it was made in, whoever uses it.
    let made = host.handle.spawn(async move {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    made.await.map_err(io::Error::other)?.and_then(TcpListener::from_std)
}

/// Serves the API on `listener` until the API is closing; then requests get a moment to end.
pub async fn serve(api: Arc<Api>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
    let acceptor = TlsAcceptor::from(tls);
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = api.closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(connection(api.clone(), acceptor.clone(), stream, graceful.watcher()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: some must be closed first.
                tracing::warn!(%error, "cannot accept connections to the API");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_WITHIN, graceful.shutdown()).await.is_err() {
        tracing::debug!("requests were still open when the API server ended");
    }
}

async fn connection(api: Arc<Api>, acceptor: TlsAcceptor, stream: TcpStream, watcher: Watcher) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => return tracing::debug!("TLS handshake took too long"),
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let peer = certificate.and_then(|certificate| authenticate::from_certificate(certificate)).map(Arc::new);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (api, peer) = (api.clone(), peer.clone());
        async move { Ok::<_, Infallible>(handle(&api, peer.as_deref(), request.map(Body::new)).await) }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_WITHIN);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(served.into_owned()).await {
        tracing::debug!(%error, "connection to the API ended");
    }
}

/// A client inside the process whose every request is made by `user`. It enters the chain below TLS: no socket, no copy.
pub fn client(api: &Arc<Api>, user: User) -> kube::Client {
    let agent = user.name.rsplit(':').next().unwrap_or_default();
    let agent = HeaderValue::from_str(agent).unwrap_or(HeaderValue::from_static("engine"));
    let (api, user) = (api.clone(), Arc::new(user));
    let service = tower::service_fn(move |mut request: Request<kube::client::Body>| {
        let (api, user) = (api.clone(), user.clone());
        // Names the field manager of writes that name none.
        request.headers_mut().entry(USER_AGENT).or_insert_with(|| agent.clone());
        async move {
            let answer: Response<Body> = handle(&api, Some(&user), request.map(Body::new)).await;
            Ok::<_, Infallible>(answer)
        }
    });
    kube::Client::new(service, "default")
}
