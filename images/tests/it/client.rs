//! What registries do, and what the client makes of it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use images::client::{ClientError, Credentials, ErrorKind, Moved, Options, Repository, Source};
use images::document::{Descriptor, INDEX, Index, Raw};
use images::registry::{self, Running, serve};
use images::{Digest, Layout};

use crate::content::{blob, client, client_with, layout, manifest, noise, quiet};
use crate::scripted::{Reply, Scripted, Seen};

async fn real(dir: &tempfile::TempDir) -> Running {
    serve(registry::Options::on_loopback(dir.path())).await.unwrap()
}

fn at(server: &Scripted) -> Repository {
    client().repository(&server.host(), "app").unwrap()
}

async fn push(
    repository: &Repository,
    bytes: &Bytes,
    mount_from: Option<&str>,
) -> Result<Moved, ClientError> {
    repository.push_blob(&blob(bytes), &Source::Bytes(bytes.clone()), mount_from, &quiet()).await
}

/// Fetches into a fresh layout; gives the content.
async fn fetch(repository: &Repository, blob: &Descriptor) -> Result<Vec<u8>, ClientError> {
    let dir = tempfile::tempdir().unwrap();
    let layout: Layout = layout(dir.path());
    let fetched = repository.fetch_blob(blob, &layout, &quiet()).await;
    assert_eq!(layout.has(blob), fetched.is_ok(), "only what is verified becomes visible");
    fetched.map(|_| std::fs::read(layout.blob_path(&blob.digest)).unwrap())
}

#[tokio::test]
async fn a_manifest_pushed_by_digest_needs_no_location() {
    let server = Scripted::new(|seen| (seen.method == "PUT").then(|| Reply::status(201))).await;
    let raw = manifest(&blob(&noise(10, 1)), &[], None);
    at(&server).put_manifest(&raw, &[]).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].is("PUT", &format!("/v2/app/manifests/{}", raw.digest)), "{seen:?}");
    assert_eq!(seen[0].body, raw.bytes);
}

#[tokio::test]
async fn tags_are_set_in_one_request_where_the_registry_can_and_one_by_one_where_not() {
    let raw = manifest(&blob(&noise(10, 1)), &[], None);
    let modern = Scripted::new(|seen| {
        (seen.method == "PUT").then(|| Reply::status(201).header("oci-tag", "v1").header("oci-tag", "v2"))
    })
    .await;
    assert_eq!(at(&modern).put_manifest(&raw, &["v1", "v2"]).await.unwrap().requests, 1);
    let old = Scripted::new(|seen| (seen.method == "PUT").then(|| Reply::status(201))).await;
    assert_eq!(at(&old).put_manifest(&raw, &["v1", "v2"]).await.unwrap().requests, 3);
    assert!(old.seen()[2].is("PUT", "/v2/app/manifests/v2"));
}

#[tokio::test]
async fn a_declined_mount_goes_on_in_the_upload_it_opened() {
    let bytes = noise(1000, 1);
    let server = Scripted::new(|seen| match seen.method.as_str() {
        "POST" => Some(Reply::status(202).header("location", "/v2/app/blobs/uploads/1?state=x")),
        "PUT" => Some(Reply::status(201)),
        _ => None,
    })
    .await;
    assert_eq!(push(&at(&server), &bytes, Some("base")).await.unwrap(), Moved::Uploaded);
    let seen = server.seen();
    assert_eq!(server.methods(), ["POST", "PUT"]);
    assert!(seen[0].path.contains("from=base") && seen[0].path.contains("mount=sha256"), "{}", seen[0].path);
    assert!(seen[1].path.starts_with("/v2/app/blobs/uploads/1?state=x&digest=sha256"), "{}", seen[1].path);
    assert_eq!(seen[1].body, bytes);
}

#[tokio::test]
async fn a_wait_the_registry_asks_for_is_kept() {
    for as_date in [false, true] {
        let server = Scripted::new(move |seen| match seen.nth {
            0 => {
                let date = jiff::Timestamp::now() + Duration::from_secs(2);
                let date =
                    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
                Some(Reply::status(429).header("retry-after", if as_date { &date } else { "1" }))
            }
            _ => Some(Reply::status(200).header("content-length", "5")),
        })
        .await;
        let started = Instant::now();
        assert_eq!(at(&server).head_blob(&Digest::of(b"x")).await.unwrap(), Some(5));
        assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
    }
    let patient = Scripted::new(|_| Some(Reply::status(429).header("retry-after", "86400"))).await;
    let error = at(&patient).head_blob(&Digest::of(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimit, "{error}");
    assert_eq!(patient.seen().len(), 1);
}

#[tokio::test]
async fn every_page_of_tags_is_read() {
    let server = Scripted::new(|seen| {
        let page = |tags: &str| Reply::status(200).body(format!("{{\"name\":\"app\",\"tags\":{tags}}}"));
        Some(match seen.path.as_str() {
            "/v2/app/tags/list?n=1000" => {
                page("[\"a\",\"b\"]").header("link", "</v2/app/tags/list?last=b>; rel=\"next\"")
            }
            "/v2/app/tags/list?last=b" => page("[\"c\"]").header("link", "<?last=c>; rel=next"),
            "/v2/app/tags/list?last=c" => page("null"),
            _ => return None,
        })
    })
    .await;
    assert_eq!(at(&server).tags().await.unwrap().unwrap(), ["a", "b", "c"]);
}

#[tokio::test]
async fn pages_that_go_in_circles_or_elsewhere_are_an_error() {
    for link in ["</v2/app/tags/list?n=1000>; rel=next", "<http://127.0.0.1:1/v2/app/tags/list>; rel=next"] {
        let server =
            Scripted::new(move |_| Some(Reply::status(200).header("link", link).body("{\"tags\":[\"a\"]}")))
                .await;
        let error = at(&server).tags().await.unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_blob_of_any_size_takes_two_requests() {
    let dir = tempfile::tempdir().unwrap();
    let behind = real(&dir).await;
    let server = Scripted::before(behind.address(), |_| None).await;
    let bytes = noise(9 << 20, 1);
    push(&at(&server), &bytes, None).await.unwrap();
    assert_eq!(server.methods(), ["POST", "PUT"]);
    assert_eq!(fetch(&at(&server), &blob(&bytes)).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_passing_failure_is_tried_again_from_where_the_registry_is() {
    let dir = tempfile::tempdir().unwrap();
    let behind = real(&dir).await;
    let failures = Mutex::new(2);
    let server = Scripted::before(behind.address(), move |seen| {
        let mut failures = failures.lock().unwrap();
        let fail = seen.method == "PATCH" && *failures > 0;
        *failures -= usize::from(fail);
        fail.then(|| Reply::status(503))
    })
    .await;
    let bytes = noise(100_000, 1);
    let pieces = client_with(Options { piece: Some(40_000), ..Options::default() });
    push(&pieces.repository(&server.host(), "app").unwrap(), &bytes, None).await.unwrap();
    assert_eq!(server.methods(), ["POST", "PATCH", "GET", "PATCH", "GET", "PATCH", "PATCH", "PUT"]);
    assert_eq!(fetch(&at(&server), &blob(&bytes)).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_registry_that_kept_less_gets_the_rest() {
    let bytes = noise(3 << 20, 1);
    let kept = std::sync::Arc::new(Mutex::new(Vec::new()));
    let stored = kept.clone();
    let server = Scripted::new(move |seen| {
        let mut kept = stored.lock().unwrap();
        let begins_at =
            |seen: &Seen| seen.header("content-range").split('-').next().unwrap().parse().unwrap_or(0);
        match seen.method.as_str() {
            "POST" => Some(Reply::status(202).header("location", "/v2/app/blobs/uploads/1")),
            // Of the first piece only 100 bytes are kept, and the answer says so; it never says where to go on.
            "PATCH" if kept.is_empty() => {
                kept.extend_from_slice(&seen.body[..100]);
                Some(Reply::status(202).header("range", "0-99"))
            }
            "PATCH" | "PUT" => {
                assert_eq!(begins_at(seen), kept.len());
                kept.extend_from_slice(&seen.body);
                let range = format!("0-{}", kept.len() - 1);
                Some(Reply::status(if seen.method == "PUT" { 201 } else { 202 }).header("range", range))
            }
            _ => None,
        }
    })
    .await;
    let pieces = client_with(Options { piece: Some(1 << 20), ..Options::default() });
    push(&pieces.repository(&server.host(), "app").unwrap(), &bytes, None).await.unwrap();
    assert_eq!(*kept.lock().unwrap(), bytes);
}

#[tokio::test]
async fn an_open_registry_is_asked_once_per_question() {
    let server = Scripted::new(|_| Some(Reply::status(200).header("content-length", "1"))).await;
    let repository = at(&server);
    for n in 0..5 {
        repository.head_blob(&Digest::of(&[n])).await.unwrap();
    }
    assert_eq!(server.methods(), ["HEAD"; 5]);
}

#[tokio::test]
async fn a_body_too_large_for_the_registry_is_sent_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let behind = real(&dir).await;
    let server =
        Scripted::before(behind.address(), |seen| (seen.body.len() > 3 << 20).then(|| Reply::status(413)))
            .await;
    let bytes = noise(9 << 20, 1);
    push(&at(&server), &bytes, None).await.unwrap();
    assert_eq!(fetch(&at(&server), &blob(&bytes)).await.unwrap(), bytes);
}

#[tokio::test]
async fn an_upload_the_registry_forgot_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    let behind = real(&dir).await;
    let server = Scripted::before(behind.address(), |seen| {
        (seen.method == "PUT" && seen.nth == 0 && seen.path.contains("/uploads/forgotten"))
            .then(|| Reply::status(404))
            .or((seen.method == "POST" && seen.nth == 0)
                .then(|| Reply::status(202).header("location", "/v2/app/blobs/uploads/forgotten")))
    })
    .await;
    let bytes = noise(1000, 1);
    push(&at(&server), &bytes, None).await.unwrap();
    assert_eq!(fetch(&at(&server), &blob(&bytes)).await.unwrap(), bytes);
}

#[tokio::test]
async fn an_upload_given_up_is_cancelled() {
    let server = Scripted::new(|seen| match seen.method.as_str() {
        "POST" => Some(Reply::status(202).header("location", "/v2/app/blobs/uploads/1")),
        "PUT" => {
            Some(Reply::status(400).body(r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#))
        }
        _ => Some(Reply::status(204)),
    })
    .await;
    let error = push(&at(&server), &noise(10, 1), None).await.unwrap_err();
    assert!(error.to_string().contains("quota exceeded (DENIED)"), "{error}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.methods().contains(&"DELETE".to_string()) {
        assert!(Instant::now() < deadline, "{:?}", server.methods());
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let bytes = noise(200_000, 1);
    let content = bytes.clone();
    let server = Scripted::new(move |seen| {
        let begin: usize =
            seen.header("range").trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap_or(0);
        let rest = content.slice(begin..);
        let cut = rest.len().min(70_000);
        let reply = match begin {
            0 => Reply::status(200),
            _ => Reply::status(206).header("content-range", format!("bytes {begin}-199999/200000")),
        };
        Some(reply.body(rest).cut_after(cut))
    })
    .await;
    assert_eq!(fetch(&at(&server), &blob(&bytes)).await.unwrap(), bytes);
    assert!(
        server.seen().len() >= 3 && server.seen()[1].header("range").starts_with("bytes="),
        "{:?}",
        server.methods()
    );
}

#[tokio::test]
async fn a_registry_without_ranges_is_read_again_from_the_start() {
    let bytes = noise(200_000, 1);
    let content = bytes.clone();
    let server = Scripted::new(move |seen| {
        let reply = Reply::status(200).body(content.clone());
        Some(if seen.nth == 0 { reply.cut_after(50_000) } else { reply })
    })
    .await;
    assert_eq!(fetch(&at(&server), &blob(&bytes)).await.unwrap(), bytes);
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_never_stored() {
    let (good, evil) = (noise(5000, 1), noise(5000, 2));
    let check = async |body: Bytes, expected: fn(&ClientError) -> bool| {
        let server = Scripted::new(move |_| Some(Reply::status(200).body(body.clone()))).await;
        let error = fetch(&at(&server), &blob(&good)).await.unwrap_err();
        assert!(expected(&error), "{error}");
    };
    check(evil, |error| matches!(error, ClientError::Corrupt { .. })).await;
    check(noise(5001, 1), |error| matches!(error, ClientError::TooLarge { .. })).await;
    check(good.slice(..4999), |error| matches!(error, ClientError::Truncated { found: 4999, .. })).await;
}

#[tokio::test]
async fn a_manifest_is_believed_only_with_its_digest() {
    let raw = manifest(&blob(&noise(10, 1)), &[], None);
    let other = Digest::of(b"other");
    let (bytes, claimed) = (raw.bytes.clone(), other.to_string());
    let server = Scripted::new(move |seen| {
        let reply = Reply::status(200).header("content-type", "application/json").body(bytes.clone());
        Some(if seen.path.ends_with("/lying") {
            reply.header("docker-content-digest", &claimed)
        } else {
            reply
        })
    })
    .await;
    let repository = at(&server);
    assert!(matches!(repository.manifest("lying").await, Err(ClientError::Corrupt { .. })));
    assert!(matches!(repository.manifest(&other.to_string()).await, Err(ClientError::Corrupt { .. })));
    // Without any digest in the answer, its own is computed; a HEAD that says too little becomes a GET.
    assert_eq!(repository.manifest("plain").await.unwrap().unwrap(), raw);
    assert_eq!(repository.head_manifest("plain").await.unwrap().unwrap().digest, raw.digest);
}

#[tokio::test]
async fn bodies_have_limits() {
    let server = Scripted::new(|_| Some(Reply::status(200).body(vec![b' '; 9 << 20]))).await;
    let repository = at(&server);
    assert!(matches!(repository.manifest("v1").await, Err(ClientError::TooLarge { .. })));
    assert!(matches!(repository.tags().await, Err(ClientError::TooLarge { .. })));
    let garbage = Scripted::new(|_| Some(Reply::status(418).body(vec![0xff; 1 << 20]))).await;
    let error = at(&garbage).manifest("v1").await.unwrap_err();
    assert!(error.to_string().contains("418") && error.to_string().len() < 2000, "{error}");
}

/// A registry with a token server: tokens are `token-<n>`, good for the scopes they were asked for until `revoke` is seen.
async fn guarded(token_requests: std::sync::Arc<Mutex<Vec<Seen>>>) -> Scripted {
    Scripted::new(move |seen| {
        if seen.path.starts_with("/token") {
            let mut requests = token_requests.lock().unwrap();
            requests.push(seen.clone());
            return Some(
                Reply::status(200)
                    .body(format!("{{\"token\":\"token-{}\",\"expires_in\":300}}", requests.len())),
            );
        }
        let newest = format!("Bearer token-{}", token_requests.lock().unwrap().len());
        if seen.header("authorization") != newest || newest.ends_with("-0") {
            let challenge = format!("Bearer realm=\"http://{}/token\",service=\"test\"", seen.header("host"));
            return Some(Reply::status(401).header("www-authenticate", challenge));
        }
        Some(Reply::status(if seen.method == "POST" { 201 } else { 200 }).header("content-length", "1"))
    })
    .await
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_it_is_refused() {
    let requests = std::sync::Arc::new(Mutex::new(Vec::new()));
    let server = guarded(requests.clone()).await;
    let credentials = Credentials::password(&server.host(), "me", "pw");
    let client = client_with(Options { credentials, ..Options::default() });
    let repository = client.repository(&server.host(), "app").unwrap();
    for n in 0..3 {
        repository.head_blob(&Digest::of(&[n])).await.unwrap();
    }
    assert_eq!(requests.lock().unwrap().len(), 1);
    let first = requests.lock().unwrap()[0].clone();
    assert_eq!(first.header("authorization"), "Basic bWU6cHc=");
    assert!(
        first.path.contains("service=test") && first.path.contains("scope=repository%3Aapp%3Apull"),
        "{}",
        first.path
    );
    // The registry forgets the token: the next request gets another one by itself.
    requests.lock().unwrap().push(first);
    repository.head_blob(&Digest::of(b"again")).await.unwrap();
    assert_eq!(requests.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_mount_asks_for_both_repositories() {
    let requests = std::sync::Arc::new(Mutex::new(Vec::new()));
    let server = guarded(requests.clone()).await;
    assert_eq!(push(&at(&server), &noise(10, 1), Some("base")).await.unwrap(), Moved::Mounted);
    let path = requests.lock().unwrap()[0].path.clone();
    assert!(
        path.contains("repository%3Aapp%3Apull%2Cpush") && path.contains("repository%3Abase%3Apull"),
        "{path}"
    );
}

#[tokio::test]
async fn a_wrong_password_says_what_to_do() {
    let server = Scripted::new(|_| {
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        Some(Reply::status(401).header("www-authenticate", "Basic realm=\"r\"").body(body))
    })
    .await;
    let error = at(&server).head_blob(&Digest::of(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);
    assert!(error.hint().unwrap().contains("docker login"), "{:?}", error.hint());
    let credentials = Credentials::password(&server.host(), "me", "wrong");
    let client = client_with(Options { credentials, ..Options::default() });
    let error = client.repository(&server.host(), "app").unwrap().manifest("v1").await.unwrap_err();
    assert!(error.to_string().contains("authentication required"), "{error}");
    assert!(error.hint().unwrap().contains("password"), "{:?}", error.hint());
    assert!(server.seen().len() <= 8, "{:?}", server.methods());
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect() {
    let bytes = noise(1000, 1);
    let content = bytes.clone();
    let elsewhere = Scripted::new(move |_| Some(Reply::status(200).body(content.clone()))).await;
    let target = format!("http://{}/storage/blob?signature=secret", elsewhere.address);
    let server = Scripted::new(move |seen| {
        Some(match seen.header("authorization") {
            "" => Reply::status(401).header("www-authenticate", "Basic realm=\"r\""),
            _ => Reply::status(307).header("location", &target),
        })
    })
    .await;
    let credentials = Credentials::password(&server.host(), "me", "pw");
    let client = client_with(Options { credentials, ..Options::default() });
    let repository = client.repository(&server.host(), "app").unwrap();
    assert_eq!(fetch(&repository, &blob(&bytes)).await.unwrap(), bytes);
    assert_eq!(elsewhere.seen()[0].header("authorization"), "");
}

#[tokio::test]
async fn redirects_do_not_go_in_circles() {
    let server = Scripted::new(|seen| Some(Reply::status(302).header("location", &seen.path))).await;
    let error = at(&server).manifest("v1").await.unwrap_err();
    assert!(error.to_string().contains("circles"), "{error}");
}

#[tokio::test]
async fn referrers_are_kept_under_a_tag_where_the_registry_has_no_list() {
    let dir = tempfile::tempdir().unwrap();
    let behind = real(&dir).await;
    // An older registry: no referrers API, no word about subjects.
    let server = Scripted::before(behind.address(), |seen| {
        seen.path.contains("/referrers/").then(|| Reply::status(404)).or_else(|| {
            let is_about =
                seen.method == "PUT" && String::from_utf8_lossy(&seen.body).contains("\"subject\"");
            is_about.then(|| Reply::status(201))
        })
    })
    .await;
    let repository = at(&server);
    let subject = manifest(&blob(&noise(10, 1)), &[], None);
    let mut expected = Vec::new();
    for kind in ["application/x.sbom", "application/x.signature"] {
        let mut config = blob(&Bytes::from_static(b"{}"));
        config.media_type = kind.to_string();
        push(&repository, &Bytes::from_static(b"{}"), None).await.unwrap();
        let about = manifest(&config, &[], Some(subject.descriptor()));
        // The scripted answer keeps it from the registry behind, which the list must contain nevertheless.
        client().repository(&behind.host(), "app").unwrap().put_manifest(&about, &[]).await.unwrap();
        assert!(!repository.put_manifest(&about, &[]).await.unwrap().subject_listed);
        expected.push(about.digest);
    }
    let found = repository.referrers(&subject.digest, None).await.unwrap();
    assert_eq!(found.iter().map(|found| found.digest.clone()).collect::<Vec<_>>(), expected);
    let found = repository.referrers(&subject.digest, Some("application/x.sbom")).await.unwrap();
    assert_eq!(found.len(), 1);
    let tag = subject.digest.to_string().replace(':', "-");
    let list: Raw = repository.manifest(&tag).await.unwrap().unwrap();
    assert_eq!(list.media_type, INDEX);
    assert_eq!(serde_json::from_slice::<Index>(&list.bytes).unwrap().manifests.len(), 2);
}

#[tokio::test]
async fn referrers_of_a_modern_registry_come_from_its_list() {
    let dir = tempfile::tempdir().unwrap();
    let behind = real(&dir).await;
    let repository = client().repository(&behind.host(), "app").unwrap();
    let subject = manifest(&blob(&noise(10, 1)), &[], None);
    push(&repository, &Bytes::from_static(b"{}"), None).await.unwrap();
    let about = manifest(&blob(&Bytes::from_static(b"{}")), &[], Some(subject.descriptor()));
    assert!(repository.put_manifest(&about, &["sbom"]).await.unwrap().subject_listed);
    let found = repository.referrers(&subject.digest, None).await.unwrap();
    assert_eq!(found.iter().map(|found| &found.digest).collect::<Vec<_>>(), [&about.digest]);
    assert_eq!(repository.tags().await.unwrap().unwrap(), ["sbom"]);
    assert!(repository.delete_manifest("sbom").await.unwrap());
    assert!(!repository.delete_manifest("sbom").await.unwrap());
}

#[tokio::test]
async fn names_that_are_none_are_refused_before_anything_is_sent() {
    let client = client();
    for (host, name) in [
        ("r.example", "../x"),
        ("r.example/x", "app"),
        ("", "app"),
        ("r.example?x", "app"),
        ("me@r.example", "app"),
    ] {
        assert!(client.repository(host, name).is_err(), "{host} {name}");
    }
    let repository = client.repository("r.example", "app").unwrap();
    assert!(matches!(repository.manifest("a/b").await, Err(ClientError::Name { .. })));
    assert!(matches!(repository.manifest("sha256:x").await, Err(ClientError::Name { .. })));
}
