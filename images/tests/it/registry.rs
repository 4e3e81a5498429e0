//! The in-process registry, asked over HTTP as its specification says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use images::Digest;
use images::document::{CONFIG, Descriptor, INDEX, Index, MANIFEST, Raw};
use images::registry::{Options, Running, serve};
use reqwest::{Method, Response};
use serde_json::Value;

use crate::content::{blob, client, manifest, noise, quiet};

struct Registry {
    running: Running,
    http: reqwest::Client,
    dir: tempfile::TempDir,
}

async fn registry() -> Registry {
    let dir = tempfile::tempdir().unwrap();
    start(dir).await
}

async fn start(dir: tempfile::TempDir) -> Registry {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let running = serve(Options::on_loopback(dir.path())).await.unwrap();
    let redirects = reqwest::redirect::Policy::none();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).redirect(redirects).build().unwrap();
    Registry { running, http, dir }
}

impl Registry {
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response {
        let url = format!("http://{}{path}", self.running.address());
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, url).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// Asks and compares the status; an error must have the code and a message.
    async fn expect(
        &self,
        method: &str,
        path: &str,
        body: impl Into<Bytes>,
        status: u16,
        code: &str,
    ) -> Response {
        let response = self.ask(method, path, &[], body).await;
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(header(&response, "docker-distribution-api-version"), "registry/2.0", "{method} {path}");
        if code.is_empty() {
            return response;
        }
        let url = response.url().clone();
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["errors"][0]["code"], code, "{method} {url}");
        assert!(error["errors"][0]["message"].as_str().unwrap().len() > 10, "{error}");
        self.ask("GET", "/v2/", &[], "").await
    }

    async fn push(&self, repository: &str, bytes: &Bytes) -> Descriptor {
        let blob = blob(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={}", blob.digest);
        assert_eq!(self.ask("POST", &path, &[], bytes.clone()).await.status(), 201);
        blob
    }

    async fn put(&self, repository: &str, version: &str, raw: &Raw) -> Response {
        let path = format!("/v2/{repository}/manifests/{version}");
        self.ask("PUT", &path, &[("content-type", &raw.media_type)], raw.bytes.clone()).await
    }

    /// An image with one layer, under a tag.
    async fn image(&self, repository: &str, tag: &str, seed: u64) -> Raw {
        let layer = self.push(repository, &noise(1000, seed)).await;
        let mut config = self.push(repository, &Bytes::from(format!("{{\"seed\":{seed}}}"))).await;
        config.media_type = CONFIG.to_string();
        let raw = manifest(&config, &[layer], None);
        assert_eq!(self.put(repository, tag, &raw).await.status(), 201);
        raw
    }

    async fn json(&self, path: &str) -> Value {
        self.expect("GET", path, "", 200, "").await.json().await.unwrap()
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn the_base_answers_and_what_is_no_path_says_so() {
    let registry = registry().await;
    registry.expect("GET", "/v2/", "", 200, "").await;
    registry.expect("GET", "/v1/", "", 404, "UNSUPPORTED").await;
    registry.expect("POST", "/v2/", "", 405, "UNSUPPORTED").await;
    registry.expect("GET", "/v2/UPPER/tags/list", "", 400, "NAME_INVALID").await;
    registry.expect("GET", "/v2/a/tags/list", "", 404, "NAME_UNKNOWN").await;
    registry.expect("GET", "/v2/a/manifests/latest", "", 404, "MANIFEST_UNKNOWN").await;
    let absent = Digest::of(b"absent");
    registry.expect("GET", &format!("/v2/a/blobs/{absent}"), "", 404, "BLOB_UNKNOWN").await;
    registry.expect("GET", &format!("/v2/a/manifests/{absent}"), "", 404, "MANIFEST_UNKNOWN").await;
    registry.expect("DELETE", &format!("/v2/a/blobs/{absent}"), "", 404, "BLOB_UNKNOWN").await;
}

#[tokio::test]
async fn a_blob_arrives_in_one_request_in_two_or_in_pieces() {
    let registry = registry().await;
    let (one, two, pieces) = (noise(10_000, 1), noise(20_000, 2), noise(30_000, 3));
    registry.push("a", &one).await;

    let begun = registry.expect("POST", "/v2/a/blobs/uploads/", "", 202, "").await;
    let location = header(&begun, "location").to_string();
    let done = registry
        .expect("PUT", &format!("{location}?digest={}", Digest::of(&two)), two.clone(), 201, "")
        .await;
    assert_eq!(header(&done, "docker-content-digest"), Digest::of(&two).to_string());
    assert_eq!(header(&done, "location"), format!("/v2/a/blobs/{}", Digest::of(&two)));

    let begun = registry.expect("POST", "/v2/a/blobs/uploads/", "", 202, "").await;
    let location = header(&begun, "location").to_string();
    let piece = async |method: &str, path: &str, range: &str, bytes: Bytes| {
        registry.ask(method, path, &[("content-range", range)], bytes).await
    };
    let first = piece("PATCH", &location, "0-9999", pieces.slice(..10_000)).await;
    assert_eq!((first.status().as_u16(), header(&first, "range")), (202, "0-9999"));
    let again = piece("PATCH", &location, "0-9999", pieces.slice(..10_000)).await;
    assert_eq!(again.status(), 416);
    let status = registry.expect("GET", &location, "", 204, "").await;
    assert_eq!(header(&status, "range"), "0-9999");
    let short = piece("PATCH", &location, "10000-19999", pieces.slice(10_000..15_000)).await;
    assert_eq!(short.status(), 400);
    let second = piece("PATCH", &location, "10000-19999", pieces.slice(10_000..20_000)).await;
    assert_eq!(header(&second, "range"), "0-19999");
    let last = format!("{location}?digest={}", Digest::of(&pieces));
    let last = piece("PUT", &last, "20000-29999", pieces.slice(20_000..)).await;
    assert_eq!(last.status(), 201);

    for bytes in [one, two, pieces] {
        let blob = registry.expect("GET", &format!("/v2/a/blobs/{}", Digest::of(&bytes)), "", 200, "").await;
        assert_eq!(blob.bytes().await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn content_that_is_not_what_it_is_called_is_thrown_away() {
    let registry = registry().await;
    let (good, evil) = (noise(5000, 1), noise(5000, 2));
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(&good));
    registry.expect("POST", &path, evil.clone(), 400, "DIGEST_INVALID").await;
    let begun = registry.expect("POST", "/v2/a/blobs/uploads/", "", 202, "").await;
    let location = header(&begun, "location").to_string();
    registry.expect("PUT", &location, evil.clone(), 400, "DIGEST_INVALID").await;
    registry.expect("PUT", &format!("{location}?digest=md5:x"), evil.clone(), 400, "DIGEST_INVALID").await;
    registry
        .expect(
            "PUT",
            &format!("{location}?digest={}", Digest::of(&good)),
            evil.clone(),
            400,
            "DIGEST_INVALID",
        )
        .await;
    registry.expect("GET", &location, "", 404, "BLOB_UPLOAD_UNKNOWN").await;
    for bytes in [good, evil] {
        registry.expect("GET", &format!("/v2/a/blobs/{}", Digest::of(&bytes)), "", 404, "BLOB_UNKNOWN").await;
    }
}

#[tokio::test]
async fn a_blob_is_read_in_part() {
    let registry = registry().await;
    let bytes = noise(1000, 1);
    let path = format!("/v2/a/blobs/{}", registry.push("a", &bytes).await.digest);
    let read = async |range: &str| registry.ask("GET", &path, &[("range", range)], "").await;
    let part = read("bytes=900-").await;
    assert_eq!((part.status().as_u16(), header(&part, "content-range")), (206, "bytes 900-999/1000"));
    assert_eq!(part.bytes().await.unwrap(), bytes.slice(900..));
    assert_eq!(read("bytes=1000-").await.status(), 416);
    assert_eq!(read("bytes=-10").await.bytes().await.unwrap(), bytes.slice(990..));
    let head = registry.ask("HEAD", &path, &[], "").await;
    assert_eq!((header(&head, "content-length"), header(&head, "accept-ranges")), ("1000", "bytes"));
}

#[tokio::test]
async fn a_blob_is_mounted_from_a_neighbour_that_has_it() {
    let registry = registry().await;
    let digest = registry.push("a", &noise(100, 1)).await.digest;
    let mount = |from: &str, digest: &Digest| format!("/v2/b/c/blobs/uploads/?mount={digest}&from={from}");
    let mounted = registry.expect("POST", &mount("a", &digest), "", 201, "").await;
    assert_eq!(header(&mounted, "location"), format!("/v2/b/c/blobs/{digest}"));
    registry.expect("HEAD", &format!("/v2/b/c/blobs/{digest}"), "", 200, "").await;
    for declined in [mount("nowhere", &digest), mount("a", &Digest::of(b"absent"))] {
        let begun = registry.expect("POST", &declined, "", 202, "").await;
        assert!(header(&begun, "location").starts_with("/v2/b/c/blobs/uploads/"));
    }
    // Each has its own: what one gives up the other keeps.
    registry.expect("DELETE", &format!("/v2/a/blobs/{digest}"), "", 202, "").await;
    registry.expect("HEAD", &format!("/v2/a/blobs/{digest}"), "", 404, "").await;
    registry.expect("HEAD", &format!("/v2/b/c/blobs/{digest}"), "", 200, "").await;
}

#[tokio::test]
async fn a_manifest_comes_back_as_it_was_to_those_who_accept_it() {
    let registry = registry().await;
    let raw = registry.image("team/app", "v1", 1).await;
    for version in ["v1".to_string(), raw.digest.to_string()] {
        let path = format!("/v2/team/app/manifests/{version}");
        let got = registry.ask("GET", &path, &[("accept", MANIFEST)], "").await;
        assert_eq!(header(&got, "content-type"), MANIFEST);
        assert_eq!(header(&got, "docker-content-digest"), raw.digest.to_string());
        assert_eq!(got.bytes().await.unwrap(), raw.bytes);
        let head = registry.ask("HEAD", &path, &[], "").await;
        assert_eq!(header(&head, "content-length"), raw.bytes.len().to_string());
        assert_eq!(registry.ask("GET", &path, &[("accept", INDEX)], "").await.status(), 404);
    }
}

#[tokio::test]
async fn a_manifest_whose_parts_are_missing_is_refused() {
    let registry = registry().await;
    let absent = blob(&noise(10, 9));
    let raw = manifest(&absent, &[], None);
    let put = async |version: &str, raw: &Raw| {
        let response = registry.put("a", version, raw).await;
        let status = response.status().as_u16();
        let error: Value = response.json().await.unwrap_or_default();
        (status, error["errors"][0]["code"].as_str().unwrap_or_default().to_string())
    };
    assert_eq!(put("v1", &raw).await, (404, "MANIFEST_BLOB_UNKNOWN".to_string()));
    let index = Raw::of(INDEX, &Index::new(vec![raw.descriptor()])).unwrap();
    assert_eq!(put("v1", &index).await, (404, "MANIFEST_BLOB_UNKNOWN".to_string()));
    let huge = Raw::new(MANIFEST, vec![b' '; images::registry::MANIFEST_LIMIT + 1]);
    assert_eq!(put("v1", &huge).await, (413, "SIZE_INVALID".to_string()));
    let good = registry.image("a", "v1", 1).await;
    let other = Digest::of(b"other").to_string();
    assert_eq!(put(&other, &good).await, (400, "DIGEST_INVALID".to_string()));
}

#[tokio::test]
async fn deleting_a_tag_keeps_the_manifest_and_deleting_the_manifest_takes_its_tags() {
    let registry = registry().await;
    let raw = registry.image("a", "v1", 1).await;
    let by_digest = format!("/v2/a/manifests/{}", raw.digest);
    assert_eq!(registry.put("a", "v2", &raw).await.status(), 201);
    registry.expect("DELETE", "/v2/a/manifests/v1", "", 202, "").await;
    registry.expect("GET", "/v2/a/manifests/v1", "", 404, "MANIFEST_UNKNOWN").await;
    registry.expect("GET", &by_digest, "", 200, "").await;
    registry.expect("DELETE", &by_digest, "", 202, "").await;
    registry.expect("GET", "/v2/a/manifests/v2", "", 404, "MANIFEST_UNKNOWN").await;
    registry.expect("DELETE", &by_digest, "", 404, "MANIFEST_UNKNOWN").await;
    assert_eq!(registry.json("/v2/a/tags/list").await["tags"], serde_json::json!([]));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let registry = registry().await;
    let raw = registry.image("a", "b1", 1).await;
    for tag in ["a2", "C3", "d4"] {
        assert_eq!(registry.put("a", tag, &raw).await.status(), 201);
    }
    let page = registry.expect("GET", "/v2/a/tags/list?n=3", "", 200, "").await;
    assert_eq!(header(&page, "link"), "</v2/a/tags/list?last=C3&n=3>; rel=\"next\"");
    assert_eq!(page.json::<Value>().await.unwrap()["tags"], serde_json::json!(["a2", "b1", "C3"]));
    let last = registry.expect("GET", "/v2/a/tags/list?last=C3&n=3", "", 200, "").await;
    assert_eq!(header(&last, "link"), "");
    assert_eq!(last.json::<Value>().await.unwrap()["tags"], serde_json::json!(["d4"]));
    assert_eq!(registry.json("/v2/a/tags/list?n=0").await["tags"], serde_json::json!([]));
    registry.image("team/b", "x", 2).await;
    assert_eq!(registry.json("/v2/_catalog").await["repositories"], serde_json::json!(["a", "team/b"]));
}

#[tokio::test]
async fn manifests_about_a_manifest_are_listed_also_before_it_exists() {
    let registry = registry().await;
    let subject = manifest(&blob(&noise(10, 5)), &[], None);
    let mut config = registry.push("a", &Bytes::from_static(b"{}")).await;
    for kind in ["application/x.sbom", "application/x.signature"] {
        config.media_type = kind.to_string();
        let about = manifest(&config, &[], Some(subject.descriptor()));
        let put = registry.put("a", &about.digest.to_string(), &about).await;
        assert_eq!(put.status(), 201);
        assert_eq!(header(&put, "oci-subject"), subject.digest.to_string());
    }
    let path = format!("/v2/a/referrers/{}", subject.digest);
    let all = registry.expect("GET", &path, "", 200, "").await;
    assert_eq!(header(&all, "content-type"), INDEX);
    assert_eq!(all.json::<Index>().await.unwrap().manifests.len(), 2);
    let some = registry.expect("GET", &format!("{path}?artifactType=application/x.sbom"), "", 200, "").await;
    assert_eq!(header(&some, "oci-filters-applied"), "artifactType");
    let some = some.json::<Index>().await.unwrap().manifests;
    assert_eq!(
        some.iter().map(|m| m.artifact_type.as_deref()).collect::<Vec<_>>(),
        [Some("application/x.sbom")]
    );
    registry.expect("DELETE", &format!("/v2/a/manifests/{}", some[0].digest), "", 202, "").await;
    assert_eq!(registry.json(&path).await["manifests"].as_array().unwrap().len(), 1);
    let nobody = registry.json(&format!("/v2/a/referrers/{}", Digest::of(b"nobody"))).await;
    assert_eq!(nobody["manifests"], serde_json::json!([]));
}

#[tokio::test]
async fn the_same_blob_may_be_pushed_by_many_at_once() {
    let registry = registry().await;
    let bytes = noise(3 << 20, 7);
    let pushes = (0..16).map(|n| {
        let (registry, bytes) = (&registry, &bytes);
        async move { registry.push(&format!("repository{}", n % 4), bytes).await }
    });
    futures::future::join_all(pushes).await;
    for n in 0..4 {
        let path = format!("/v2/repository{n}/blobs/{}", Digest::of(&bytes));
        assert_eq!(registry.expect("GET", &path, "", 200, "").await.bytes().await.unwrap(), bytes);
    }
    let kept = fs::read_dir(registry.dir.path().join("blobs/sha256")).unwrap().count();
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn an_upload_survives_a_restart() {
    let first = registry().await;
    let bytes = noise(100_000, 3);
    let begun = first.expect("POST", "/v2/a/blobs/uploads/", "", 202, "").await;
    let location = header(&begun, "location").to_string();
    first.expect("PATCH", &location, bytes.slice(..60_000), 202, "").await;
    let Registry { running, dir, .. } = first;
    running.stop().await;

    let second = start(dir).await;
    assert_eq!(header(&second.expect("GET", &location, "", 204, "").await, "range"), "0-59999");
    second
        .expect("PUT", &format!("{location}?digest={}", Digest::of(&bytes)), bytes.slice(60_000..), 201, "")
        .await;
    let path = format!("/v2/a/blobs/{}", Digest::of(&bytes));
    assert_eq!(second.expect("GET", &path, "", 200, "").await.bytes().await.unwrap(), bytes);
}

/// The registry's runtime is torn down while somebody pushes: every task ends where it happens to be, as in a kill.
#[test]
fn killed_at_any_moment_it_never_shows_a_tag_without_its_parts() {
    const ROUNDS: u32 = 25;
    let dir = tempfile::tempdir().unwrap();
    let client_side = tokio::runtime::Runtime::new().unwrap();
    let begin = |round: u32| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let running = runtime.block_on(serve(Options::on_loopback(dir.path()))).unwrap();
        let host = running.host();
        (runtime, running, client_side.spawn(async move { push_tagged(&host, round).await }))
    };
    let (_runtime, running, whole) = begin(0);
    client_side.block_on(whole).unwrap();
    drop(running);

    for round in 1..=ROUNDS {
        let (runtime, running, push) = begin(round);
        // Each round ends one change of the directory later, so that every step is the last one of some round.
        let (mut seen, mut changes) = (files(dir.path()), 0);
        while changes < round && !push.is_finished() {
            let now = files(dir.path());
            changes += u32::from(now != seen);
            seen = now;
        }
        runtime.shutdown_background();
        drop(running);
        push.abort();
    }

    client_side.block_on(async {
        let running = serve(Options::on_loopback(dir.path())).await.unwrap();
        let repository = client().repository(&running.host(), "app").unwrap();
        let tags = repository.tags().await.unwrap().unwrap();
        assert!(tags.contains(&"round0".to_string()), "{tags:?}");
        for tag in tags {
            let raw = repository.manifest(&tag).await.unwrap().expect("a tag points at a manifest");
            let manifest: images::document::Manifest = serde_json::from_slice(&raw.bytes).unwrap();
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                repository.blob(blob, 1 << 24).await.unwrap();
            }
        }
    });
}

/// Every file with its length; those that go while this looks may be missing.
fn files(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => found.extend(files(&entry.path())),
            Ok(metadata) => drop(found.insert(entry.path(), metadata.len())),
            Err(_gone) => {}
        }
    }
    found
}

async fn push_tagged(host: &str, round: u32) {
    let options = images::client::Options { attempts: 1, ..Default::default() };
    let repository = crate::content::client_with(options).repository(host, "app").unwrap();
    let (config, layer) = (noise(100, u64::from(round)), noise(200_000, u64::from(round) + 1000));
    for bytes in [&config, &layer] {
        let source = images::client::Source::Bytes(bytes.clone());
        if repository.push_blob(&blob(bytes), &source, None, &quiet()).await.is_err() {
            return;
        }
    }
    let raw = manifest(&blob(&config), &[blob(&layer)], None);
    // A registry that is gone is what this is about.
    let _ = repository.put_manifest(&raw, &[&format!("round{round}")]).await;
}

#[tokio::test]
async fn garbage_is_what_no_manifest_refers_to() {
    let registry = registry().await;
    let kept = registry.image("a", "v1", 1).await;
    let young = registry.push("a", &noise(500, 2)).await.digest;
    let stale = registry.push("b", &noise(700, 3)).await.digest;
    let begun = registry.expect("POST", "/v2/a/blobs/uploads/", "", 202, "").await;
    let abandoned = header(&begun, "location").to_string();
    let age = |path: String| {
        let file = fs::File::options().append(true).open(registry.dir.path().join(path)).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(7200)).unwrap();
    };
    age(format!("blobs/sha256/{}", stale.hex()));
    age(format!("repositories/b/_blobs/sha256/{}", stale.hex()));
    age(format!("repositories/a/_uploads/{}", abandoned.rsplit('/').next().unwrap()));
    for blob in fs::read_dir(registry.dir.path().join("repositories/a/_blobs/sha256")).unwrap() {
        let name = blob.unwrap().file_name().into_string().unwrap();
        if name != young.hex() {
            age(format!("repositories/a/_blobs/sha256/{name}"));
            age(format!("blobs/sha256/{name}"));
        }
    }

    let collected = images::registry::collect_garbage(registry.dir.path()).unwrap();
    assert_eq!((collected.blobs, collected.bytes, collected.uploads), (1, 700, 1));
    registry.expect("GET", &format!("/v2/b/blobs/{stale}"), "", 404, "BLOB_UNKNOWN").await;
    registry.expect("GET", &abandoned, "", 404, "BLOB_UPLOAD_UNKNOWN").await;
    registry.expect("GET", &format!("/v2/a/blobs/{young}"), "", 200, "").await;
    let manifest: images::document::Manifest = serde_json::from_slice(&kept.bytes).unwrap();
    registry.expect("GET", &format!("/v2/a/blobs/{}", manifest.layers[0].digest), "", 200, "").await;
}
