//! Spans on their way to a collector: in batches, by a thread of their own, dropped rather than waited for.

use std::env;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use opentelemetry::Key;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;

use crate::past::Ids;

/// Where collectors are named: for spans alone, or for everything.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// How they are spoken to.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
/// Milliseconds that one request may take.
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
/// File of the certificates that a collector's must come from.
const CERTIFICATES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
/// The one protocol we speak.
const PROTOBUF: &str = "http/protobuf";
/// As long as the specification says.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Collectors answer a few bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// What makes the spans of `service` and sends them; none if the environment does not ask for it. The error says why it cannot.
///
/// What else OpenTelemetry reads from the environment (headers, sampling, queue, attributes of the service) is read by its crates.
pub(crate) fn provider(service: &'static str) -> Result<Option<SdkTracerProvider>, String> {
    if !wanted(variable)? {
        return Ok(None);
    }
    let exporter = SpanExporter::builder().with_http().with_http_client(Collector::new()?).build();
    let exporter = exporter.map_err(|error| error.to_string())?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_id_generator(Ids::default())
        .with_resource(resource(service))
        .build();
    Ok(Some(provider))
}

/// The collector's address, as given.
pub(crate) fn endpoint() -> Option<String> {
    first(ENDPOINTS, variable)
}

fn wanted(variable: impl Fn(&str) -> Option<String> + Copy) -> Result<bool, String> {
    let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let elsewhere = variable("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter != "otlp");
    if disabled || elsewhere || first(ENDPOINTS, variable).is_none() {
        return Ok(false);
    }
    match first(PROTOCOLS, variable) {
        Some(protocol) if protocol != PROTOBUF => {
            Err(format!("`{protocol}` is not spoken; set {} to {PROTOBUF}", PROTOCOLS[0]))
        }
        _ => Ok(true),
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn first(names: [&str; 2], variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    names.into_iter().find_map(variable)
}

/// Who the spans are from. The environment may call it otherwise.
fn resource(service: &'static str) -> Resource {
    let given = Resource::builder().build();
    let name = given.get(&Key::from_static_str("service.name"));
    match name {
        Some(name) if !name.as_str().starts_with("unknown_service") => given,
        _ => Resource::builder().with_service_name(service).build(),
    }
}

/// The collector, over HTTP. The exporter's thread has no runtime: requests run on the service's.
#[derive(Debug)]
struct Collector {
    http: reqwest::Client,
    runtime: Handle,
    /// The last request failed, and that was logged.
    silent: AtomicBool,
}

impl Collector {
    fn new() -> Result<Self, String> {
        let millis = first(TIMEOUTS, variable).and_then(|millis| millis.parse().ok());
        let mut http =
            reqwest::Client::builder().timeout(millis.map_or(DEFAULT_TIMEOUT, Duration::from_millis));
        if let Some(file) = first(CERTIFICATES, variable) {
            let pem = fs::read(&file).map_err(|error| format!("cannot read `{file}`: {error}"))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem);
            let certificates =
                certificates.map_err(|error| format!("no certificates in `{file}`: {error}"))?;
            http = http.tls_certs_only(certificates);
        } else if !endpoint().is_some_and(|endpoint| endpoint.starts_with("https:")) {
            // An image without root certificates can still speak plain HTTP.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|error| error.to_string())?;
        let runtime = Handle::try_current().map_err(|error| error.to_string())?;
        Ok(Self { http, runtime, silent: AtomicBool::new(false) })
    }

    /// Says it once when spans begin to be lost, and once when that ends.
    fn log(&self, failure: Option<&str>) {
        let was_silent = self.silent.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(error) if !was_silent => {
                tracing::warn!(error, "the collector takes no spans: they are lost")
            }
            None if was_silent => tracing::info!("the collector takes spans again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move { send(&http, request).await });
        let answer = sent.await.map_err(HttpError::from).flatten();
        match &answer {
            Ok(answer) if answer.status().is_success() => self.log(None),
            Ok(answer) => self.log(Some(answer.status().as_str())),
            Err(error) => self.log(Some(&error.to_string())),
        }
        answer
    }
}

async fn send(http: &reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = http.execute(request.try_into()?).await?;
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("the answer is longer than {MAX_ANSWER} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(body.freeze());
    *response.status_mut() = answer.status();
    // They say when to come again.
    std::mem::swap(response.headers_mut(), answer.headers_mut());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_exported_where_the_environment_names_a_collector_that_we_can_speak_to() {
        let check = |given: &[(&str, &str)], expected: Result<bool, &str>| {
            let variable =
                |name: &str| given.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(
                wanted(variable).map_err(|error| error.contains("http/protobuf").to_string()),
                expected.map_err(str::to_owned),
                "{given:?}"
            );
        };
        let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        check(&[], Ok(false));
        check(&[("OTEL_SERVICE_NAME", "somebody")], Ok(false));
        check(&[collector], Ok(true));
        check(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")], Ok(true));
        check(&[collector, ("OTEL_SDK_DISABLED", "true")], Ok(false));
        check(&[collector, ("OTEL_TRACES_EXPORTER", "none")], Ok(false));
        check(&[collector, ("OTEL_TRACES_EXPORTER", "otlp")], Ok(true));
        check(&[collector, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], Ok(true));
        check(&[collector, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], Err("true"));
    }
}
