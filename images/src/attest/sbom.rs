//! The bill of materials of a program: CycloneDX 1.6 out of what cargo knows. Only what is compiled into the program counts; what
//! merely helps to compile it (procedural macros and their dependencies) is listed as excluded.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use xshell::{Shell, cmd};

/// The part of `cargo metadata` that is needed.
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Clone, Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    repository: Option<String>,
    targets: Vec<Target>,
}

#[derive(Clone, Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Clone, Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Clone, Debug, Deserialize)]
struct Kind {
    /// Nothing for an ordinary dependency, else `build` or `dev`.
    kind: Option<String>,
}

/// Asks cargo about the workspace at `root`, for one target.
pub fn metadata(root: &Path, triple: &str) -> io::Result<Metadata> {
    let shell = Shell::new().map_err(io::Error::other)?;
    shell.change_dir(root);
    let command = cmd!(shell, "cargo metadata --format-version 1 --filter-platform {triple}").quiet();
    let said = command.read().map_err(io::Error::other)?;
    Ok(serde_json::from_str(&said)?)
}

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

impl Package {
    fn is_macro(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    /// The package URL: what scanners look up.
    fn purl(&self) -> String {
        let Package { name, version, .. } = self;
        // `+` begins a qualifier.
        let version = version.replace('+', "%2B");
        format!("pkg:cargo/{name}@{version}")
    }
}

/// Who needs whom, tests and build scripts left out.
fn edges(metadata: &Metadata) -> BTreeMap<&str, Vec<&str>> {
    let mut edges = BTreeMap::new();
    for node in &metadata.resolve.nodes {
        let ordinary =
            node.deps.iter().filter(|needed| needed.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        edges.insert(node.id.as_str(), ordinary.map(|needed| needed.pkg.as_str()).collect());
    }
    edges
}

fn reachable<'a>(
    root: &'a str,
    edges: &BTreeMap<&'a str, Vec<&'a str>>,
    enters: impl Fn(&str) -> bool,
) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if enters(id) && found.insert(id) {
            open.extend(edges.get(id).into_iter().flatten());
        }
    }
    found
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
    use super::*;

    /// `app` needs `left`, which needs `right`; `derive` is a macro that needs `syn`; `harness` is for tests only.
    fn sample() -> Metadata {
        let package = |name: &str, kind: &str, source: Option<&str>| {
            json!({
                "id": format!("id-{name}"), "name": name, "version": "1.0.0+x", "license": "MIT/Apache-2.0",
                "source": source, "repository": null, "targets": [{ "kind": [kind] }],
            })
        };
        let needs = |names: &[(&str, Option<&str>)]| -> Vec<Value> {
            let need = |(name, kind): &(&str, Option<&str>)| json!({ "pkg": format!("id-{name}"), "dep_kinds": [{ "kind": kind }] });
            names.iter().map(need).collect()
        };
        let node = |name: &str, deps: Vec<Value>| json!({ "id": format!("id-{name}"), "deps": deps });
        let registry = Some("registry");
        serde_json::from_value(json!({
            "packages": [
                package("app", "bin", None), package("left", "lib", registry), package("right", "lib", registry),
                package("derive", "proc-macro", registry), package("syn", "lib", registry),
                package("harness", "lib", registry), package("other", "lib", registry),
            ],
            "resolve": { "nodes": [
                node("app", needs(&[("left", None), ("derive", None), ("harness", Some("dev"))])),
                node("left", needs(&[("right", None)])), node("right", vec![]),
                node("derive", needs(&[("syn", None)])), node("syn", vec![]),
                node("harness", vec![]), node("other", vec![]),
            ] },
        }))
        .unwrap()
    }

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
