//! Images from one registry to another: what moves, what stays, and what is refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use images::Layout;
use images::document::{Index, Manifest, Raw};
use images::mirror::{self, Action, Standing, backup_tag, rollback, verify};

use crate::content::{client, noise};
use crate::scripted::{Reply, Seen};
use crate::sides::{BOTH, RULES, Sides};

fn gets(seen: &[Seen], path: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.method == "GET" && seen.path.contains(path)) {
        *counts.entry(seen.path.rsplit('/').next().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn each_blob_crosses_once_and_is_mounted_where_it_is_wanted_again() {
    let setup = Sides::new().await;
    let shared = noise(60_000, 1);
    let one = setup.publish("library/one", "v1", BOTH, &[&shared]).await;
    setup.publish("library/one", "v2.0", BOTH, &[&shared, &noise(9_000, 5)]).await;
    setup.publish("library/two", "v1", BOTH, &[&shared]).await;
    let mirror = setup.mirror(RULES);
    let (mut planned, _) = setup.plan(&mirror, &setup.lock(), false).await;
    assert!(
        mirror::measure(&setup.client, &mirror, &mut planned, &setup.root.path().join("cache"))
            .await
            .is_empty()
    );
    setup.source_seen.forget();
    let synced = setup.run(&mirror, false).await;
    assert!(synced.failures.is_empty(), "{:?}", synced.failures);
    assert_eq!(synced.promoted.len(), 3);
    // What was measured before is what came.
    for step in &planned.steps {
        let locked = &setup.lock().images[&(step.destination.clone(), step.tag.clone())];
        assert_eq!(step.size, Some(locked.size), "{}", step.tag);
    }
    assert!(synced.moves.mounted > 0, "{:?}", synced.moves);
    let layers = gets(&setup.source_seen.seen(), "/blobs/");
    assert!(layers.values().all(|count| *count == 1), "{layers:?}");
    assert_eq!(layers[&images::Digest::of(&shared).to_string()], 1);
    assert_eq!(setup.digest("mirror/one", "v1").await, Some(one.digest.to_string()));
    let lock = setup.lock();
    assert_eq!(lock.images.len(), 3);
    let locked = &lock.images[&(format!("{}/mirror/one", setup.destination_seen.host()), "v1".to_owned())];
    assert_eq!(locked.platforms.keys().collect::<Vec<_>>(), ["linux/amd64", "linux/arm64"]);
    assert_eq!(std::fs::read_dir(setup.root.path().join("cache/blobs/sha256")).unwrap().count(), 0);
    // The copy says where it came from.
    let target = client().repository(&setup.destination.host(), "mirror/one").unwrap();
    let about = target.referrers(&one.digest, None).await.unwrap();
    assert_eq!(about.len(), 1, "{about:?}");
    let verified = verify(&client(), &mirror, &lock, None).await;
    assert_eq!((verified.sound, verified.faults.len(), verified.failures.len()), (3, 0, 0), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_do_is_one_head_per_image_at_each_side() {
    let setup = Sides::new().await;
    setup.publish("library/one", "v1", BOTH, &[]).await;
    setup.publish("library/two", "v1", BOTH, &[]).await;
    let mirror = setup.mirror(&RULES.replace("globs = [\"*\"]", "tags = [\"v1\"]"));
    setup.run(&mirror, false).await;
    let lock = std::fs::read(setup.root.path().join(mirror::lock::FILE)).unwrap();
    setup.source_seen.forget();
    setup.destination_seen.forget();
    let synced = setup.run(&mirror, true).await;
    assert_eq!((synced.standing(false), synced.lock_changed), (Standing::InSync, false));
    assert_eq!(setup.source_seen.methods(), ["HEAD", "HEAD"]);
    assert_eq!(setup.destination_seen.methods(), ["HEAD", "HEAD"]);
    assert_eq!(std::fs::read(setup.root.path().join(mirror::lock::FILE)).unwrap(), lock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_tag_moves_when_asked_and_can_go_back() {
    let setup = Sides::new().await;
    let old = setup.publish("library/two", "v1", BOTH, &[]).await.digest.to_string();
    setup.publish("library/one", "v1", BOTH, &[]).await;
    let mirror = setup.mirror(RULES);
    setup.run(&mirror, false).await;
    let new = setup.publish("library/two", "v1", BOTH, &[&noise(5_000, 9)]).await.digest.to_string();

    assert!(setup.run(&mirror, false).await.promoted.is_empty());
    assert_eq!(setup.digest("mirror/two", "v1").await.as_ref(), Some(&old));
    let (plan, _) = setup.plan(&mirror, &setup.lock(), false).await;
    assert!(plan.steps.iter().any(|step| matches!(step.action, Action::Moved { .. })), "{plan:?}");

    let synced = setup.run(&mirror, true).await;
    assert_eq!(synced.promoted[0].previous.as_ref().map(ToString::to_string).as_ref(), Some(&old));
    assert_eq!(setup.digest("mirror/two", "v1").await.as_ref(), Some(&new));
    assert_eq!(setup.digest("mirror/two", &backup_tag("v1")).await.as_ref(), Some(&old));

    let mut lock = setup.lock();
    let two = &mirror.rules[1].destination;
    rollback(&setup.client, &mut lock, setup.root.path(), two, "v1").await.unwrap();
    assert_eq!(setup.digest("mirror/two", "v1").await.as_ref(), Some(&old));
    assert_eq!(setup.digest("mirror/two", &backup_tag("v1")).await.as_ref(), Some(&new));
    assert_eq!(verify(&client(), &mirror, &lock, None).await.faults, []);
    // It stays there.
    assert!(setup.run(&mirror, true).await.promoted.is_empty());
    let error = rollback(&setup.client, &mut lock, setup.root.path(), two, "v9").await.unwrap_err();
    assert!(error.to_string().contains("the lock does not name it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_breaks_its_rule_is_refused_and_the_others_come() {
    let setup = Sides::new().await;
    setup.publish("library/one", "v1", &["linux/amd64"], &[]).await;
    setup.publish("library/one", "big", BOTH, &[&noise(200_000, 3)]).await;
    setup.publish("library/two", "v1", BOTH, &[]).await;
    let mirror = setup.mirror(&RULES.replace("globs = [\"*\"]", "globs = [\"*\"]\nmaximum-size = \"100kB\""));
    let synced = setup.run(&mirror, false).await;
    assert_eq!(synced.standing(false), Standing::Partial);
    let mut told: Vec<String> = synced.failures.iter().map(ToString::to_string).collect();
    told.sort();
    assert!(told[0].contains("more than 100000"), "{told:?}");
    assert!(told[1].contains("it lacks linux/arm64; it has linux/amd64"), "{told:?}");
    assert!(
        synced
            .failures
            .iter()
            .all(|failure| failure.standing() == Standing::Policy && failure.hint().is_some())
    );
    assert_eq!(setup.digest("mirror/one", "v1").await, None);
    assert_eq!(setup.lock().images.len(), 1);

    let young = setup.mirror(&RULES.replace("[defaults]", "[defaults]\nminimum-age = \"36500d\""));
    let told = setup.run(&young, false).await.failures[0].to_string();
    assert!(told.contains("it was made on 2026-01-01T00:00:00Z and may be taken from"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_run_received_is_continued_by_range() {
    let setup = Sides::new().await;
    let layers = [noise(300_000, 12), noise(300_000, 14)];
    setup.publish("library/one", "v1", BOTH, &[&layers[0]]).await;
    setup.publish("library/two", "v1", BOTH, &[&layers[1]]).await;
    let mirror = setup.mirror(RULES);
    let cache = Layout::open(setup.root.path().join("cache")).unwrap();
    let digests = layers.clone().map(|layer| images::Digest::of(&layer));
    // The second was damaged since it arrived.
    for (digest, arrived) in digests.iter().zip([&layers[0][..100_000], &noise(100_000, 13)]) {
        let partial = cache.partial(digest).unwrap();
        std::io::Write::write_all(&mut partial.reopen().unwrap(), arrived).unwrap();
    }
    assert!(setup.run(&mirror, false).await.failures.is_empty());
    let seen = setup.source_seen.seen();
    let ranges = |digest: &images::Digest| {
        let of_layer = seen.iter().filter(|seen| seen.method == "GET" && seen.path.ends_with(digest.hex()));
        of_layer.map(|seen| seen.header("range").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ranges(&digests[0]), ["bytes=100000-"]);
    assert_eq!(ranges(&digests[1]), ["bytes=100000-", ""]);
    assert_eq!(verify(&client(), &mirror, &setup.lock(), None).await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_has_too_much_gets_less_at_once_and_everything_arrives() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let counted = refusals.clone();
    let setup = Sides::with(move |seen| {
        // Every request is refused once.
        let refused = seen.nth == 0 && seen.path.contains("/blobs/");
        refused.then(|| {
            counted.fetch_add(1, Ordering::Relaxed);
            Reply::status(429)
        })
    })
    .await;
    for tag in ["a", "b", "c"] {
        setup.publish("library/one", tag, BOTH, &[&noise(4_000, u64::from(tag.as_bytes()[0]))]).await;
    }
    setup.publish("library/two", "v1", BOTH, &[]).await;
    let mirror = setup.mirror(RULES);
    let synced = setup.run(&mirror, false).await;
    assert_eq!((synced.promoted.len(), synced.failures.len()), (4, 0), "{synced:?}");
    assert!(refusals.load(Ordering::Relaxed) > 10);
    assert_eq!(verify(&client(), &mirror, &setup.lock(), None).await.sound, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_that_are_left_out_stay_known_by_the_original_index() {
    let setup = Sides::new().await;
    let full = setup.publish("library/two", "v1", &["linux/amd64", "linux/arm64", "linux/s390x"], &[]).await;
    setup.publish("library/one", "v1", BOTH, &[]).await;
    let mirror = setup.mirror(RULES);
    setup.run(&mirror, false).await;
    let lock = setup.lock();
    let locked = lock.get(&mirror.rules[1].destination, "v1").unwrap();
    assert_eq!((locked.upstream.as_ref(), locked.platforms.len()), (Some(&full.digest), 2));
    assert_ne!(locked.digest, full.digest);
    let copied = client().repository(&setup.destination.host(), "mirror/two").unwrap();
    let kind = "application/vnd.slipway.upstream-index.v1";
    let original = copied.referrers(&locked.digest, Some(kind)).await.unwrap().remove(0);
    let original = copied.manifest(&original.digest.to_string()).await.unwrap().unwrap();
    let original: Manifest = serde_json::from_slice(&original.bytes).unwrap();
    assert_eq!(copied.blob(&original.layers[0], 1 << 20).await.unwrap(), full.bytes);
    // Seen again, nothing has moved.
    assert!(setup.run(&mirror, true).await.promoted.is_empty());
    assert_eq!(verify(&client(), &mirror, &lock, None).await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_destination_lost_is_found_and_restored() {
    let setup = Sides::new().await;
    setup.publish("library/one", "v1", BOTH, &[]).await;
    let two = setup.publish("library/two", "v1", BOTH, &[]).await;
    let mirror = setup.mirror(RULES);
    setup.run(&mirror, false).await;
    let target = client().repository(&setup.destination.host(), "mirror/two").unwrap();
    let index: Index = serde_json::from_slice(&two.bytes).unwrap();
    target.delete_manifest("v1").await.unwrap();
    target.delete_manifest(&index.manifests[1].digest.to_string()).await.unwrap();
    let verified = verify(&client(), &mirror, &setup.lock(), None).await;
    let told: Vec<&str> = verified.faults.iter().map(|fault| fault.problem.as_str()).collect();
    assert!(told.iter().any(|problem| problem.contains("the tag does not exist")), "{told:?}");
    assert!(told.iter().any(|problem| problem.contains("is missing")), "{told:?}");
    let synced = setup.run(&mirror, false).await;
    assert_eq!(synced.promoted.len(), 1, "{synced:?}");
    assert_eq!(verify(&client(), &mirror, &setup.lock(), None).await.faults, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_blob_keeps_its_image_from_being_tagged() {
    let damaged = noise(50_000, 4);
    let digest = images::Digest::of(&damaged).to_string();
    let broken = noise(50_000, 6);
    let setup = Sides::with(move |seen| {
        (seen.method == "GET" && seen.path.ends_with(&digest))
            .then(|| Reply::status(200).body(broken.clone()))
    })
    .await;
    setup.publish("library/one", "v1", BOTH, &[&damaged]).await;
    setup.publish("library/two", "v1", BOTH, &[]).await;
    let mirror = setup.mirror(RULES);
    let synced = setup.run(&mirror, false).await;
    assert_eq!(synced.standing(false), Standing::Partial, "{synced:?}");
    let cause = std::error::Error::source(&*synced.failures[0]).unwrap().to_string();
    assert!(cause.contains("its content has the digest"), "{cause}");
    assert_eq!(setup.digest("mirror/one", "v1").await, None);
    assert!(setup.digest("mirror/two", "v1").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_broken_off_anywhere_is_completed_by_the_next() {
    let setup = Sides::new().await;
    for tag in ["a", "b", "c"] {
        setup.publish("library/one", tag, BOTH, &[&noise(40_000, u64::from(tag.as_bytes()[0]))]).await;
    }
    let two = setup.publish("library/two", "v1", BOTH, &[&noise(40_000, 50)]).await;
    let mirror = setup.mirror(RULES);
    // Broken off after ever more requests to the destination; the future is dropped as it stands.
    for requests in (1..).step_by(6) {
        let begun = setup.destination_seen.seen().len();
        let broken_off = tokio::select! {
            _ = setup.run(&mirror, false) => false,
            () = async { while setup.destination_seen.seen().len() < begun + requests { tokio::task::yield_now().await } } => true,
        };
        complete(&setup, &two, Path::new("mirror/two")).await;
        if !broken_off {
            break;
        }
        assert!(requests < 2_000);
    }
    assert_eq!(setup.lock().images.len(), 4);
    let verified = verify(&client(), &mirror, &setup.lock(), None).await;
    assert_eq!((verified.sound, verified.faults), (4, vec![]));
}

/// A tag that exists names something complete.
async fn complete(setup: &Sides, index: &Raw, repository: &Path) {
    let target = client().repository(&setup.destination.host(), repository.to_str().unwrap()).unwrap();
    let Some(found) = target.head_manifest("v1").await.unwrap() else { return };
    assert_eq!(found.digest, index.digest);
    let index: Index = serde_json::from_slice(&index.bytes).unwrap();
    for entry in index.manifests {
        let raw = target.manifest(&entry.digest.to_string()).await.unwrap().expect("a manifest behind a tag");
        let manifest: Manifest = serde_json::from_slice(&raw.bytes).unwrap();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            assert!(target.head_blob(&blob.digest).await.unwrap().is_some(), "a blob behind a tag");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_over_bad_networks_is_complete_in_the_end_and_never_half_visible() {
    crate::rounds::rounds(0..10).await;
}
