//! From source to a proven image in a registry: cargo really runs, on a workspace with nothing to download.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use images::build::BuildError;
use images::document::{ImageConfig, Index, Manifest};
use images::plan::{BuildPlan, BuildRequest, Platforms, plan};
use images::proof::{Boot, Linkage};
use images::registry::{Options, serve};
use images::{
    BuildEvent, BuiltImage, Destination, Digest, Layout, PublishEvent, attest, build, prove, publish, recipe,
    toolchain,
};

use crate::content::client;
use crate::workspace::{PROGRAM, workspace};

fn request(root: &Path) -> BuildRequest {
    BuildRequest {
        root: root.to_path_buf(),
        cache: root.join("target/slipway"),
        images: Vec::new(),
        platforms: Platforms::Host,
        profile: None,
        compression: None,
        source_date_epoch: 1_700_000_000,
        toolchains: toolchain::Facts::gather(root, &root.join("target/slipway/toolchains")),
        container: None,
        origin: None,
    }
}

fn planned(root: &Path) -> BuildPlan {
    plan(&recipe::load(root).unwrap(), &request(root)).unwrap()
}

/// Builds; gives the images and how many crates were compiled.
fn built(root: &Path) -> (Vec<BuiltImage>, usize) {
    let compiled = Mutex::new(0);
    let images = build(&planned(root), &|event| {
        if let BuildEvent::CompileFinished { compiled: count, .. } = event {
            *compiled.lock().unwrap() += count;
        }
    });
    (images.unwrap(), compiled.into_inner().unwrap())
}

fn digests(images: &[BuiltImage]) -> Vec<Digest> {
    images.iter().map(|image| image.index.digest.clone()).collect()
}

#[tokio::test]
async fn source_becomes_a_reference_that_can_be_pulled_and_nothing_happens_twice() {
    let dir = tempfile::tempdir().unwrap();
    let root = workspace(dir.path());
    let registry = serve(Options::on_loopback(dir.path().join("registry"))).await.unwrap();
    let destination =
        Destination { tags: vec!["latest".to_string()], ..Destination::registry(registry.host()) };
    let nobody = || Arc::new(|_: PublishEvent| ());

    let first = publish(planned(&root), &destination, &client(), nobody()).await.unwrap();
    let proof: Vec<_> = first.images.iter().flat_map(|image| &image.proof).collect();
    let answers: Vec<_> = proof
        .iter()
        .map(|row| match &row.boot {
            Boot::Native { answer } => (row.file.as_str(), answer.as_str()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        answers,
        [("/usr/local/bin/greeter", "greeter 1.0"), ("/usr/local/bin/other-tool", "other 2.0")]
    );
    assert!(proof.iter().all(|row| row.linkage == Linkage::Static), "{proof:?}");

    // What the registry has is the image the recipe describes.
    let repository = client().repository(&registry.host(), "greeter").unwrap();
    let reference = &first.pushed.references["greeter"];
    let (_, digest) = reference.split_once('@').unwrap();
    let index: Index =
        serde_json::from_slice(&repository.manifest(digest).await.unwrap().unwrap().bytes).unwrap();
    assert_eq!(index.manifests.len(), 1);
    let manifest = repository.manifest(&index.manifests[0].digest.to_string()).await.unwrap().unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest.bytes).unwrap();
    let config: ImageConfig =
        serde_json::from_slice(&repository.blob(&manifest.config, 1 << 20).await.unwrap()).unwrap();
    assert_eq!(config.created.as_deref(), Some("2023-11-14T22:13:20Z"));
    assert_eq!(config.config.user.as_deref(), Some("65532:65532"));
    assert_eq!(config.config.env, ["GREETING=hello"]);
    assert_eq!(config.rootfs.diff_ids.len(), manifest.layers.len());

    let second = publish(planned(&root), &destination, &client(), nobody()).await.unwrap();
    assert!(second.images.iter().all(|image| image.cached));
    assert_eq!((second.pushed.bytes, digests(&second.images)), (0, digests(&first.images)));
}

#[test]
fn only_what_changed_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = workspace(dir.path());
    let (first, compiled) = built(&root);
    assert_eq!(compiled, 2);
    fs::write(root.join("greeter/src/main.rs"), PROGRAM.replace("1.0", "1.1")).unwrap();
    let (second, compiled) = built(&root);
    assert_eq!(compiled, 1);
    assert_eq!(second.iter().map(|image| image.cached).collect::<Vec<_>>(), [false, true]);
    let (before, after) = (digests(&first), digests(&second));
    assert!(before[0] != after[0] && before[1] == after[1], "{before:?} {after:?}");
}

#[test]
fn the_digest_depends_on_neither_path_nor_time() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, two] = dirs.each_ref().map(|dir| {
        let root = workspace(&dir.path().join("somewhere"));
        digests(&built(&root).0)
    });
    assert_eq!(one, two);
}

#[test]
fn a_lost_blob_is_packed_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = workspace(dir.path());
    let (first, _) = built(&root);
    let layout = Layout::open(&planned(&root).layout).unwrap();
    let manifest: Manifest = layout.document(&first[0].manifests[0].manifest).unwrap();
    fs::remove_file(layout.blob_path(&manifest.layers[1].digest)).unwrap();
    let (second, _) = built(&root);
    assert_eq!(digests(&first), digests(&second));
    assert!(layout.is_complete(&second[0].manifests[0].manifest));
}

#[test]
fn a_recipe_that_lies_about_its_architecture_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let root = workspace(dir.path());
    let (first, _) = built(&root);
    let built = root.join("target").join(images::platform::host_triple()).join("debug/greeter");
    let mut program = fs::read(built).unwrap();
    // The machine number in the ELF header: s390x.
    program[18..20].copy_from_slice(&22u16.to_le_bytes());
    fs::write(root.join("foreign"), program).unwrap();
    let recipes = "[defaults]\nuser = \"1:1\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
                   [image.liar]\nprebuilt = \"foreign\"\nentrypoint = \"/bin/liar\"\n";
    fs::write(root.join("images/images.toml"), recipes).unwrap();
    let error = build(&planned(&root), &|_| ()).unwrap_err();
    let BuildError::Proof(error) = error else { panic!("{error}") };
    let host = images::Platform::host();
    let message = error.to_string();
    for part in ["liar", "/bin/liar", "s390x", host.architecture()] {
        assert!(message.contains(part), "{message}");
    }
    assert!(error.hint().unwrap().contains("images/images.toml"));
    assert_eq!(first.len(), 2);
}

#[test]
fn a_compiler_error_is_shown_in_the_compilers_words() {
    let dir = tempfile::tempdir().unwrap();
    let root = workspace(dir.path());
    fs::write(root.join("greeter/src/main.rs"), "fn main() { nowhere() }").unwrap();
    let error = build(&planned(&root), &|_| ()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("`greeter`") && message.contains("cannot find function `nowhere`"), "{message}");
    assert!(error.hint().unwrap().contains("cargo check -p greeter"), "{:?}", error.hint());
}

#[tokio::test]
async fn bill_of_materials_and_provenance_lie_beside_the_image_and_change_nothing_about_it() {
    let dir = tempfile::tempdir().unwrap();
    let root = workspace(dir.path());
    let registry = serve(Options::on_loopback(dir.path().join("registry"))).await.unwrap();
    let (plain, _) = built(&root);
    let origin = attest::Origin {
        commit: Some("0123456789abcdef".to_string()),
        changed: false,
        repository: Some("https://git.example/team/app".to_string()),
        compiler: None,
    };
    let described = BuildRequest { origin: Some(origin), images: vec!["tool".to_string()], ..request(&root) };
    let described = || plan(&recipe::load(&root).unwrap(), &described).unwrap();
    let destination = Destination::registry(registry.host());
    let nobody = || Arc::new(|_: PublishEvent| ());
    let published = publish(described(), &destination, &client(), nobody()).await.unwrap();
    let image = &published.images[0];
    assert_eq!(image.index, plain[1].index);

    let repository = client().repository(&registry.host(), "tool").unwrap();
    let read = async |subject: &Digest, kind: &str| {
        let found = repository.referrers(subject, Some(kind)).await.unwrap();
        assert_eq!(found.len(), 1, "{kind}");
        let manifest = repository.manifest(&found[0].digest.to_string()).await.unwrap().unwrap();
        let manifest: Manifest = serde_json::from_slice(&manifest.bytes).unwrap();
        let document = repository.blob(&manifest.layers[0], 1 << 20).await.unwrap();
        serde_json::from_slice::<serde_json::Value>(&document).unwrap()
    };
    let sbom = read(&image.manifests[0].manifest.digest, attest::SBOM).await;
    assert_eq!(sbom["metadata"]["component"]["purl"], "pkg:cargo/greeter@1.0.0");
    let statement = read(&image.index.digest, attest::PROVENANCE).await;
    assert_eq!(statement["subject"][0]["digest"]["sha256"], image.index.digest.hex());
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["resolvedDependencies"][0]["digest"]["gitCommit"], "0123456789abcdef");

    let again = publish(described(), &destination, &client(), nobody()).await.unwrap();
    assert_eq!((again.pushed.bytes, &again.images[0].attestations), (0, &image.attestations));
    Layout::open(&described().layout).unwrap().prune().unwrap();
}

#[test]
fn a_second_build_under_other_circumstances_shows_what_depends_on_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = workspace(dir.path());
    // What cargo is told above the workspace counts as well.
    fs::rename(root.join(".cargo"), dir.path().join(".cargo")).unwrap();
    fs::write(
        root.join("greeter/src/bin/other-tool.rs"),
        "fn main() { println!(\"built in {}\", env!(\"CARGO_MANIFEST_DIR\")) }",
    )
    .unwrap();
    let request = BuildRequest { profile: Some("release".to_string()), ..request(&root) };
    let plan = plan(&recipe::load(&root).unwrap(), &request).unwrap();
    let images = build(&plan, &|_| ()).unwrap();
    let proven = prove::prove(&plan, &images, &|_| ()).unwrap();
    assert_eq!(proven[0].difference, None);
    match &proven[1].difference {
        Some(prove::Difference::File { file, byte, .. }) => {
            assert_eq!(file, "/usr/local/bin/other-tool");
            assert!(*byte > 0);
        }
        other => panic!("{other:?}"),
    }
}
