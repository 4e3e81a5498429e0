//! The bill of materials of a program: CycloneDX 1.6 out of what cargo knows. Only what is compiled into the program counts; what
//! merely helps to compile it (procedural macros and their dependencies) is listed as excluded.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::metadata::{Metadata, Package, edges, reachable};

/// The bill of materials of the program `bin` of `package`; nothing if the workspace has no such crate. Pure.
pub fn document(metadata: &Metadata, lock: &str, package: &str, bin: &str) -> Option<Value> {
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let root = metadata.packages.iter().find(|found| found.name == package && found.source.is_none())?;
    let edges = edges(metadata);
    let inside = reachable(&root.id, &edges, |id| !packages.get(id).is_some_and(|found| found.is_macro()));
    let everything = reachable(&root.id, &edges, |_| true);
    let checksums = checksums(lock);

    let mut components = Vec::new();
    let mut dependencies = Vec::new();
    for id in &everything {
        let Some(found) = packages.get(id) else { continue };
        let needed = edges.get(id).into_iter().flatten().filter(|id| everything.contains(*id));
        let needed: BTreeSet<String> =
            needed.filter_map(|id| packages.get(id)).map(|found| found.purl()).collect();
        dependencies.push(json!({ "ref": found.purl(), "dependsOn": needed }));
        if *id != root.id {
            components.push(component(found, inside.contains(id), &checksums));
        }
    }
    let mut document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": { "components": [{ "type": "application", "name": "slipway", "version": env!("CARGO_PKG_VERSION") }] },
            "component": {
                "type": "application",
                "bom-ref": root.purl(),
                "name": bin,
                "version": root.version,
                "purl": root.purl(),
                "licenses": root.license.iter().map(|text| json!({ "expression": text })).collect::<Vec<_>>(),
            },
        },
        "components": components,
        "dependencies": dependencies,
    });
    // The same content has the same number, whenever and wherever it is written.
    let serial = Uuid::new_v5(&Uuid::NAMESPACE_URL, document.to_string().as_bytes());
    document["serialNumber"] = json!(format!("urn:uuid:{serial}"));
    Some(document)
}

fn component(package: &Package, is_inside: bool, checksums: &BTreeMap<(String, String), String>) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": package.purl(),
        "name": package.name,
        "version": package.version,
        "purl": package.purl(),
        "scope": if is_inside { "required" } else { "excluded" },
    });
    if let Some(license) = &package.license {
        // An old way to write "or".
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if let Some(checksum) = checksums.get(&(package.name.clone(), package.version.clone())) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(repository) = &package.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

/// Checksums of the crates in `Cargo.lock`.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    #[derive(Default, Deserialize)]
    struct Lock {
        #[serde(default)]
        package: Vec<Locked>,
    }
    #[derive(Deserialize)]
    struct Locked {
        name: String,
        version: String,
        checksum: Option<String>,
    }
    let Lock { package } = toml::from_str(lock).unwrap_or_default();
    package
        .into_iter()
        .filter_map(|Locked { name, version, checksum }| Some(((name, version), checksum?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::metadata::sample;
    use super::*;

    fn scopes(document: &Value) -> Vec<String> {
        let components = document["components"].as_array().unwrap();
        let line =
            |component: &Value| format!("{} {}", component["name"], component["scope"]).replace('"', "");
        components.iter().map(line).collect()
    }

    #[test]
    fn what_is_in_the_program_is_told_from_what_helped_to_make_it() {
        let document = document(&sample(), "", "app", "program").unwrap();
        let expected = ["derive excluded", "left required", "right required", "syn excluded"];
        assert_eq!(scopes(&document), expected);
        assert_eq!(document["metadata"]["component"]["name"], "program");
        assert_eq!(document["components"][1]["purl"], "pkg:cargo/left@1.0.0%2Bx");
        assert_eq!(document["components"][1]["licenses"][0]["expression"], "MIT OR Apache-2.0");
    }

    #[test]
    fn checksums_come_from_the_lock_file_and_the_number_from_the_content() {
        let lock = "[[package]]\nname = \"left\"\nversion = \"1.0.0+x\"\nchecksum = \"abc\"\n";
        let with = document(&sample(), lock, "app", "app").unwrap();
        assert_eq!(with["components"][1]["hashes"][0]["content"], "abc");
        assert_eq!(with, document(&sample(), lock, "app", "app").unwrap());
        assert_ne!(with["serialNumber"], document(&sample(), "", "app", "app").unwrap()["serialNumber"]);
        assert_eq!(document(&sample(), lock, "left", "left"), None);
    }
}
