//! Paths that are no resources: version, health, keys, and the entries of discovery and OpenAPI.

use std::fmt::Write as _;

use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use super::request::RequestInfo;
use super::token::ISSUER;
use super::{Answer, Api, collection};
use super::{answer, discovery, openapi};
use crate::status::Status;

const TEXT: &str = "text/plain; charset=utf-8";

/// The Kubernetes version whose behaviour is followed.
pub const VERSION: &str = "v1.33.0";

/// Names of the checks behind `/readyz` and its relatives. What they would check in a larger server (storage, informers) is in
/// this process, so whoever gets an answer at all gets a good one.
const CHECKS: [&str; 2] = ["ping", "etcd"];

/// Answers a path that is no resource.
pub fn answer(api: &Api, method: &Method, info: &RequestInfo, headers: &HeaderMap) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return answer::error(&Status::method_not_allowed("", "", info.verb));
    }
    let path = info.path.trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        [] => answer::json(StatusCode::OK, &json!({"paths": roots(api)})),
        ["version"] => answer::json(StatusCode::OK, &version()),
        [check @ ("healthz" | "livez" | "readyz"), rest @ ..] => health(check, rest, info),
        ["openid", "v1", "jwks"] => {
            let keys = api.authenticator.tokens.key_set().to_string();
            answer::of_type(StatusCode::OK, "application/jwk-set+json", keys)
        }
        [".well-known", "openid-configuration"] => answer::json(
            StatusCode::OK,
            &json!({
                "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
                "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }),
        ),
        ["metrics"] => answer::of_type(StatusCode::OK, "text/plain; version=0.0.4", metrics(api)),
        ["api" | "apis", ..] => discovery::answer(api, &segments, headers),
        ["openapi", ..] => openapi::answer(api, &segments, info, headers),
        _ => answer::page_not_found(),
    }
}

fn version() -> serde_json::Value {
    let platform = format!("linux/{}", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" });
    json!({
        "major": "1", "minor": "33", "gitVersion": format!("{VERSION}+slipway"), "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": "rustc", "platform": platform,
    })
}

/// The paths there are, as `GET /` lists them.
fn roots(api: &Api) -> Vec<String> {
    let mut paths = vec!["/.well-known/openid-configuration".to_owned(), "/api".into(), "/api/v1".into()];
    paths.push("/apis".into());
    for (group, versions) in discovery::groups(&api.registry()) {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
            paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
        }
    }
    let rest =
        ["healthz", "livez", "metrics", "openapi/v2", "openapi/v3", "openid/v1/jwks", "readyz", "version"];
    paths.extend(rest.map(|path| format!("/{path}")));
    paths
}

fn health(check: &str, rest: &[&str], info: &RequestInfo) -> Answer {
    match rest {
        [] if info.query.iter().any(|(key, _)| key == "verbose") => {
            let mut text: String = CHECKS.iter().map(|name| format!("[+]{name} ok\n")).collect();
            let _ = writeln!(text, "{check} check passed");
            answer::of_type(StatusCode::OK, TEXT, text)
        }
        [] => answer::of_type(StatusCode::OK, TEXT, "ok"),
        [name] if CHECKS.contains(name) => answer::of_type(StatusCode::OK, TEXT, "ok"),
        _ => answer::page_not_found(),
    }
}

/// Objects by resource, in the form Prometheus reads.
fn metrics(api: &Api) -> String {
    let name = "apiserver_storage_objects";
    let mut text = format!("# HELP {name} Number of stored objects.\n# TYPE {name} gauge\n");
    let registry = api.registry();
    let mut collections: Vec<_> = registry.resources().map(|resource| collection(resource)).collect();
    collections.sort();
    collections.dedup();
    for collection in collections {
        let count = api.store.snapshot(&collection).objects.len();
        if count > 0 {
            let qualified = crate::status::qualified(&collection.group, &collection.resource);
            let _ = writeln!(text, "{name}{{resource=\"{qualified}\"}} {count}");
        }
    }
    text
}
