//! What cargo knows about the crates of a workspace. Asking takes cargo most of a second, so the answer is kept for as long as the lock file, the
//! manifests and cargo's configuration say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use crate::digest::Digest;

/// The part of `cargo metadata` that is needed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Metadata {
    pub(super) packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Package {
    pub id: String,
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    pub source: Option<String>,
    pub repository: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kind {
    /// Nothing for an ordinary dependency, else `build` or `dev`.
    kind: Option<String>,
}

/// An answer of cargo, and what it depends on.
#[derive(Serialize, Deserialize)]
struct Kept {
    inputs: Digest,
    metadata: Metadata,
}

/// What cargo knows about the workspace at `root`, for one target; `cache` remembers it.
pub fn metadata(root: &Path, triple: &str, cache: &Path) -> io::Result<Metadata> {
    let place = cache.join(format!("metadata-{triple}.json"));
    let kept = fs::read(&place).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
    if let Some(Kept { inputs, metadata }) = kept
        && metadata.inputs(root).is_ok_and(|now| now == inputs)
    {
        return Ok(metadata);
    }
    let shell = Shell::new().map_err(io::Error::other)?;
    shell.change_dir(root);
    let command = cmd!(shell, "cargo metadata --format-version 1 --filter-platform {triple}").quiet();
    let said = command.read().map_err(io::Error::other)?;
    let metadata: Metadata = serde_json::from_str(&said)?;
    let kept = Kept { inputs: metadata.inputs(root)?, metadata };
    fs::create_dir_all(cache)?;
    let mut file = tempfile::NamedTempFile::new_in(cache)?;
    serde_json::to_writer(&mut file, &kept)?;
    file.persist(&place)?;
    Ok(kept.metadata)
}

impl Metadata {
    /// The digest of every file cargo's answer depends on. A crate that is new to the workspace is named in a manifest or the lock file.
    fn inputs(&self, root: &Path) -> io::Result<Digest> {
        let own = self.packages.iter().filter(|package| package.source.is_none());
        let manifests = own.map(|package| package.manifest_path.clone());
        let around = ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"].map(|name| root.join(name));
        let mut digests = Vec::new();
        for path in manifests.chain(around) {
            let content = match fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                content => content?,
            };
            digests.push((path, Digest::of(&content)));
        }
        Ok(Digest::of(&serde_json::to_vec(&digests)?))
    }
}

impl Package {
    pub fn is_macro(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    /// The package URL: what scanners look up.
    pub fn purl(&self) -> String {
        let Package { name, version, .. } = self;
        // `+` begins a qualifier.
        let version = version.replace('+', "%2B");
        format!("pkg:cargo/{name}@{version}")
    }
}

/// Who needs whom, tests and build scripts left out.
pub(super) fn edges(metadata: &Metadata) -> BTreeMap<&str, Vec<&str>> {
    let mut edges = BTreeMap::new();
    for node in &metadata.resolve.nodes {
        let ordinary =
            node.deps.iter().filter(|needed| needed.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        edges.insert(node.id.as_str(), ordinary.map(|needed| needed.pkg.as_str()).collect());
    }
    edges
}

pub(super) fn reachable<'a>(
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

/// `app` needs `left`, which needs `right`; `derive` is a macro that needs `syn`; `harness` is for tests only.
#[cfg(test)]
pub(super) fn sample() -> Metadata {
    use serde_json::{Value, json};

    let package = |name: &str, kind: &str, source: Option<&str>| {
        json!({
            "id": format!("id-{name}"), "name": name, "version": "1.0.0+x", "license": "MIT/Apache-2.0",
            "source": source, "repository": null, "manifest_path": format!("/w/{name}/Cargo.toml"), "targets": [{ "kind": [kind] }],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_kept_until_a_manifest_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (root, cache) = (dir.path().join("workspace"), dir.path().join("cache"));
        fs::create_dir_all(root.join("src")).unwrap();
        let manifest = |version: &str| {
            let text = format!(
                "[package]\nname = \"app\"\nversion = \"{version}\"\nedition = \"2024\"\n[workspace]\n"
            );
            fs::write(root.join("Cargo.toml"), text).unwrap();
        };
        manifest("1.0.0");
        fs::write(root.join("src/main.rs"), "fn main() {}").unwrap();
        let version =
            || metadata(&root, &crate::platform::host_triple(), &cache).unwrap().packages[0].version.clone();
        assert_eq!(version(), "1.0.0");
        let place = cache.join(format!("metadata-{}.json", crate::platform::host_triple()));
        let kept = fs::read_to_string(&place).unwrap();
        fs::write(&place, kept.replace("1.0.0", "9.9.9")).unwrap();
        assert_eq!(version(), "9.9.9", "what was kept is used");
        manifest("2.0.0");
        assert_eq!(version(), "2.0.0");
    }
}
