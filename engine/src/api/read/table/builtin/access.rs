//! Roles and bindings.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Cells, Kind};
use crate::api::read::table::text::{age, items, text};

const RBAC: &str = "rbac.authorization.k8s.io";
const BINDING: &str = "Name,Role,Age,Users+,Groups+,ServiceAccounts+";
const CREATED: Cells = |object, _| vec![json!(text(object, "/metadata/creationTimestamp"))];

pub const KINDS: &[Kind] = &[
    Kind { group: RBAC, plural: "roles", columns: "Name,Created At", cells: CREATED },
    Kind { group: RBAC, plural: "clusterroles", columns: "Name,Created At", cells: CREATED },
    Kind { group: RBAC, plural: "rolebindings", columns: BINDING, cells: binding },
    Kind { group: RBAC, plural: "clusterrolebindings", columns: BINDING, cells: binding },
];

fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let role = format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name"));
    let subjects = |kind: &str| {
        let of_kind = items(object, "/subjects").filter(|subject| subject["kind"] == kind);
        let names: Vec<String> = of_kind
            .map(|subject| match text(subject, "/namespace") {
                "" => text(subject, "/name").to_owned(),
                namespace => format!("{namespace}/{}", text(subject, "/name")),
            })
            .collect();
        json!(names.join(", "))
    };
    vec![json!(role), age(object, now), subjects("User"), subjects("Group"), subjects("ServiceAccount")]
}
