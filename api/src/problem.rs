//! Errors of the HTTP services: `application/problem+json` (RFC 9457).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Media type of a [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";
/// Prefix of every problem type; a slug follows.
pub const TYPE_PREFIX: &str = "https://kubernaut.ai/problems/";

/// What went wrong with a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// URI of the kind of problem, [`TYPE_PREFIX`] and a slug such as `validation-error`.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// The kind of problem in words.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// What happened this time, and what to do about it.
    pub detail: String,
    /// The request or resource concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Further members, such as `field_errors` (field path to text).
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub extensions: BTreeMap<String, Value>,
}

impl Problem {
    /// A problem of kind `slug`.
    pub fn new(status: u16, slug: &str, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            type_uri: format!("{TYPE_PREFIX}{slug}"),
            title: title.into(),
            status,
            detail: detail.into(),
            instance: None,
            extensions: BTreeMap::new(),
        }
    }

    /// A 400 that lists each offending field.
    pub fn validation(errors: &[crate::audit::FieldError]) -> Self {
        let detail = match errors {
            [] => "the request is not valid".to_owned(),
            [only] => only.to_string(),
            [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
        };
        let fields = errors.iter().map(|error| (error.field.clone(), Value::from(error.reason.clone())));
        let mut problem = Self::new(400, "validation-error", "Validation failed", detail);
        problem.extensions.insert("field_errors".to_owned(), Value::Object(fields.collect()));
        problem
    }

    /// Names the request or resource concerned.
    #[must_use]
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Adds a further member.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.extensions.insert(member.to_owned(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_members_of_the_problem() {
        let problem = Problem::new(404, "not-found", "Not found", "no such event").with("id", "e1");
        let value = serde_json::to_value(&problem).unwrap();
        assert_eq!(value["type"], "https://kubernaut.ai/problems/not-found");
        assert_eq!(value["id"], "e1");
        assert_eq!(serde_json::from_value::<Problem>(value).unwrap(), problem);
    }
}
