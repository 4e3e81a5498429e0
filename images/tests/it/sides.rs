//! A source and a destination of the mirror, and runs between them.

use std::sync::Arc;

use bytes::Bytes;
use images::client::{Client, Source};
use images::document::{CONFIG, Descriptor, DescriptorPlatform, INDEX, Index, LAYER_GZIP, Raw};
use images::mirror::{Lock, Mirror, Observed, Observer, Plan, Run, Synced, declaration, observe, plan, sync};
use images::registry::{Options, Running, serve};
use images::sign::Signer;
use serde_json::json;

use crate::content::{client, manifest, noise, quiet};
use crate::scripted::{Reply, Scripted, Seen};

pub const BOTH: &[&str] = &["linux/amd64", "linux/arm64"];
/// Everything of one repository, and a tag of another.
pub const RULES: &str = r#"
    [defaults]
    platforms = ["linux/amd64", "linux/arm64"]
    [[image]]
    source = "SOURCE/library/one"
    destination = "DESTINATION/mirror/one"
    globs = ["*"]
    [[image]]
    source = "SOURCE/library/two"
    destination = "DESTINATION/mirror/two"
    tags = ["v1"]
"#;

/// A source and a destination, each behind a server that sees every request.
pub struct Sides {
    pub source: Running,
    pub source_seen: Scripted,
    pub destination: Running,
    pub destination_seen: Scripted,
    pub client: Client,
    pub root: tempfile::TempDir,
    pub signer: Option<Signer>,
}

impl Sides {
    pub async fn new() -> Sides {
        Sides::with(|_| None).await
    }

    pub async fn with(script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Sides {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("images")).unwrap();
        let source = serve(Options::on_loopback(root.path().join("source"))).await.unwrap();
        let destination = serve(Options::on_loopback(root.path().join("destination"))).await.unwrap();
        let source_seen = Scripted::before(source.address(), script).await;
        let destination_seen = Scripted::before(destination.address(), |_| None).await;
        Sides { source, source_seen, destination, destination_seen, client: client(), root, signer: None }
    }

    pub fn mirror(&self, rules: &str) -> Mirror {
        let text = rules
            .replace("SOURCE", &self.source_seen.host())
            .replace("DESTINATION", &self.destination_seen.host());
        declaration::parse("images/mirror.toml", &text).unwrap()
    }

    /// Pushes an image for some platforms to the source, past the counting.
    pub async fn publish(&self, repository: &str, tag: &str, platforms: &[&str], layers: &[&Bytes]) -> Raw {
        let target = client().repository(&self.source.host(), repository).unwrap();
        let mut listed = Vec::new();
        for platform in platforms {
            let (os, architecture) = platform.split_once('/').unwrap();
            let config = json!({
                "created": "2026-01-01T00:00:00Z", "os": os, "architecture": architecture,
                "rootfs": {"type": "layers", "diff_ids": []}, "for": format!("{repository}:{tag}"),
            });
            let mut blobs = vec![(Bytes::from(config.to_string()), CONFIG)];
            blobs.extend(layers.iter().map(|layer| ((*layer).clone(), LAYER_GZIP)));
            // A layer of the platform's own.
            blobs.push((noise(3_000, architecture.len() as u64 * 31 + tag.len() as u64), LAYER_GZIP));
            let mut descriptors = Vec::new();
            for (bytes, media_type) in blobs {
                let blob = Descriptor::new(media_type, images::Digest::of(&bytes), bytes.len() as u64);
                if target.head_blob(&blob.digest).await.unwrap().is_none() {
                    target.push_blob(&blob, &Source::Bytes(bytes), None, &quiet()).await.unwrap();
                }
                descriptors.push(blob);
            }
            let raw = manifest(&descriptors[0], &descriptors[1..], None);
            target.put_manifest(&raw, &[]).await.unwrap();
            let mut entry = raw.descriptor();
            entry.platform =
                Some(DescriptorPlatform { os: os.into(), architecture: architecture.into(), variant: None });
            listed.push(entry);
        }
        let index = Raw::of(INDEX, &Index::new(listed)).unwrap();
        target.put_manifest(&index, &[tag]).await.unwrap();
        index
    }

    pub async fn plan(&self, mirror: &Mirror, lock: &Lock, update: bool) -> (Plan, Observed) {
        let observed = observe(&self.client, &mirror.rules).await;
        (plan(&mirror.rules, lock, &observed.seen, update), observed)
    }

    pub async fn run(&self, mirror: &Mirror, update: bool) -> Synced {
        let mut lock = self.lock();
        let (plan, observed) = self.plan(mirror, &lock, update).await;
        assert!(observed.failures.is_empty(), "{:?}", observed.failures);
        let (observer, cache): (Observer, _) = (Arc::new(|_| ()), self.root.path().join("cache"));
        let run = Run {
            client: &self.client,
            mirror,
            root: self.root.path(),
            cache: &cache,
            signer: self.signer.as_ref(),
            observer: &observer,
        };
        sync(run, &plan, &mut lock).await.unwrap()
    }

    pub fn lock(&self) -> Lock {
        Lock::load(self.root.path()).unwrap()
    }

    /// What a tag of the destination names, past the counting.
    pub async fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        let target = client().repository(&self.destination.host(), repository).unwrap();
        target.head_manifest(tag).await.unwrap().map(|found| found.digest.to_string())
    }
}
