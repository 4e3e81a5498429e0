//! Images on other images: fetched by digest, carried along, mounted where they go.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use images::base::{self, BaseError};
use images::build::BuildError;
use images::client::Source;
use images::document::{
    CONFIG, DOCKER_LAYER_GZIP, Descriptor, DescriptorPlatform, INDEX, Index, MANIFEST, Manifest, Raw,
};
use images::layer::{self, Content, Entry};
use images::plan::{BuildPlan, BuildRequest, Platforms, plan};
use images::recipe::Compression;
use images::registry::{Options, Running, serve};
use images::{Digest, Layout, Platform, PublishEvent, build, publish, recipe, toolchain};
use serde_json::{Value, json};

use crate::content::{client, quiet};

/// Pushes a base of one layer for this machine's platform; gives its reference.
async fn push_base(registry: &Running) -> String {
    let repository = client().repository(&registry.host(), "bases/small").unwrap();
    let file =
        Entry { path: "/etc/os-release".into(), mode: 0o644, content: Content::Bytes(b"NAME=small".into()) };
    let (packed, diff_id) = layer::write(&[file], Compression::Gzip(6), Vec::new()).unwrap();
    let host = Platform::host();
    let config = json!({
        "architecture": host.architecture(), "os": "linux",
        "config": { "Env": ["PATH=/bin", "BASE=yes"], "Cmd": ["/bin/sh"], "StopSignal": "SIGINT" },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
        "history": [{ "created_by": "somebody" }],
    });
    let config = Raw::of(CONFIG, &config).unwrap();
    let layer = Descriptor::new(DOCKER_LAYER_GZIP, Digest::of(&packed), packed.len() as u64);
    for (blob, bytes) in [(&layer, packed.into()), (&config.descriptor(), config.bytes.clone())] {
        repository.push_blob(blob, &Source::Bytes(bytes), None, &quiet()).await.unwrap();
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_string()),
        artifact_type: None,
        config: config.descriptor(),
        layers: vec![layer],
        subject: None,
        annotations: Default::default(),
    };
    let manifest = Raw::of(MANIFEST, &manifest).unwrap();
    repository.put_manifest(&manifest, &[]).await.unwrap();
    let mut listed = manifest.descriptor();
    listed.platform = Some(DescriptorPlatform::from(&host));
    let index = Raw::of(INDEX, &Index::new(vec![listed])).unwrap();
    repository.put_manifest(&index, &["v1"]).await.unwrap();
    format!("{}/bases/small:v1@{}", registry.host(), index.digest)
}

/// A workspace whose only image stands on `base`, with bundles of ours in a layer.
fn workspace(dir: &Path, base: &str) -> PathBuf {
    let root = crate::workspace::workspace(dir);
    let recipes = format!(
        r#"
        [defaults]
        user = "65532:65532"
        platforms = ["linux/amd64", "linux/arm64"]
        [layer.outside]
        files = [{{ path = "/etc/ssl/certs/ca-certificates.crt", bundle = "ca-certificates" }}]
        directories = [{{ path = "/usr/share/zoneinfo", bundle = "tzdata" }}]
        [image.app]
        package = "greeter"
        bin = "greeter"
        base = "{base}"
        layers = ["outside"]
        environment = {{ PATH = "/own" }}
        "#
    );
    fs::write(root.join("images/images.toml"), recipes).unwrap();
    root
}

fn planned(root: &Path, compression: Option<Compression>) -> BuildPlan {
    let request = BuildRequest {
        root: root.to_path_buf(),
        cache: root.join("target/slipway"),
        images: Vec::new(),
        platforms: Platforms::Host,
        profile: None,
        compression,
        source_date_epoch: 0,
        toolchains: toolchain::Facts::gather(root, &root.join("target/slipway/toolchains")),
        container: None,
        origin: None,
    };
    plan(&recipe::load(root).unwrap(), &request).unwrap()
}

fn documents(plan: &BuildPlan, manifest: &Descriptor) -> (Manifest, Value) {
    let layout = Layout::open(&plan.layout).unwrap();
    let manifest: Manifest = layout.document(manifest).unwrap();
    let config = layout.document(&manifest.config).unwrap();
    (manifest, config)
}

#[tokio::test]
async fn an_image_stands_on_its_base_and_the_base_is_mounted_where_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let registry = serve(Options::on_loopback(dir.path().join("registry"))).await.unwrap();
    let base = push_base(&registry).await;
    let root = workspace(dir.path(), &base);
    let destination = format!("{}/team:v1", registry.host()).parse().unwrap();
    let plan = planned(&root, None);
    let nobody = || Arc::new(|_: PublishEvent| ());
    let published = publish(plan.clone(), &destination, &client(), nobody()).await.unwrap();
    // The base's layer is mounted; the bundles, the program and the config are sent.
    assert_eq!((published.pushed.mounted, published.pushed.blobs), (1, 3));

    let image = &published.images[0];
    let (manifest, config) = documents(&plan, &image.manifests[0].manifest);
    assert!(manifest.layers.iter().all(|layer| layer.media_type == images::document::LAYER_GZIP));
    assert_eq!(config["config"]["Env"], json!(["BASE=yes", "PATH=/own"]));
    assert_eq!(config["config"]["StopSignal"], "SIGINT");
    assert_eq!(
        (&config["config"]["Cmd"], config["config"]["User"].as_str()),
        (&Value::Null, Some("65532:65532"))
    );
    assert_eq!(config["history"].as_array().unwrap().len(), 3);
    let files = |position: usize| {
        let layout = Layout::open(&plan.layout).unwrap();
        let mut paths = Vec::new();
        layer::read::each_entry(layout.open_blob(&manifest.layers[position].digest).unwrap(), |path, _| {
            paths.push(path);
            Ok::<_, std::io::Error>(())
        })
        .unwrap();
        paths
    };
    assert!(files(0).contains(&"/etc/os-release".to_string()));
    let bundled = files(1);
    for path in ["/etc/ssl/certs/ca-certificates.crt", "/usr/share/zoneinfo/Europe/Berlin"] {
        assert!(bundled.contains(&path.to_string()), "{path}");
    }

    // A digest does not change, so the registry is not needed again.
    registry.stop().await;
    base::fetch(&plan, &client()).await.unwrap();
    let again = tokio::task::spawn_blocking(move || build(&plan, &|_| ()).unwrap()).await.unwrap();
    assert_eq!((again[0].cached, &again[0].index), (true, &image.index));
}

#[tokio::test]
async fn layers_packed_with_zstd_are_the_same_layers() {
    let dir = tempfile::tempdir().unwrap();
    let registry = serve(Options::on_loopback(dir.path().join("registry"))).await.unwrap();
    let root = workspace(dir.path(), &push_base(&registry).await);
    let [gzip, zstd] = [None, Some(Compression::Zstd(3))].map(|compression| planned(&root, compression));
    base::fetch(&gzip, &client()).await.unwrap();
    let mut seen = Vec::new();
    for plan in [gzip, zstd] {
        let images = build(&plan, &|_| ()).unwrap();
        assert!(!images[0].proof.is_empty());
        let (manifest, config) = documents(&plan, &images[0].manifests[0].manifest);
        seen.push((manifest.layers[2].media_type.clone(), config["rootfs"].clone(), manifest.annotations));
    }
    assert_eq!(seen[0].1, seen[1].1, "the content is the same");
    assert_eq!(seen[1].0, images::document::LAYER_ZSTD);
    let compressor = &seen[1].2["dev.slipway.layer.compressor"];
    assert!(compressor.ends_with("zstd level 3") && compressor.contains("+zstd.1."), "{compressor}");
}

#[tokio::test]
async fn a_base_that_cannot_be_had_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let registry = serve(Options::on_loopback(dir.path().join("registry"))).await.unwrap();
    let gone = format!("{}/bases/gone@{}", registry.host(), Digest::of(b"gone"));
    let plan = planned(&workspace(dir.path(), &gone), None);
    let error = base::fetch(&plan, &client()).await.unwrap_err();
    assert!(matches!(error, BaseError::Absent { .. }), "{error}");
    assert!(error.to_string().contains(&gone), "{error}");
    let error = build(&plan, &|_| ()).unwrap_err();
    assert!(matches!(error, BuildError::Base { .. }), "{error}");

    let foreign = Platform::all().find(|platform| *platform != Platform::host()).unwrap();
    let base = push_base(&registry).await;
    let mut plan = planned(&workspace(&dir.path().join("other"), &base), None);
    plan.images[0].platforms = vec![foreign.clone()];
    let error = base::fetch(&plan, &client()).await.unwrap_err().to_string();
    assert!(
        error.contains(&foreign.to_string()) && error.contains(Platform::host().architecture()),
        "{error}"
    );
}
