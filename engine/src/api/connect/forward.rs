//! Passes a request on to a backend and its answer back, as streams.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::backend::Backend;
use crate::api::admission::dial_error;
use crate::api::request::percent_encode;
use crate::api::{Answer, Call};
use crate::status::Status;
use crate::unverified_tls;

/// How long the backend may take to accept. One that has just gone does not refuse: its address answers nothing at all, and a
/// caller would wait for the kernel to give up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Headers that are about one connection, and those that are meant for this server only.
const DROPPED: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::AUTHORIZATION,
];

/// Passes the call on.
pub async fn forward(call: &Call, backend: &Backend) -> Result<Answer, Status> {
    let Backend { tls, address, port } = *backend;
    let unreachable = |why: String| Status::unavailable(format!("error trying to reach service: {why}"));
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect((address, port))).await;
    let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let stream = stream.map_err(|error| unreachable(dial_error(&address.to_string(), port, &error)))?;
    let request = request(call, backend).map_err(|error| Status::bad_request(error.to_string()))?;
    if tls {
        let connector = unverified_tls::connector().map_err(|error| unreachable(error.to_string()))?;
        let stream = connector.connect(ServerName::IpAddress(address.into()), stream).await;
        exchange(request, stream.map_err(|error| unreachable(error.to_string()))?).await
    } else {
        exchange(request, stream).await
    }
    .map_err(|error| unreachable(error.to_string()))
}

async fn exchange<S>(request: Request<Full<Bytes>>, stream: S) -> Result<Answer, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Lives until the answer's body is read to its end or dropped.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "proxied connection ended early");
        }
    });
    let mut answer = sender.send_request(request).await?;
    drop_hop_headers(answer.headers_mut());
    Ok(answer.map(Body::new))
}

fn request(call: &Call, backend: &Backend) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = target(&call.info.rest, &call.info.query).parse::<Uri>()?;
    let mut headers = call.headers.clone();
    drop_hop_headers(&mut headers);
    // The body is one piece again, whatever it came as.
    headers.remove(header::CONTENT_LENGTH);
    let host = std::net::SocketAddr::from((backend.address, backend.port)).to_string();
    headers.insert(header::HOST, HeaderValue::try_from(host)?);
    *request.headers_mut() = headers;
    Ok(request)
}

/// Path and query for the backend.
fn target(rest: &str, query: &[(String, String)]) -> String {
    let pairs = query.iter().map(|(key, value)| format!("{}={}", percent_encode(key), percent_encode(value)));
    let pairs: Vec<String> = pairs.collect();
    if pairs.is_empty() { rest.to_owned() } else { format!("{rest}?{}", pairs.join("&")) }
}

fn drop_hop_headers(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let impersonation = headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned();
    let impersonation: Vec<HeaderName> = impersonation.collect();
    for name in named.iter().chain(&impersonation).chain(&DROPPED) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_arrive_as_sent() {
        let query = [("q".to_owned(), "a b&c".to_owned()), ("empty".to_owned(), String::new())];
        assert_eq!(target("/x/y%20z", &query), "/x/y%20z?q=a%20b%26c&empty=");
        assert_eq!(target("/", &[]), "/");
    }

    #[test]
    fn headers_of_the_connection_and_credentials_stay_here() {
        let pairs = [
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("authorization", "Bearer secret"),
            ("impersonate-user", "eve"),
            ("accept", "*/*"),
        ];
        let pairs = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let mut headers = HeaderMap::from_iter(pairs);
        drop_hop_headers(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}
