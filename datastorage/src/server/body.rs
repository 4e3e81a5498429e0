//! Reading a request's body: its media type, its size, its JSON, and which field does not fit.

use api::audit::{FieldError, Validate};
use api::json;
use api::problem::Problem;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::Service;
use super::answer::Failure;
use super::json_path::path_at;

/// Most errors in one answer.
const MAX_ERRORS: usize = 50;

/// The body as text, if it claims to be JSON and is not too large.
pub(super) async fn read(service: &Service, headers: &HeaderMap, body: Body) -> Result<String, Failure> {
    check_media_type(headers)?;
    let limit = service.limits.max_body_bytes;
    let too_large = || -> Failure {
        let detail = format!("the body is larger than {limit} bytes; send smaller batches");
        Problem::new(413, "content-too-large", "Content too large", detail).with("max_bytes", limit).into()
    };
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let bytes = match to_bytes(body, limit).await {
        Ok(bytes) => bytes,
        // The only errors are the limit and a client that went away; the latter reads no answer.
        Err(_) => return Err(too_large()),
    };
    String::from_utf8(bytes.into()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        malformed(service, &format!("the body is not UTF-8: invalid byte at offset {at}"))
    })
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Failure> {
    let sent = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = sent.as_deref().and_then(|sent| sent.split(';').next()).unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let detail = match sent.as_deref() {
        Some(sent) => format!("the content type is `{sent}`; send `Content-Type: application/json`"),
        None => "the request has no content type; send `Content-Type: application/json`".to_owned(),
    };
    Err(Problem::new(415, "unsupported-media-type", "Unsupported media type", detail).into())
}

/// The body as one `T` that is valid by itself.
pub(super) async fn valid<T: DeserializeOwned + Validate>(
    service: &Service,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Failure> {
    let text = read(service, headers, body).await?;
    let value: T = parse_one(service, &text)?;
    let errors = value.validate();
    if errors.is_empty() { Ok(value) } else { Err(invalid(service, "invalid", &errors)) }
}

/// The text as one `T`.
pub(super) fn parse_one<T: DeserializeOwned>(service: &Service, text: &str) -> Result<T, Failure> {
    json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => invalid(service, "malformed", &[field_error("", text, &error)]),
        _ => malformed(service, &format!("the body is not JSON: {error}")),
    })
}

/// The text as an array of `T`. Every item that does not fit is named.
pub(super) fn parse_many<T: DeserializeOwned>(service: &Service, text: &str) -> Result<Vec<T>, Failure> {
    let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => malformed(service, "the body must be a JSON array of events"),
        _ => malformed(service, &format!("the body is not JSON: {error}")),
    })?;
    let limit = service.limits.max_batch_size;
    if items.len() > limit {
        let detail =
            format!("the batch has {} events, the most is {limit}; send smaller batches", items.len());
        let problem = Problem::new(413, "content-too-large", "Content too large", detail);
        return Err(problem.with("max_batch_size", limit).into());
    }
    let mut parsed = Vec::with_capacity(items.len());
    let mut errors = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        match json::from_str(item.get()) {
            Ok(value) => parsed.push(value),
            Err(error) => errors.push(field_error(&format!("[{index}]"), item.get(), &error)),
        }
    }
    if errors.is_empty() { Ok(parsed) } else { Err(invalid(service, "malformed", &errors)) }
}

/// Which field does not fit, and why, without serde's position.
fn field_error(prefix: &str, text: &str, error: &serde_json::Error) -> FieldError {
    let message = error.to_string();
    let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
    let mut path = path_at(text, offset(text, error));
    // These are noticed at the end of the object, so the field is only in the message.
    let named =
        ["missing field `", "duplicate field `"].into_iter().find_map(|start| reason.strip_prefix(start));
    if let Some(name) = named.and_then(|rest| rest.strip_suffix('`')) {
        path = if path.is_empty() || reason.starts_with("duplicate") {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
    }
    let field = match (prefix, path.as_str()) {
        ("", "") => "body".to_owned(),
        (prefix, "") => prefix.to_owned(),
        ("", path) => path.to_owned(),
        (prefix, path) => format!("{prefix}.{path}"),
    };
    FieldError::new(field, reason)
}

/// The error's line and column as an offset into the text.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    before + error.column()
}

/// The body is not the JSON it should be.
fn malformed(service: &Service, detail: &str) -> Failure {
    service.metrics.refused("body", "malformed");
    Problem::new(400, "invalid-request", "Invalid request", detail).into()
}

/// Fields of the request are refused.
pub(super) fn invalid(service: &Service, reason: &'static str, errors: &[FieldError]) -> Failure {
    for error in errors {
        service.metrics.refused(&error.field, reason);
    }
    let problem = Problem::validation(&errors[..errors.len().min(MAX_ERRORS)]);
    problem.with("errors_total", errors.len()).into()
}
