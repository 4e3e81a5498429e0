//! Asking one webhook over HTTPS. What goes wrong is told in the words of Go's HTTP client, which people search for.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::configuration::{Target, Webhook};
use super::connection::{Connections, Failure, Place};
use crate::store::{GroupResource, Store};

/// Longest answer that is read: a patch may hold a whole object, in base64.
const LIMIT: usize = 5 * 1024 * 1024;

/// Sends the review and reads the answer. The error completes `failed to call webhook:`.
pub async fn call(
    connections: &Connections,
    store: &Store,
    webhook: &Webhook,
    review: &Value,
) -> Result<Value, String> {
    let url = url(&webhook.target, webhook.timeout);
    let post = |why: String| format!("Post \"{url}\": {why}");
    let place = place(store, &webhook.target).map_err(post)?;
    let body = Bytes::from(review.to_string());
    let exchange = async {
        let answer = send(connections, webhook, &place, &url, body).await.map_err(post)?;
        let code = answer.status();
        let text = Limited::new(answer.into_body(), LIMIT).collect().await;
        let text = text.map_err(|error| post(format!("cannot read the answer: {error}")))?.to_bytes();
        if !code.is_success() {
            return Err(refused(code.as_u16(), &text));
        }
        serde_json::from_slice(&text)
            .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))
    };
    match tokio::time::timeout(webhook.timeout, exchange).await {
        Ok(outcome) => outcome,
        Err(_) => Err(post("context deadline exceeded".to_owned())),
    }
}

/// The URL as requested and as shown.
fn url(target: &Target, timeout: Duration) -> String {
    let base = match target {
        Target::Url(url) => url.clone(),
        Target::Service { namespace, name, port, path } => {
            format!("https://{name}.{namespace}.svc:{port}{path}")
        }
    };
    let joint = if base.contains('?') { '&' } else { '?' };
    format!("{base}{joint}timeout={}s", timeout.as_secs())
}

/// Where to connect to.
fn place(store: &Store, target: &Target) -> Result<Place, String> {
    match target {
        Target::Url(url) => {
            let uri: http::Uri = url.parse().map_err(|error| format!("parse {url:?}: {error}"))?;
            let host = uri.host().ok_or_else(|| format!("parse {url:?}: missing host"))?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Ok(Place { port: uri.port_u16().unwrap_or(443), server_name: host.clone(), host })
        }
        Target::Service { namespace, name, port, .. } => {
            let key = (namespace.clone(), name.clone());
            let service = store.get(&GroupResource::new("", "services"), &key);
            let service = service.ok_or_else(|| format!("service {name:?} not found"))?.value();
            let host = cluster_ip(&service, *port)?;
            Ok(Place { host, port: *port, server_name: format!("{name}.{namespace}.svc") })
        }
    }
}

/// The address of a Service that has this port.
fn cluster_ip(service: &Value, port: u16) -> Result<String, String> {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let mut ports = service["spec"]["ports"].as_array().into_iter().flatten();
    match service["spec"]["clusterIP"].as_str() {
        None | Some("") => Err(format!("service {name:?} has no cluster IP")),
        Some("None") => Err("cannot route to service with ClusterIP \"None\"".to_owned()),
        Some(_) if !ports.any(|each| each["port"] == port) => {
            Err(format!("no service port {port} found for service {name:?}"))
        }
        Some(address) => Ok(address.to_owned()),
    }
}

async fn send(
    connections: &Connections,
    webhook: &Webhook,
    place: &Place,
    url: &str,
    body: Bytes,
) -> Result<Response<Incoming>, String> {
    let attempt = async |fresh: bool| {
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, "slipway-engine")
            .body(Full::new(body.clone()))
            .map_err(|error| Attempt::Final(error.to_string()))?;
        let client = connections.client(webhook, place, fresh).map_err(Attempt::Final)?;
        client.request(request).await.map_err(|error| {
            let told = told(&error);
            if error.is_connect() { Attempt::Final(told) } else { Attempt::Broken(told) }
        })
    };
    match attempt(false).await {
        Ok(answer) => Ok(answer),
        Err(Attempt::Final(why)) => Err(why),
        // A kept connection may have been closed by a webhook that restarted; a fresh one settles it.
        Err(Attempt::Broken(_)) => {
            attempt(true).await.map_err(|(Attempt::Final(why) | Attempt::Broken(why))| why)
        }
    }
}

enum Attempt {
    Final(String),
    Broken(String),
}

/// What a client's error is about: our own words if the connection failed, else the innermost cause.
fn told(error: &hyper_util::client::legacy::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(current) = cause {
        text = current.to_string();
        if current.is::<Failure>() {
            break;
        }
        cause = current.source();
    }
    text
}

/// An answer that is no review, as upstream's client tells it.
fn refused(code: u16, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match code {
        404 => "the server could not find the requested resource".to_owned(),
        500.. => {
            format!("an error on the server ({:?}) has prevented the request from succeeding", text.trim())
        }
        _ => format!("the server responded with the status code {code} but did not return more details"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service_target(path: &str) -> Target {
        Target::Service { namespace: "ns".into(), name: "svc".into(), port: 8443, path: path.into() }
    }

    #[test]
    fn urls_carry_the_timeout() {
        let url = |target: &Target| url(target, Duration::from_secs(10));
        assert_eq!(url(&service_target("/mutate")), "https://svc.ns.svc:8443/mutate?timeout=10s");
        assert_eq!(url(&Target::Url("https://x/y?z=1".into())), "https://x/y?z=1&timeout=10s");
    }

    #[test]
    fn a_service_is_reached_at_its_cluster_ip() {
        let check = |spec: Value, expected: Result<&str, &str>| {
            let service = json!({"metadata": {"name": "svc"}, "spec": spec});
            let expected = expected.map(String::from).map_err(String::from);
            assert_eq!(cluster_ip(&service, 443), expected);
        };
        let ports = json!([{"port": 443}]);
        check(json!({"clusterIP": "10.96.0.5", "ports": ports}), Ok("10.96.0.5"));
        check(json!({"clusterIP": "10.96.0.5"}), Err(r#"no service port 443 found for service "svc""#));
        check(
            json!({"clusterIP": "None", "ports": ports}),
            Err(r#"cannot route to service with ClusterIP "None""#),
        );
        assert_eq!(place(&Store::new(1), &service_target("")).unwrap_err(), r#"service "svc" not found"#);
    }
}
