//! OpenAPI: the index of version 3 and a document for each group version.
//!
//! Version 2 is a document without paths and definitions, in JSON and protobuf: `kubectl` asks for it before it sends a `List`,
//! finds nothing to validate against and leaves that to the server. Version 3 is not written in protobuf.

use http::header::{CACHE_CONTROL, ETAG, EXPIRES, IF_NONE_MATCH, LOCATION, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::discovery::{digest, groups};
use super::negotiate;
use super::paths::VERSION;
use super::request::RequestInfo;
use super::{Answer, Api, answer};
use crate::schema::{Registry, builtin};
use crate::status::Status;

const TITLE: &str = "Kubernetes";

/// Media type of version 2 in protobuf, as clients ask for it and as it is sent: `@` is not allowed in one.
const VERSION_2_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const VERSION_2_SENT: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Answers `/openapi/v2`, `/openapi/v3` and the documents below the latter.
pub fn answer(api: &Api, segments: &[&str], info: &RequestInfo, headers: &HeaderMap) -> Answer {
    let ranges = negotiate::ranges(headers);
    let takes_json = ranges.is_empty() || ranges.iter().any(negotiate::Range::takes_json);
    let mut answer = match *segments {
        ["openapi", "v2"] if takes_json => answer::json(
            StatusCode::OK,
            &json!({"swagger": "2.0", "info": {"title": TITLE, "version": VERSION}, "paths": {}}),
        ),
        ["openapi", "v2"] if ranges.iter().any(|range| range.is(VERSION_2_ASKED)) => {
            answer::of_type(StatusCode::OK, VERSION_2_SENT, version_2())
        }
        _ if !takes_json => answer::error(&Status::not_acceptable(answer::JSON)),
        ["openapi", "v3"] => answer::json(StatusCode::OK, &index(&api.registry())),
        ["openapi", "v3", "api", version] => document(&api.registry(), "", version, info, headers),
        ["openapi", "v3", "apis", group, version] => document(&api.registry(), group, version, info, headers),
        _ => answer::page_not_found(),
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

/// The document of version 2 in protobuf (`openapi.v2.Document` of gnostic): `swagger`, `info`, `paths`.
fn version_2() -> Vec<u8> {
    let block = |number: u8, content: &[u8]| {
        // Every length here fits into one byte.
        let mut bytes = vec![number << 3 | 2, content.len() as u8];
        bytes.extend_from_slice(content);
        bytes
    };
    let info = [block(1, TITLE.as_bytes()), block(2, VERSION.as_bytes())].concat();
    [block(1, b"2.0"), block(2, &info), block(8, b"")].concat()
}

fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (group, versions) in groups(registry) {
        for version in versions {
            let path = path_of(&group, &version);
            let url = format!("/openapi/v3/{path}?hash={}", hash(registry, &group, &version));
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

fn path_of(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// Changes whenever the document does. Made from what the document is made from: clients ask for the index much more often than
/// for all documents.
fn hash(registry: &Registry, group: &str, version: &str) -> String {
    let mut source = builtin::fingerprint().to_owned();
    for resource in registry.of_version(group, version) {
        source.push_str(&format!("{}{}{:?}", resource.kind, resource.plural, resource.verbs));
        if let Some(published) = &resource.published {
            source.push_str(&published.to_string());
        }
    }
    digest(&source)
}

fn document(
    registry: &Registry,
    group: &str,
    version: &str,
    info: &RequestInfo,
    headers: &HeaderMap,
) -> Answer {
    if registry.of_version(group, version).next().is_none() {
        return answer::page_not_found();
    }
    let hash = hash(registry, group, version);
    let asked = info.param("hash");
    if !asked.is_empty() && asked != hash {
        // The document changed since the client read the index.
        let mut moved = Answer::default();
        *moved.status_mut() = StatusCode::MOVED_PERMANENTLY;
        answer::set(&mut moved, LOCATION, &format!("/openapi/v3/{}?hash={hash}", path_of(group, version)));
        return moved;
    }
    let tag = format!("\"{hash}\"");
    let mut answer = if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        let mut unchanged = Answer::default();
        *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
        unchanged
    } else {
        answer::json(StatusCode::OK, &registry.openapi_v3(group, version))
    };
    answer::set(&mut answer, ETAG, &tag);
    if !asked.is_empty() {
        let in_a_year = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(365 * 24);
        answer::set(&mut answer, EXPIRES, &in_a_year.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        answer::set(&mut answer, CACHE_CONTROL, "public, immutable");
    }
    answer
}
