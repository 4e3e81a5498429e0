//! Discovery: which groups, versions and resources there are, in one answer (aggregated) or path by path.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use http::header::{ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::subresource::{self, Subresource};
use super::{Answer, Api, answer, negotiate};
use crate::schema::{Registry, Resource};
use crate::status::Status;

/// Answers `/api` and `/apis` and what is below them, up to a group version.
pub fn answer(api: &Api, segments: &[&str], headers: &HeaderMap) -> Answer {
    let registry = api.registry();
    let mut answer = match *segments {
        ["api"] => entry(
            headers,
            |list| aggregated(&registry, true, list),
            || json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ),
        ["apis"] => entry(
            headers,
            |list| aggregated(&registry, false, list),
            || {
                let groups = groups(&registry).into_iter().filter(|(group, _)| !group.is_empty());
                let groups: Vec<Value> =
                    groups.map(|(group, versions)| of_group(&group, &versions)).collect();
                json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
            },
        ),
        ["api", version] => of_version(&registry, "", version),
        ["apis", group] => match groups(&registry).into_iter().find(|(known, _)| known == group) {
            Some((group, versions)) => {
                let mut value = of_group(&group, &versions);
                value["kind"] = json!("APIGroup");
                value["apiVersion"] = json!("v1");
                answer::json(StatusCode::OK, &value)
            }
            None => answer::page_not_found(),
        },
        ["apis", group, version] => of_version(&registry, group, version),
        _ => answer::page_not_found(),
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

/// Group names with their versions, best first; built-in groups before those of custom resources.
pub fn groups(registry: &Registry) -> Vec<(String, Vec<String>)> {
    let mut groups: BTreeMap<(bool, &str), Vec<&str>> = BTreeMap::new();
    for resource in registry.resources() {
        let versions = groups.entry((resource.custom, &resource.group)).or_default();
        if !versions.contains(&resource.version.as_str()) {
            versions.push(&resource.version);
        }
    }
    let groups = groups.into_iter().map(|((_, group), mut versions)| {
        versions.sort_by_key(|version| Reverse(rank(version)));
        (group.to_owned(), versions.into_iter().map(String::from).collect())
    });
    groups.collect()
}

/// Order of versions: `v2`, `v1`, `v1beta2`, `v1beta1`, `v1alpha1`, then anything else.
fn rank(version: &str) -> (u8, u32, u32) {
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let stages = [("alpha", 1), ("beta", 2)];
        match stages.iter().find_map(|(word, stage)| Some((rest.split_once(word)?, *stage))) {
            Some(((major, minor), stage)) => Some((stage, major.parse().ok()?, minor.parse().ok()?)),
            None => Some((3, rest.parse().ok()?, 0)),
        }
    });
    parsed.unwrap_or_default()
}

/// `/api` or `/apis`: aggregated when the client knows that form.
fn entry(headers: &HeaderMap, aggregated: impl Fn(&str) -> Value, plain: impl Fn() -> Value) -> Answer {
    let ranges = negotiate::ranges(headers);
    if ranges.is_empty() {
        return answer::json(StatusCode::OK, &plain());
    }
    for range in ranges.iter().filter(|range| range.takes_json()) {
        let known = match (range.parameter("as"), range.parameter("g"), range.parameter("v")) {
            ("", _, _) => return answer::json(StatusCode::OK, &plain()),
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => {
                Some(("v2", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"))
            }
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => {
                Some(("v2beta1", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"))
            }
            _ => None,
        };
        if let Some((version, media_type)) = known {
            let text = aggregated(version).to_string();
            let tag = format!("\"{}\"", digest(&text));
            if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
                let mut unchanged = Answer::default();
                *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
                answer::set(&mut unchanged, ETAG, &tag);
                return unchanged;
            }
            let mut answer = answer::of_type(StatusCode::OK, media_type, text);
            answer::set(&mut answer, ETAG, &tag);
            return answer;
        }
    }
    answer::error(&Status::not_acceptable(answer::JSON))
}

/// A short fingerprint of a text, for ETags.
pub(super) fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(20).map(|byte| format!("{byte:02X}")).collect()
}

fn of_group(group: &str, versions: &[String]) -> Value {
    let one = |version: &String| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().map(one).collect();
    json!({"name": group, "preferredVersion": all.first(), "versions": all})
}

fn of_version(registry: &Registry, group: &str, version: &str) -> Answer {
    let mut entries = Vec::new();
    for resource in registry.of_version(group, version) {
        entries.push(entry_of(resource));
        entries.extend(subresource::of(resource).iter().map(|sub| entry_of_subresource(resource, sub)));
    }
    if entries.is_empty() {
        return answer::page_not_found();
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let mut list = json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": entries});
    if !group.is_empty() {
        list["apiVersion"] = json!("v1");
    }
    answer::json(StatusCode::OK, &list)
}

fn entry_of(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": resource.verbs,
    });
    names(resource, &mut entry);
    if resource.verbs.iter().any(|verb| verb == "list") {
        entry["storageVersionHash"] = json!(storage_version_hash(resource));
    }
    entry
}

/// Short names and categories, where there are any.
fn names(resource: &Resource, entry: &mut Value) {
    for (key, names) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !names.is_empty() {
            entry[key] = json!(names);
        }
    }
}

/// Opaque to clients; they only compare it.
fn storage_version_hash(resource: &Resource) -> String {
    use base64::Engine as _;
    let storage = format!("{}/{}/{}", resource.group, resource.version, resource.kind);
    let digest = Sha256::digest(storage);
    base64::engine::general_purpose::STANDARD.encode(digest.get(..8).unwrap_or_default())
}

fn entry_of_subresource(resource: &Resource, sub: &Subresource) -> Value {
    let mut entry = Map::new();
    entry.insert("name".into(), json!(format!("{}/{}", resource.plural, sub.name)));
    entry.insert("singularName".into(), json!(""));
    entry.insert("namespaced".into(), json!(resource.namespaced));
    match sub.kind {
        Some((group, version, kind)) => {
            entry.insert("group".into(), json!(group));
            entry.insert("version".into(), json!(version));
            entry.insert("kind".into(), json!(kind));
        }
        None => drop(entry.insert("kind".into(), json!(resource.kind))),
    }
    entry.insert("verbs".into(), json!(sub.verbs));
    Value::Object(entry)
}

/// Everything below `/api` (the core group) or `/apis` (all others), in one list.
fn aggregated(registry: &Registry, core: bool, list_version: &str) -> Value {
    let groups = groups(registry).into_iter().filter(|(group, _)| group.is_empty() == core);
    let items = groups.map(|(group, versions)| {
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| {
                let resources: Vec<Value> =
                    registry.of_version(&group, version).map(|r| in_list(r)).collect();
                json!({"version": version, "resources": resources, "freshness": "Current"})
            })
            .collect();
        let metadata = if core { json!({}) } else { json!({"name": group}) };
        json!({"metadata": metadata, "versions": versions})
    });
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{list_version}"),
        "metadata": {}, "items": items.collect::<Vec<_>>(),
    })
}

fn in_list(resource: &Resource) -> Value {
    let kind = |(group, version, kind): (&str, &str, &str)| json!({"group": group, "version": version, "kind": kind});
    let own = (resource.group.as_str(), resource.version.as_str(), resource.kind.as_str());
    let mut entry = json!({
        "resource": resource.plural, "responseKind": kind(own),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": resource.verbs,
    });
    names(resource, &mut entry);
    let subresources: Vec<Value> = subresource::of(resource)
        .iter()
        .map(|sub| {
            let response = sub.kind.unwrap_or(own);
            json!({"subresource": sub.name, "responseKind": kind(response), "verbs": sub.verbs})
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = json!(subresources);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_maturity() {
        let mut versions = ["v1alpha1", "v1", "v2beta1", "odd", "v10", "v1beta2", "v2"];
        versions.sort_by_key(|version| Reverse(rank(version)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "odd"]);
    }

    #[test]
    fn subresources_are_listed_with_what_is_sent_there() {
        let registry = Registry::builtin();
        let pods = in_list(&registry.resource("", "v1", "pods").unwrap());
        let eviction = pods["subresources"].as_array().unwrap().iter();
        let eviction = eviction.clone().find(|sub| sub["subresource"] == "eviction").unwrap();
        assert_eq!(eviction["responseKind"], json!({"group": "policy", "version": "v1", "kind": "Eviction"}));
        let deployments = registry.resource("apps", "v1", "deployments").unwrap();
        let scale = entry_of_subresource(&deployments, &subresource::find(&deployments, "scale").unwrap());
        assert_eq!((&scale["name"], &scale["kind"]), (&json!("deployments/scale"), &json!("Scale")));
    }
}
