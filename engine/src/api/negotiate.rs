//! The form of an answer, by the `Accept` header: the object itself, a table for people, or metadata only.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::status::Status;

/// How objects are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Object,
    /// `PartialObjectMetadata`, or a list of them.
    Metadata,
    /// `Table`.
    Table,
}

/// What is written, as the refusal names it.
const WRITTEN: &str = "application/json";

/// The first form the client accepts that can be written. Protobuf and YAML are passed over.
pub fn form(headers: &HeaderMap) -> Result<Form, Status> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Ok(Form::Object);
    }
    ranges.iter().find_map(Range::form).ok_or_else(|| Status::not_acceptable(WRITTEN))
}

/// One media range of an `Accept` header.
#[derive(Debug, PartialEq)]
pub(super) struct Range<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

/// The media ranges of all `Accept` headers, best first, in the client's order where it prefers none.
pub(super) fn ranges(headers: &HeaderMap) -> Vec<Range<'_>> {
    let texts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let texts = texts.flat_map(|value| value.split(',')).map(str::trim).filter(|text| !text.is_empty());
    let mut ranges: Vec<Range<'_>> = texts
        .map(|text| {
            let mut parts = text.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let quality = parameters.iter().find(|(name, _)| *name == "q");
            let quality = quality.and_then(|(_, value)| value.parse().ok()).unwrap_or(1.0);
            Range { media_type, parameters, quality }
        })
        .collect();
    ranges.sort_by(|left, right| right.quality.total_cmp(&left.quality));
    ranges
}

impl Range<'_> {
    /// The value of a parameter; empty when absent.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Whether it is this media type.
    pub(super) fn is(&self, media_type: &str) -> bool {
        self.media_type == media_type
    }

    /// Whether JSON is in the range.
    pub(super) fn takes_json(&self) -> bool {
        matches!(self.media_type, "application/json" | "application/*" | "*/*")
    }

    fn form(&self) -> Option<Form> {
        if !self.takes_json() {
            return None;
        }
        match (self.parameter("as"), self.parameter("g"), self.parameter("v")) {
            ("", _, _) => Some(Form::Object),
            ("Table", "meta.k8s.io", "v1") => Some(Form::Table),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => {
                Some(Form::Metadata)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: Option<Form>) {
        let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
        assert_eq!(form(&headers).ok(), expected, "{accept}");
    }

    #[test]
    fn the_first_form_that_can_be_written_is_taken() {
        check("*/*", Some(Form::Object));
        check("application/vnd.kubernetes.protobuf,application/json", Some(Form::Object));
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(Form::Table));
        check("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some(Form::Object));
        check("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::Metadata));
        check("application/json;q=0.5, application/json;as=Table;v=v1;g=meta.k8s.io", Some(Form::Table));
    }

    #[test]
    fn nothing_known_is_refused() {
        check("application/vnd.kubernetes.protobuf", None);
        check("application/json;as=Unknown;v=v1;g=meta.k8s.io", None);
        assert_eq!(form(&HeaderMap::new()), Ok(Form::Object));
    }
}
