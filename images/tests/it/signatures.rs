//! Signatures, SBOMs and statements: what travels along, what is said about a copy, and what a rule wants to see signed.

use std::path::Path;

use images::client::Source;
use images::document::{Descriptor, Manifest, Raw};
use images::mirror::{self, Standing, verify};
use images::sign::{PublicKey, Signer};

use crate::content::{client, manifest, noise, quiet};
use crate::sides::{BOTH, RULES, Sides};

#[tokio::test(flavor = "multi_thread")]
async fn signatures_and_sboms_come_along() {
    let setup = Sides::new().await;
    let two = setup.publish("library/two", "v1", BOTH, &[]).await;
    setup.publish("library/one", "v1", BOTH, &[]).await;
    let target = client().repository(&setup.source.host(), "library/two").unwrap();
    let body = noise(100, 77);
    let blob = Descriptor::new("application/spdx+json", images::Digest::of(&body), 100);
    target.push_blob(&blob, &Source::Bytes(body), None, &quiet()).await.unwrap();
    let sbom = Manifest {
        artifact_type: Some("application/spdx+json".to_owned()),
        ..serde_json::from_slice(&manifest(&blob, std::slice::from_ref(&blob), Some(two.descriptor())).bytes)
            .unwrap()
    };
    let sbom = Raw::of(images::document::MANIFEST, &sbom).unwrap();
    target.put_manifest(&sbom, &[]).await.unwrap();
    let signature = manifest(&blob, &[], None);
    let signature_tag = format!("sha256-{}.sig", two.digest.hex());
    target.put_manifest(&signature, &[&signature_tag]).await.unwrap();

    let mirror = setup.mirror(RULES);
    let synced = setup.run(&mirror, false).await;
    assert!(synced.failures.is_empty(), "{:?}", synced.failures);
    assert_eq!(setup.digest("mirror/two", &signature_tag).await, Some(signature.digest.to_string()));
    let copied = client().repository(&setup.destination.host(), "mirror/two").unwrap();
    let kinds: Vec<String> = copied
        .referrers(&two.digest, None)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|one| one.artifact_type)
        .collect();
    assert!(kinds.contains(&"application/spdx+json".to_owned()) && kinds.len() == 2, "{kinds:?}");
    assert_eq!(verify(&client(), &mirror, &setup.lock(), None).await.sound, 2);
}

/// A signer, and the file of its public key.
fn keys(dir: &Path) -> (Signer, std::path::PathBuf) {
    use base64::Engine as _;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
    let random = ring::rand::SystemRandom::new();
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pem = |kind: &str, der: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {kind} KEY-----\n{text}\n-----END {kind} KEY-----\n")
    };
    std::fs::write(dir.join("key.pem"), pem("PRIVATE", pair.as_ref())).unwrap();
    let signer = Signer::read(&dir.join("key.pem")).unwrap();
    let head =
        [48, 89, 48, 19, 6, 7, 42, 134, 72, 206, 61, 2, 1, 6, 8, 42, 134, 72, 206, 61, 3, 1, 7, 3, 66, 0];
    let public = dir.join("key.pub");
    std::fs::write(&public, pem("PUBLIC", &[head.as_slice(), signer.public_key()].concat())).unwrap();
    (signer, public)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_says_signed_where_it_came_from() {
    let mut setup = Sides::new().await;
    let (signer, public) = keys(setup.root.path());
    setup.publish("library/one", "v1", BOTH, &[]).await;
    setup.publish("library/two", "v1", &["linux/amd64", "linux/arm64", "linux/s390x"], &[]).await;
    let mirror = setup.mirror(RULES);
    setup.run(&mirror, false).await;
    let key = PublicKey::read(&public).unwrap();
    let unsigned = verify(&client(), &mirror, &setup.lock(), Some(&key)).await;
    assert_eq!(unsigned.faults.len(), 2, "{unsigned:?}");
    assert!(unsigned.faults[0].problem.contains("signed"), "{unsigned:?}");

    // Copied anew with a key, they say so; nothing is said twice.
    std::fs::remove_file(setup.root.path().join(mirror::lock::FILE)).unwrap();
    setup.signer = Some(signer);
    setup.run(&mirror, false).await;
    std::fs::remove_file(setup.root.path().join(mirror::lock::FILE)).unwrap();
    setup.run(&mirror, false).await;
    let signed = verify(&client(), &mirror, &setup.lock(), Some(&key)).await;
    assert_eq!((signed.sound, signed.faults), (2, vec![]));
    let target = client().repository(&setup.destination.host(), "mirror/two").unwrap();
    let digest = &setup.lock().get(&mirror.rules[1].destination, "v1").unwrap().digest.clone();
    assert_eq!(target.referrers(digest, None).await.unwrap().len(), 3);
    let other = tempfile::tempdir().unwrap();
    let other = PublicKey::read(&keys(other.path()).1).unwrap();
    assert_eq!(verify(&client(), &mirror, &setup.lock(), Some(&other)).await.faults.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_the_signature_its_rule_wants_is_refused() {
    let setup = Sides::new().await;
    let (signer, _) = keys(setup.root.path());
    let signed = setup.publish("library/one", "v1", BOTH, &[]).await;
    setup.publish("library/one", "v2", BOTH, &[&noise(2_000, 8)]).await;
    let pushed = images::Pushed {
        references: [("one".to_owned(), format!("{}/library/one@{}", setup.source.host(), signed.digest))]
            .into(),
        blobs: 0,
        mounted: 0,
        manifests: 0,
        bytes: 0,
        seconds: 0.0,
    };
    let destination: images::Destination = format!("{}/library", setup.source.host()).parse().unwrap();
    images::sign::sign(&pushed, &destination, &client(), &signer).await.unwrap();
    let rules = RULES.split("[[image]]").take(2).collect::<Vec<_>>().join("[[image]]");
    let mirror =
        setup.mirror(&rules.replace("globs = [\"*\"]", "globs = [\"v*\"]\nsignature-key = \"key.pub\""));
    let synced = setup.run(&mirror, false).await;
    assert_eq!((synced.promoted.len(), synced.failures.len()), (1, 1), "{synced:?}");
    assert_eq!(synced.failures[0].standing(), Standing::Policy);
    let told = synced.failures[0].to_string();
    assert!(
        told.contains("library/one:v2") && told.contains("no signature that is good with key.pub"),
        "{told}"
    );
    // A key of somebody else opens nothing.
    std::fs::remove_file(setup.root.path().join(mirror::lock::FILE)).unwrap();
    keys(setup.root.path());
    assert_eq!(setup.run(&mirror, false).await.failures.len(), 2);
}
