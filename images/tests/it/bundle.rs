//! The mirror over to where there is no network.

use std::path::Path;
use std::sync::Arc;

use images::Layout;
use images::client::Source;
use images::document::{Descriptor, LAYER_GZIP};
use images::mirror::{self, Lock, Observer, bundle, declaration, verify};
use images::registry::{Options, serve};

use crate::content::{client, manifest, noise, quiet};
use crate::sides::{BOTH, RULES, Sides};

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_carries_everything_to_a_registry_without_network() {
    let setup = Sides::new().await;
    let shared = noise(60_000, 1);
    setup.publish("library/one", "v1", BOTH, &[&shared]).await;
    let two =
        setup.publish("library/two", "v1", &["linux/amd64", "linux/arm64", "linux/s390x"], &[&shared]).await;
    let upstream = client().repository(&setup.source.host(), "library/two").unwrap();
    let body = noise(100, 77);
    let blob = Descriptor::new("application/octet-stream", images::Digest::of(&body), 100);
    upstream.push_blob(&blob, &Source::Bytes(body), None, &quiet()).await.unwrap();
    let signature_tag = format!("sha256-{}.sig", two.digest.hex());
    upstream.put_manifest(&manifest(&blob, &[], None), &[&signature_tag]).await.unwrap();
    let mirror = setup.mirror(RULES);
    setup.run(&mirror, false).await;
    let old = setup.lock();
    let nobody: Observer = Arc::new(|_| ());

    let first = setup.root.path().join("first");
    let written = bundle::write(&setup.client, &old, None, &first, &nobody).await.unwrap();
    assert_eq!((written.images, written.left_out, written.failures.len()), (2, 0, 0), "{written:?}");
    // Written again, nothing but documents is read.
    let again = bundle::write(&setup.client, &old, None, &first, &nobody).await.unwrap();
    assert_eq!(again.fetched.0, 0, "{again:?}");

    setup.publish("library/one", "v2", BOTH, &[&shared, &noise(9_000, 5)]).await;
    setup.run(&mirror, false).await;
    let second = setup.root.path().join("second");
    let delta = bundle::write(&setup.client, &setup.lock(), Some(&old), &second, &nobody).await.unwrap();
    assert_eq!((delta.images, delta.failures.len()), (3, 0), "{delta:?}");
    let there = Layout::open(&second).unwrap();
    let shared = Descriptor::new(LAYER_GZIP, images::Digest::of(&shared), 60_000);
    assert!(!there.has(&shared) && delta.left_out > 3, "{delta:?}");

    let inside = serve(Options::on_loopback(setup.root.path().join("inside"))).await.unwrap();
    let far = tempfile::tempdir().unwrap();
    std::fs::create_dir(far.path().join("images")).unwrap();
    let to = mirror::Repository { registry: inside.host(), name: "team".to_owned() };
    let load = async |from: &Path| {
        let mut lock = Lock::load(far.path()).unwrap();
        bundle::load(&client(), from, Some(&to), &mut lock, far.path(), &nobody).await
    };
    // The difference alone is not enough, and says what is missing; nothing is tagged that is not complete.
    let short = load(&second).await.unwrap();
    assert!(!short.failures.is_empty(), "{short:?}");
    assert!(short.failures[0].to_string().contains("is this bundle the difference"), "{}", short.failures[0]);
    let loaded = load(&first).await.unwrap();
    assert_eq!((loaded.promoted.len(), loaded.failures.len()), (2, 0), "{loaded:?}");
    let loaded = load(&second).await.unwrap();
    assert_eq!((loaded.promoted.len(), loaded.failures.len()), (3, 0), "{loaded:?}");
    assert_eq!(load(&second).await.unwrap().moves.sent, 0);

    let lock = Lock::load(far.path()).unwrap();
    let nothing = declaration::parse("images/mirror.toml", "").unwrap();
    let verified = verify(&client(), &nothing, &lock, None).await;
    assert_eq!((verified.sound, verified.faults, verified.failures.len()), (3, vec![], 0));
    let copied = client().repository(&inside.host(), "team/mirror/two").unwrap();
    assert!(copied.head_manifest(&signature_tag).await.unwrap().is_some());
    let wanted = format!("{}/mirror/two:v1", setup.destination_seen.host());
    let resolved = lock.resolve(&wanted.parse().unwrap()).unwrap();
    assert!(resolved.starts_with(&format!("{}/team/mirror/two:v1@sha256:", inside.host())), "{resolved}");

    // What was damaged on the way is found before anything is sent.
    std::fs::write(Layout::open(&first).unwrap().blob_path(&shared.digest), b"damaged").unwrap();
    let error = load(&first).await.unwrap_err().to_string();
    assert!(error.contains(shared.digest.hex()), "{error}");
}
