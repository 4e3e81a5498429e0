//! One lock from upstream to what runs: what the mirror copies is what images stand on and clusters pull, by digest.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use ci::facts::Facts;
use ci::plan::{self, Request};
use ci::run::Run;
use images::client::{Client, Options, Source};
use images::document::{
    CONFIG, Descriptor, DescriptorPlatform, INDEX, Index, LAYER_GZIP, MANIFEST, Manifest, Raw,
};
use images::layer::{self, Content, Entry};
use images::mirror::{Lock, lock};
use images::recipe::Compression;
use images::registry::{self, Running, serve};
use images::wire::{self, Wire};
use images::{Digest, Platform};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::workspace::Workspace;

const PIPELINE: &str = r#"
description = "Deploy it"
deadline = "5m"
[images]
[cluster]
provider = "embedded"
declaration = "kind/cluster.yaml"
deadline = "1m"
[deploy]
[[tier]]
name = "build"
kind = "compile"
[[tier]]
name = "scenarios"
kind = "tests"
tests = ["scenarios"]
needs = ["build"]
cluster = true
"#;

const CARGO: &str = r#"
[build]
target = "host-tuple"
[target.'cfg(target_env = "gnu")']
rustflags = ["-C", "target-feature=+crt-static"]
"#;

/// Upstream and the approved registry, a wire to each, and a workspace whose images all come from upstream.
struct World {
    workspace: Workspace,
    upstream: Running,
    upstream_wire: Wire,
    approved_wire: Wire,
    _approved: Running,
    /// The base as it is at upstream, and its layer.
    base: [Digest; 2],
}

impl World {
    async fn new() -> World {
        let workspace = Workspace::new();
        let upstream =
            serve(registry::Options::on_loopback(workspace.root().join("upstream"))).await.unwrap();
        let approved =
            serve(registry::Options::on_loopback(workspace.root().join("approved"))).await.unwrap();
        let upstream_wire = Wire::to(upstream.address(), wire::Options::default()).await.unwrap();
        let approved_wire = Wire::to(approved.address(), wire::Options::default()).await.unwrap();
        let base = publish(&upstream, "bases/small", "v1", "NAME=small").await;
        publish(&upstream, "kindest/node", "v1", "a node").await;
        publish(&upstream, "library/postgres", "16", "a database").await;
        let world = World { workspace, upstream, upstream_wire, approved_wire, _approved: approved, base };
        world.declare();
        world
    }

    fn declare(&self) {
        let (from, to) = (self.upstream_wire.host(), self.approved_wire.host());
        let rule = |source: &str, name: &str, tag: &str| {
            format!(
                "[[image]]\nsource = \"{from}/{source}\"\ndestination = \"{to}/own/{name}\"\ntags = [\"{tag}\"]\n"
            )
        };
        let rules = [
            rule("bases/small", "small", "v1"),
            rule("kindest/node", "node", "v1"),
            rule("library/postgres", "postgres", "16"),
        ];
        let kustomization = |entry: &str| {
            format!(
                "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n  - {entry}\n"
            )
        };
        let base = format!("{from}/bases/small:v1@{}", self.base[0]);
        let platform = Platform::host();
        for (file, text) in [
            ("images/mirror.toml", rules.concat()),
            ("ci/pipelines/e2e.toml", PIPELINE.to_owned()),
            ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"app\"]\n".to_owned()),
            (".cargo/config.toml", CARGO.to_owned()),
            (
                "app/Cargo.toml",
                "[package]\nname = \"app\"\nversion = \"1.0.0\"\nedition = \"2024\"\n".to_owned(),
            ),
            ("app/src/main.rs", "fn main() { println!(\"app 1.0\") }".to_owned()),
            (
                "images/images.toml",
                format!(
                    "[image.app]\npackage = \"app\"\nbase = \"{base}\"\nuser = \"65532:65532\"\nplatforms = [\"{platform}\"]\n"
                ),
            ),
            (
                "kind/cluster.yaml",
                format!(
                    "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nname: loop\nnodes:\n  - role: control-plane\n    image: {from}/kindest/node:v1\n"
                ),
            ),
            ("manifests/components.toml", "[component.database]\ndeadline = \"60s\"\n".to_owned()),
            ("manifests/kustomization.yaml", kustomization("database")),
            ("manifests/database/kustomization.yaml", kustomization("deployment.yaml")),
            (
                "manifests/database/deployment.yaml",
                format!(
                    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: database, namespace: default}}\nspec:\n  selector: {{matchLabels: {{app: database}}}}\n  template:\n    metadata: {{labels: {{app: database}}}}\n    spec:\n      containers:\n        - name: postgres\n          image: {from}/library/postgres:16\n"
                ),
            ),
        ] {
            self.workspace.write(file, &text);
        }
    }

    fn lock(&self) -> Lock {
        Lock::load(self.workspace.root()).unwrap()
    }

    /// The reference by digest that the lock has for a repository of the approved registry.
    fn copy(&self, name: &str) -> String {
        let lock = self.lock();
        let destination = format!("{}/own/{name}", self.approved_wire.host());
        let locked = lock.images.values().find(|locked| locked.destination == destination);
        locked.expect("the lock has it").reference()
    }

    /// The image of the node, and the YAML that is applied.
    async fn deployed(&self) -> [String; 2] {
        let root = self.workspace.root();
        let home = root.join("target/slipway");
        let declaration = ci::declaration::load(root, "e2e").unwrap();
        let facts = Facts::gather_for(&declaration.spec, root, &home).await;
        let request = Request { root: root.to_path_buf(), home: home.clone(), ..Request::default() };
        let plan = plan::plan(&declaration, &facts, &request).unwrap();
        let run = Run::create(&home, "e2e", Timestamp::now()).unwrap();
        ci::site::render(plan.deploy.as_ref().unwrap(), &BTreeMap::new(), &run).unwrap();
        let yaml = fs::read_to_string(run.file("manifests/00-database.yaml")).unwrap();
        [plan.cluster.unwrap().spec.nodes[0].image.clone().unwrap(), yaml]
    }
}

/// Pushes an image of one file for this machine past the wire; gives its digest and that of its layer.
async fn publish(upstream: &Running, name: &str, tag: &str, content: &str) -> [Digest; 2] {
    let repository = Client::new(Options::default()).repository(&upstream.host(), name).unwrap();
    let file = Entry {
        path: "/etc/os-release".into(),
        mode: 0o644,
        content: Content::Bytes(content.as_bytes().to_vec()),
    };
    let (packed, diff_id) = layer::write(&[file], Compression::Gzip(6), Vec::new()).unwrap();
    let host = Platform::host();
    let config = json!({
        "created": "2026-01-01T00:00:00Z", "architecture": host.architecture(), "os": host.os(),
        "config": {"Env": ["BASE=yes"]}, "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    });
    let config = Raw::of(CONFIG, &config).unwrap();
    let layer = Descriptor::new(LAYER_GZIP, Digest::of(&packed), packed.len() as u64);
    for (blob, bytes) in [(&layer, packed.into()), (&config.descriptor(), config.bytes.clone())] {
        repository.push_blob(blob, &Source::Bytes(bytes), None, &(Arc::new(|_| ()) as _)).await.unwrap();
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        artifact_type: None,
        config: config.descriptor(),
        layers: vec![layer.clone()],
        subject: None,
        annotations: BTreeMap::new(),
    };
    let manifest = Raw::of(MANIFEST, &manifest).unwrap();
    repository.put_manifest(&manifest, &[]).await.unwrap();
    let listed = Descriptor { platform: Some(DescriptorPlatform::from(&host)), ..manifest.descriptor() };
    let index = Raw::of(INDEX, &Index::new(vec![listed])).unwrap();
    repository.put_manifest(&index, &[tag]).await.unwrap();
    [index.digest, layer.digest]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_lock_serves_the_mirror_the_builds_and_the_clusters() {
    let world = World::new().await;
    let workspace = &world.workspace;

    // Planned, done as planned, and nothing else.
    let told = workspace.ends(&["mirror", "plan", "--out", "plan.json"], 10).await;
    assert_eq!(told.matches("add      ").count(), 3, "{told}");
    workspace.ends(&["mirror", "sync", "--plan", "plan.json"], 0).await;
    assert_eq!(world.lock().images.len(), 3);
    workspace.ends(&["mirror", "verify"], 0).await;

    // An image stands on the copy of its base, which is asked for by digest. Upstream is not asked for anything.
    for wire in [&world.upstream_wire, &world.approved_wire] {
        wire.forget();
    }
    let made = workspace.ends(&["build-images", "--profile", "dev", "--layout", "layout", "--json"], 0).await;
    let made: Value = serde_json::from_str(&made).unwrap();
    let digest: Digest =
        made["images"][0]["manifests"][0]["manifest"]["digest"].as_str().unwrap().parse().unwrap();
    let layout = images::Layout::open(workspace.root().join("layout")).unwrap();
    let manifest: Value = serde_json::from_slice(&fs::read(layout.blob_path(&digest)).unwrap()).unwrap();
    assert_eq!(manifest["layers"][0]["digest"], world.base[1].to_string());
    assert_eq!(world.upstream_wire.exchanges(), []);
    let asked: Vec<String> = world.approved_wire.exchanges().into_iter().map(|one| one.path).collect();
    assert!(asked.contains(&format!("/v2/own/small/manifests/{}", world.base[0])), "{asked:?}");
    assert!(!asked.iter().any(|path| path.ends_with("/manifests/v1")), "{asked:?}");

    // So do nodes and pods.
    let [node, yaml] = world.deployed().await;
    let first = world.copy("postgres");
    assert_eq!(node, world.copy("node"));
    assert!(yaml.contains(&first), "{yaml}");

    // Upstream moves a tag: that is said, and changes nothing until somebody asks.
    let moved = publish(&world.upstream, "library/postgres", "16", "another database").await;
    let before = fs::read(workspace.root().join(lock::FILE)).unwrap();
    let told = workspace.ends(&["mirror", "plan", "--out", "plan.json"], 10).await;
    assert!(told.contains(&format!("own/postgres:16 stays {}", first.split_once('@').unwrap().1)), "{told}");
    assert!(told.contains(&format!("has {} (move it with --update)", moved[0])), "{told}");
    for arguments in [&["mirror", "sync"][..], &["mirror", "sync", "--plan", "plan.json"]] {
        let told = workspace.ends(arguments, 10).await;
        assert!(told.contains("(move it with --update)"), "{told}");
    }
    assert_eq!(fs::read(workspace.root().join(lock::FILE)).unwrap(), before);

    // Moved, everything follows; rolled back, everything is as it was, and stays so.
    workspace.ends(&["mirror", "sync", "--update"], 0).await;
    assert!(world.copy("postgres").ends_with(&moved[0].to_string()));
    assert!(world.deployed().await[1].contains(&world.copy("postgres")));
    workspace.ends(&["mirror", "rollback", first.split_once('@').unwrap().0], 0).await;
    assert_eq!(world.copy("postgres"), first);
    assert!(world.deployed().await[1].contains(&first));
    workspace.ends(&["mirror", "verify"], 0).await;
    workspace.ends(&["mirror", "sync", "--update"], 0).await;
    assert_eq!(world.copy("postgres"), first);
}
