//! The mirror between two of Docker's registries, and between one of them and ours.

use std::path::Path;
use std::sync::Arc;

use images::Layout;
use images::client::Source;
use images::mirror::{self, Lock, Mirror, Observer, Run, declaration, observe, plan, sync, verify};
use images::registry::{self, serve};

use crate::content::{blob, client, layout, manifest, noise, quiet};
use crate::registries::{Docker, images_in, push_to};

/// One run: what was promoted.
async fn run(root: &Path, mirror: &Mirror) -> mirror::Synced {
    let client = client();
    let mut lock = Lock::load(root).unwrap();
    let observed = observe(&client, &mirror.rules).await;
    assert!(observed.failures.is_empty(), "{:?}", observed.failures);
    let plan = plan(&mirror.rules, &lock, &observed.seen, false);
    let (observer, cache): (Observer, _) = (Arc::new(|_| ()), root.join("cache"));
    let run = Run { client: &client, mirror, root, cache: &cache, signer: None, observer: &observer };
    sync(run, &plan, &mut lock).await.unwrap()
}

/// Copies two images, one with a signature and an SBOM, and compares both sides.
async fn copies_everything(from: &str, to: &str, layout: &Layout, root: &Path) {
    std::fs::create_dir_all(root.join("images")).unwrap();
    let images = images_in(layout);
    push_to(from, layout, &images).await;
    let source = client().repository(from, "team/one").unwrap();
    let body = noise(500, 40);
    source.push_blob(&blob(&body), &Source::Bytes(body.clone()), None, &quiet()).await.unwrap();
    let subject = source.manifest("v1").await.unwrap().unwrap();
    let about = manifest(&blob(&body), &[], Some(subject.descriptor()));
    source.put_manifest(&about, &[]).await.unwrap();
    let signature = format!("sha256-{}.sig", subject.digest.hex());
    source.put_manifest(&manifest(&blob(&body), &[blob(&body)], None), &[&signature]).await.unwrap();

    let rule = |name: &str| {
        format!(
            "[[image]]\nsource = \"{from}/team/{name}\"\ndestination = \"{to}/mirror/{name}\"\ntags = [\"v1\"]\n"
        )
    };
    let mirror = declaration::parse("images/mirror.toml", &(rule("one") + &rule("three"))).unwrap();
    let synced = run(root, &mirror).await;
    assert_eq!((synced.promoted.len(), synced.failures.len()), (2, 0), "{synced:?}");
    assert!(run(root, &mirror).await.promoted.is_empty());
    let lock = Lock::load(root).unwrap();
    let verified = verify(&client(), &mirror, &lock, None).await;
    assert_eq!((verified.sound, verified.faults, verified.failures.len()), (2, vec![], 0));

    let copy = client().repository(to, "mirror/one").unwrap();
    assert_eq!(copy.manifest("v1").await.unwrap().unwrap(), subject);
    assert!(copy.head_manifest(&signature).await.unwrap().is_some());
    let found = copy.referrers(&subject.digest, None).await.unwrap();
    assert!(found.iter().any(|found| found.digest == about.digest), "{found:?}");
    // The SBOM, and what is said about the copy.
    assert_eq!(found.len(), 2, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_one_docker_registry_to_another() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (Docker::start(), Docker::start());
    copies_everything(&from.host, &to.host, &layout(dir.path()), dir.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_docker_registry_to_ours_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let docker = Docker::start();
    let ours = serve(registry::Options::on_loopback(dir.path().join("ours"))).await.unwrap();
    copies_everything(&docker.host, &ours.host(), &layout(dir.path()), &dir.path().join("there")).await;
    let other = Docker::start();
    copies_everything(&ours.host(), &other.host, &layout(dir.path()), &dir.path().join("back")).await;
}
