//! A probe by HTTP or HTTPS. Certificates are not verified, as everywhere.

use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::check::{Failure, Target, dial};
use crate::unverified_tls;

/// How much of an answer is read, so that the program is not cut off in the middle of a short one.
const ANSWER_LIMIT: usize = 10 << 10;

/// Asks once.
pub(super) async fn get(action: &HTTPGetAction, target: &Target) -> Result<(), Failure> {
    let url = url(action, target)?;
    let host = host(action, target);
    let failed = |cause: String| Failure::new(format!("Get {url:?}: {cause}"));
    let connection = dial(host, target.port(&action.port)?)
        .await
        .map_err(|failure| Failure { message: format!("Get {url:?}: {}", failure.message), ..failure })?;
    let request = request(action, host, target).map_err(|error| failed(error.to_string()))?;
    let status = if action.scheme.as_deref() == Some("HTTPS") {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.to_string()))?;
        let connector = unverified_tls::connector().map_err(|error| failed(error.to_string()))?;
        let connection = connector.connect(name, connection).await;
        ask(connection.map_err(|error| failed(error.to_string()))?, request).await
    } else {
        ask(connection, request).await
    };
    match status.map_err(|error| failed(error.to_string()))? {
        200..400 => Ok(()),
        status => Err(Failure::new(format!("HTTP probe failed with statuscode: {status}"))),
    }
}

/// What is asked for, for people.
pub(super) fn url(action: &HTTPGetAction, target: &Target) -> Result<String, Failure> {
    let scheme = action.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    Ok(format!("{scheme}://{}:{}{}", host(action, target), target.port(&action.port)?, path(action)))
}

fn host<'a>(action: &'a HTTPGetAction, target: &'a Target) -> &'a str {
    action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(&target.host)
}

fn path(action: &HTTPGetAction) -> String {
    let path = action.path.as_deref().unwrap_or_default();
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn request(
    action: &HTTPGetAction,
    host: &str,
    target: &Target,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let port = target.port(&action.port).unwrap_or(0);
    let mut request = Request::get(path(action))
        .header(HOST, format!("{host}:{port}"))
        .header(USER_AGENT, "kube-probe/1.33")
        .header(ACCEPT, "*/*")
        .body(Empty::new())?;
    for header in action.http_headers.iter().flatten() {
        let name = HeaderName::try_from(header.name.as_str())?;
        request.headers_mut().insert(name, HeaderValue::try_from(header.value.as_str())?);
    }
    Ok(request)
}

async fn ask<C>(connection: C, request: Request<Empty<Bytes>>) -> Result<u16, hyper::Error>
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    // The code is the answer; a body that is too long or broken changes nothing.
    let _ = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
    Ok(status)
}
