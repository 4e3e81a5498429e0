//! Answers: JSON in the form the client accepts, errors, and the headers both carry.

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use serde_json::Value;

use super::negotiate::{self, Form};
use super::read::{metadata, table};
use super::{Answer, Call};
use crate::status::Status;

/// Media type of nearly everything.
pub const JSON: &str = "application/json";

/// An answer of this type.
pub fn of_type(code: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// JSON that is text already.
pub fn json_text(code: StatusCode, text: impl Into<Bytes>) -> Answer {
    of_type(code, JSON, text.into())
}

/// A value as JSON, whatever the client accepts.
pub fn json(code: StatusCode, value: &Value) -> Answer {
    json_text(code, value.to_string())
}

/// One object in the form the client accepts: itself, as a table, or its metadata. A `Status` is always sent as itself.
pub fn object(call: &Call, code: StatusCode, value: &Value) -> Result<Answer, Status> {
    let form = negotiate::form(&call.headers)?;
    if value["kind"] == "Status" {
        return Ok(json(code, value));
    }
    Ok(match form {
        Form::Object => json(code, value),
        Form::Metadata => json(code, &metadata::of_object(value)),
        Form::Table => json(code, &table::of_object(call, value)?),
    })
}

/// An error.
pub fn error(status: &Status) -> Answer {
    let code = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = json(code, &status.to_json());
    if let Some(seconds) = status.retry_after() {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// The answer for a path that nothing is behind.
pub fn page_not_found() -> Answer {
    of_type(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 page not found\n")
}

/// Adds a `Warning` header for each text; `kubectl` prints them.
pub fn warn<T: AsRef<str>>(answer: &mut Answer, warnings: &[T]) {
    for warning in warnings {
        let mut value = "299 - \"".to_owned();
        for character in warning.as_ref().chars().filter(|character| !character.is_control()) {
            if matches!(character, '"' | '\\') {
                value.push('\\');
            }
            value.push(character);
        }
        value.push('"');
        // Characters outside ASCII are allowed in header values, control characters are filtered out above.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            answer.headers_mut().append(WARNING, value);
        }
    }
}

/// Sets a header whose value is known to be clean.
pub(super) fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted() {
        let mut answer = json(StatusCode::OK, &Value::Null);
        warn(&mut answer, &["unknown field \"spec.x\"", "two\nlines"]);
        let values: Vec<_> = answer.headers().get_all(WARNING).iter().collect();
        assert_eq!(values, [r#"299 - "unknown field \"spec.x\"""#, r#"299 - "twolines""#]);
    }

    #[test]
    fn an_error_says_when_to_come_back() {
        let answer = error(&Status::too_many_requests("slow down", 7));
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()[RETRY_AFTER], "7");
    }
}
