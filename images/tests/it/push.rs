//! Images from a layout to a registry.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use images::client::Client;
use images::push::{self, Observer};
use images::registry::{Options, Running, serve};
use images::{BuiltImage, Destination, Layout, PushEvent, Pushed, sign};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};

use crate::content::{client, client_with, image, layout, noise};
use crate::scripted::{Reply, Scripted};

struct Setup {
    layout: Layout,
    images: Vec<BuiltImage>,
    behind: Running,
    dir: tempfile::TempDir,
}

/// Three images that share their lowest layer, and an empty registry.
async fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    let shared = noise(50_000, 1);
    let images = ["one", "two", "three"]
        .map(|name| image(&layout, name, &[&shared, &noise(20_000, name.len() as u64 * 7)]));
    let behind = serve(Options::on_loopback(dir.path().join("registry"))).await.unwrap();
    Setup { layout, images: images.to_vec(), behind, dir }
}

fn destination(host: String) -> Destination {
    Destination { registry: host, prefix: "team".to_string(), tags: vec!["v1".to_string()] }
}

async fn run(setup: &Setup, host: String, client: &Client) -> Result<Pushed, push::PushError> {
    let nobody: Observer = Arc::new(|_| ());
    push::push(&setup.layout, &setup.images, &destination(host), client, &nobody).await
}

#[tokio::test]
async fn each_blob_is_sent_once_and_mounted_where_it_is_wanted_again() {
    let setup = setup().await;
    let pushed = run(&setup, setup.behind.host(), &client()).await.unwrap();
    // The shared layer, and of each image its own layer (those of `one` and `two` are equal) and its config.
    assert_eq!((pushed.blobs, pushed.mounted, pushed.manifests), (1 + 2 + 3, 2 + 1, 6));
    for image in &setup.images {
        let repository = client().repository(&setup.behind.host(), &format!("team/{}", image.name)).unwrap();
        assert_eq!(repository.head_manifest("v1").await.unwrap().unwrap().digest, image.index.digest);
        let reference = format!("{}/team/{}@{}", setup.behind.host(), image.name, image.index.digest);
        assert_eq!(pushed.references[&image.name], reference);
    }
}

#[tokio::test]
async fn nothing_changed_is_one_head_per_image_and_no_bytes() {
    let setup = setup().await;
    let server = Scripted::before(setup.behind.address(), |_| None).await;
    run(&setup, server.host(), &client()).await.unwrap();
    server.forget();
    let pushed = run(&setup, server.host(), &client()).await.unwrap();
    assert_eq!(server.methods(), ["HEAD"; 3]);
    assert_eq!((pushed.bytes, pushed.blobs, pushed.manifests), (0, 0, 0));
    assert_eq!(pushed.references.len(), 3);
}

#[tokio::test]
async fn one_image_changed_moves_only_its_layer() {
    let mut setup = setup().await;
    run(&setup, setup.behind.host(), &client()).await.unwrap();
    setup.images[1] = image(&setup.layout, "two", &[&noise(50_000, 1), &noise(30_000, 99)]);
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = events.clone();
    let observer: Observer = Arc::new(move |event| told.lock().unwrap().push(event));
    let destination = destination(setup.behind.host());
    let pushed = push::push(&setup.layout, &setup.images, &destination, &client(), &observer).await.unwrap();
    assert_eq!((pushed.blobs, pushed.mounted, pushed.manifests), (1, 0, 2));
    let events = events.lock().unwrap();
    assert!(
        matches!(events[0], PushEvent::Planned { blobs: 1, bytes: 30_000, unchanged: 2 }),
        "{:?}",
        events[0]
    );
    let sent: u64 =
        events.iter().map(|event| if let PushEvent::Progress { bytes } = event { *bytes } else { 0 }).sum();
    assert_eq!(sent, 30_000);
}

#[tokio::test]
async fn a_push_that_breaks_off_leaves_no_name_and_the_next_one_completes_it() {
    let setup = setup().await;
    let impatient = client_with(images::client::Options { attempts: 1, ..Default::default() });
    for failing in ["/blobs/uploads/", "/manifests/sha256"] {
        let server = Scripted::before(setup.behind.address(), move |seen| {
            (seen.method != "HEAD" && seen.path.contains(failing) && seen.path.contains("/two/"))
                .then(|| Reply::status(500))
        })
        .await;
        let error = run(&setup, server.host(), &impatient).await.unwrap_err();
        assert!(error.to_string().contains("two"), "{error}");
        let repository = client().repository(&setup.behind.host(), "team/two").unwrap();
        assert!(repository.head_manifest("v1").await.unwrap().is_none());
    }
    let pushed = run(&setup, setup.behind.host(), &client()).await.unwrap();
    assert_eq!(pushed.references.len(), 3);
    let again = run(&setup, setup.behind.host(), &client()).await.unwrap();
    assert_eq!(again.bytes, 0);
}

/// A new key, as `openssl genpkey` writes it.
fn key() -> String {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key.as_ref()))
}

#[tokio::test]
async fn a_signature_is_made_once_and_holds() {
    let setup = setup().await;
    let path = setup.dir.path().join("cosign.key");
    std::fs::write(&path, key()).unwrap();
    let signer = sign::Signer::read(&path).unwrap();
    let destination = destination(setup.behind.host());
    let pushed = run(&setup, setup.behind.host(), &client()).await.unwrap();
    assert_eq!(sign::sign(&pushed, &destination, &client(), &signer).await.unwrap(), 3);
    assert_eq!(sign::sign(&pushed, &destination, &client(), &signer).await.unwrap(), 0);

    let image = &setup.images[0];
    let repository = client().repository(&setup.behind.host(), "team/one").unwrap();
    let tag = format!("sha256-{}.sig", image.index.digest.hex());
    let manifest = repository.manifest(&tag).await.unwrap().unwrap();
    let manifest: images::document::Manifest = serde_json::from_slice(&manifest.bytes).unwrap();
    let statement = repository.blob(&manifest.layers[0], 1 << 16).await.unwrap();
    let signature = &manifest.layers[0].annotations["dev.cosignproject.cosign/signature"];
    let signature = STANDARD.decode(signature).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, signer.public_key());
    public.verify(&statement, &signature).unwrap();
    let statement: serde_json::Value = serde_json::from_slice(&statement).unwrap();
    assert_eq!(statement["critical"]["image"]["docker-manifest-digest"], image.index.digest.to_string());
    assert_eq!(
        statement["critical"]["identity"]["docker-reference"],
        format!("{}/team/one", setup.behind.host())
    );
}

#[test]
fn what_is_no_key_is_refused_with_the_command_that_makes_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cosign.key");
    for text in ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        std::fs::write(&path, text).unwrap();
        let error = sign::Signer::read(&path).unwrap_err();
        assert!(error.to_string().contains("cosign.key"), "{error}");
        assert!(error.hint().unwrap().contains("openssl genpkey"), "{:?}", error.hint());
    }
}

#[tokio::test]
async fn malformed_destinations_are_refused() {
    let setup = setup().await;
    let nobody: Observer = Arc::new(|_| ());
    for (prefix, tag) in [("Team", "v1"), ("team", "v 1"), ("../x", "v1")] {
        let destination = Destination {
            registry: setup.behind.host(),
            prefix: prefix.to_string(),
            tags: vec![tag.to_string()],
        };
        let result = push::push(&setup.layout, &setup.images, &destination, &client(), &nobody).await;
        assert!(matches!(result, Err(push::PushError::Destination { .. })), "{prefix} {tag}");
    }
}
