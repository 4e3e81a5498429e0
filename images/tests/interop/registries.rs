//! Our client with Docker's registry, and our registry with skopeo.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::content::{blob, client, client_with, image, layout, manifest, noise, quiet};
use bytes::Bytes;
use images::client::{Moved, Options, Source};
use images::push::{self, Observer};
use images::registry::{self, serve};
use images::{BuiltImage, Destination, Layout};

/// Debian's docker-registry on a port of its own; ends with the value.
pub struct Docker {
    child: Child,
    pub host: String,
    _dir: tempfile::TempDir,
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Docker {
    pub fn start() -> Docker {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = dir.path().join("config.yml");
        let data = dir.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\n  \
             delete: {{ enabled: true }}\nhttp: {{ addr: \"{host}\" }}\n",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("these tests need Docker's registry\n  hint: apt-get install docker-registry");
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(&host).is_err() {
            assert!(Instant::now() < deadline, "docker-registry does not listen on {host}");
            std::thread::yield_now();
        }
        Docker { child, host, _dir: dir }
    }
}

/// Runs skopeo without TLS and without a policy file; gives what it prints.
pub fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo")
        .args(["--insecure-policy", "--override-os", "linux"])
        .args(arguments)
        .output()
        .expect("these tests need skopeo\n  hint: apt-get install skopeo");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "skopeo {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

pub fn images_in(layout: &Layout) -> Vec<BuiltImage> {
    let shared = noise(100_000, 1);
    ["one", "three"].map(|name| image(layout, name, &[&shared, &noise(70_000, name.len() as u64)])).to_vec()
}

pub fn destination(host: &str) -> Destination {
    format!("{host}/team:v1").parse().unwrap()
}

pub async fn push_to(host: &str, layout: &Layout, images: &[BuiltImage]) -> push::Pushed {
    let nobody: Observer = Arc::new(|_| ());
    push::push(layout, images, &destination(host), &client(), &nobody).await.unwrap()
}

/// The digest skopeo sees under a name.
fn seen_by_skopeo(reference: &str) -> String {
    use images::Digest;
    let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &format!("docker://{reference}")]);
    Digest::of(raw.as_bytes()).to_string()
}

#[tokio::test]
async fn dockers_registry_takes_a_push_once() {
    let dir = tempfile::tempdir().unwrap();
    let docker = Docker::start();
    let layout = layout(dir.path());
    let images = images_in(&layout);
    let first = push_to(&docker.host, &layout, &images).await;
    // The shared layer is sent once and mounted once.
    assert_eq!((first.blobs, first.mounted), (5, 1));
    for image in &images {
        let reference = format!("{}/team/{}:v1", docker.host, image.name);
        assert_eq!(seen_by_skopeo(&reference), image.index.digest.to_string());
    }
    assert_eq!(push_to(&docker.host, &layout, &images).await.bytes, 0);
}

#[tokio::test]
async fn dockers_registry_gives_back_what_it_got() {
    let docker = Docker::start();
    let repository = client().repository(&docker.host, "app").unwrap();
    let bytes = noise(9 << 20, 1);
    let source = Source::Bytes(bytes.clone());
    assert_eq!(repository.push_blob(&blob(&bytes), &source, None, &quiet()).await.unwrap(), Moved::Uploaded);
    assert_eq!(repository.head_blob(&blob(&bytes).digest).await.unwrap(), Some(9 << 20));

    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    assert_eq!(repository.fetch_blob(&blob(&bytes), &layout, &quiet()).await.unwrap(), 9 << 20);
    assert_eq!(std::fs::read(layout.blob_path(&blob(&bytes).digest)).unwrap(), bytes);

    // In pieces, as registries behind a proxy with limits need it.
    let pieces = client_with(Options { piece: Some(300_000), ..Options::default() });
    let pieces = pieces.repository(&docker.host, "app").unwrap();
    let other = noise(1_000_000, 2);
    pieces.push_blob(&blob(&other), &Source::Bytes(other.clone()), None, &quiet()).await.unwrap();
    assert_eq!(pieces.blob(&blob(&other), 1 << 20).await.unwrap(), other);
}

#[tokio::test]
async fn dockers_registry_lists_tags_and_deletes() {
    let docker = Docker::start();
    let repository = client().repository(&docker.host, "app").unwrap();
    let config = Bytes::from_static(b"{}");
    repository.push_blob(&blob(&config), &Source::Bytes(config.clone()), None, &quiet()).await.unwrap();
    let raw = manifest(&blob(&config), &[], None);
    repository.put_manifest(&raw, &["a", "b", "c"]).await.unwrap();
    let mut tags = repository.tags().await.unwrap().unwrap();
    // This registry lists them in the order of its directory.
    tags.sort();
    assert_eq!(tags, ["a", "b", "c"]);
    assert!(repository.delete_manifest(&raw.digest.to_string()).await.unwrap());
    assert!(repository.head_manifest(&raw.digest.to_string()).await.unwrap().is_none());
    let nowhere = client().repository(&docker.host, "nowhere").unwrap();
    assert_eq!(nowhere.tags().await.unwrap(), None);
}

#[tokio::test]
async fn dockers_registry_keeps_no_list_of_referrers_so_a_tag_does() {
    let docker = Docker::start();
    let repository = client().repository(&docker.host, "app").unwrap();
    let config = Bytes::from_static(b"{}");
    repository.push_blob(&blob(&config), &Source::Bytes(config.clone()), None, &quiet()).await.unwrap();
    let subject = manifest(&blob(&config), &[], None);
    repository.put_manifest(&subject, &["v1"]).await.unwrap();
    let about = manifest(&blob(&config), &[], Some(subject.descriptor()));
    assert!(!repository.put_manifest(&about, &[]).await.unwrap().subject_listed);
    let found = repository.referrers(&subject.digest, None).await.unwrap();
    assert_eq!(found.iter().map(|found| &found.digest).collect::<Vec<_>>(), [&about.digest]);
}

#[tokio::test]
async fn skopeo_copies_to_and_from_our_registry() {
    let dir = tempfile::tempdir().unwrap();
    let layout = layout(dir.path());
    let images = images_in(&layout);
    let ours = serve(registry::Options::on_loopback(dir.path().join("ours"))).await.unwrap();
    let host = ours.host();
    push_to(&host, &layout, &images).await;

    let copies = [
        (format!("docker://{host}/team/one:v1"), format!("docker://{host}/copied/one:v2")),
        (format!("docker://{host}/copied/one:v2"), format!("oci:{}:one", dir.path().join("out").display())),
    ];
    tokio::task::spawn_blocking(move || {
        for (from, to) in &copies {
            skopeo(&[
                "copy",
                "--all",
                "--preserve-digests",
                "--src-tls-verify=false",
                "--dest-tls-verify=false",
                from,
                to,
            ]);
        }
    })
    .await
    .unwrap();
    let copied = client().repository(&host, "copied/one").unwrap();
    assert_eq!(copied.head_manifest("v2").await.unwrap().unwrap().digest, images[0].index.digest);
    let out: Layout = Layout::open(dir.path().join("out")).unwrap();
    assert!(out.has(&images[0].index), "{}", list(out.dir()));
    let reference = format!("docker://{host}/copied/one:v2");
    let deleted = tokio::task::spawn_blocking(move || skopeo(&["delete", "--tls-verify=false", &reference]));
    deleted.await.unwrap();
    assert!(copied.head_manifest("v2").await.unwrap().is_none());
}

fn list(dir: &Path) -> String {
    let output = Command::new("find").arg(dir).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
