//! One recipe, built natively and by every container engine that is here: the same program is proven, whoever built it.
//!
//! Needs a toolchain image that the engines have or can pull, with cargo and a C compiler: `SLIPWAY_TOOLCHAIN=registry/rust@sha256:…`.

use std::collections::BTreeMap;

use images::container::{Container, Engine};
use images::document::{ImageConfig, Manifest};
use images::plan::{BuildRequest, Platforms, plan};
use images::proof::Boot;
use images::{BuildPlan, BuiltImage, Layout, build, recipe, toolchain};

use crate::workspace::workspace;

fn planned(root: &std::path::Path, container: Option<Container>) -> BuildPlan {
    let request = BuildRequest {
        root: root.to_path_buf(),
        cache: root.join("target/slipway"),
        images: vec!["greeter".to_string()],
        platforms: Platforms::Host,
        profile: Some("release".to_string()),
        compression: None,
        source_date_epoch: 1_700_000_000,
        container,
        toolchains: toolchain::Facts::gather(root, &root.join("target/slipway/toolchains")),
        origin: None,
    };
    plan(&recipe::load(root).unwrap(), &request).unwrap()
}

/// What a recipe decides about an image, without what differs between builders.
fn promised(
    plan: &BuildPlan,
    image: &BuiltImage,
) -> (String, Vec<String>, BTreeMap<String, String>, Vec<String>) {
    let layout = Layout::open(&plan.layout).unwrap();
    let manifest: Manifest = layout.document(&image.manifests[0].manifest).unwrap();
    let ImageConfig { config, .. } = layout.document(&manifest.config).unwrap();
    let ports = config.exposed_ports.keys().cloned().collect();
    (config.user.unwrap(), config.entrypoint, config.labels, ports)
}

#[test]
fn every_engine_builds_what_the_recipe_says() {
    let toolchain = std::env::var("SLIPWAY_TOOLCHAIN").expect("these tests need SLIPWAY_TOOLCHAIN");
    let engines: Vec<Engine> = Engine::ALL.into_iter().filter(|engine| engine.answers()).collect();
    assert!(
        !engines.is_empty(),
        "these tests need a container engine\n  hint: apt-get install buildah podman"
    );
    let dir = tempfile::tempdir().unwrap();
    let root = workspace(dir.path());
    std::fs::write(
        root.join("Cargo.lock"),
        "version = 4\n\n[[package]]\nname = \"greeter\"\nversion = \"1.0.0\"\n",
    )
    .unwrap();
    let own = planned(&root, None);
    let ours = build(&own, &|_| ()).unwrap();
    for engine in engines {
        let container =
            Container { engine, toolchain: toolchain.parse().unwrap(), arguments: arguments(engine) };
        let plan = planned(&root, Some(container));
        let images = build(&plan, &|event| println!("{event:?}"))
            .unwrap_or_else(|error| panic!("{engine}: {error:?}"));
        let (_, _, labels, _) = promised(&plan, &images[0]);
        let (user, entrypoint, expected, ports) = promised(&own, &ours[0]);
        let theirs = promised(&plan, &images[0]);
        assert_eq!((theirs.0, theirs.1, theirs.3), (user, entrypoint, ports), "{engine}");
        assert!(expected.iter().all(|label| labels.get(label.0) == Some(label.1)), "{engine}: {labels:?}");
        let program = images[0].proof.iter().find(|row| row.file == "/usr/local/bin/greeter").unwrap();
        assert!(
            matches!(&program.boot, Boot::Native { answer } if answer == "greeter 1.0"),
            "{engine}: {program:?}"
        );
    }
}

/// Where programs may not make namespaces, buildah needs none.
fn arguments(engine: Engine) -> Vec<String> {
    match engine {
        Engine::Buildah => vec!["--isolation=chroot".to_string(), "--tls-verify=false".to_string()],
        Engine::Podman => vec!["--isolation=chroot".to_string(), "--tls-verify=false".to_string()],
        Engine::Docker => Vec::new(),
    }
}
