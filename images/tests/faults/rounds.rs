//! Rounds of a mirror over wires on which things happen. Each seed is another network; the images are always the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use images::Digest;
use images::client::{Client, Options, Repository, Source};
use images::document::{
    CONFIG, Descriptor, DescriptorPlatform, INDEX, Index, LAYER_GZIP, Manifest, Raw, is_index,
};
use images::mirror::{Lock, Mirror, Observer, Run, declaration, observe, plan, sync, verify};
use images::registry::{self, Running, serve};
use images::wire::{self, Faults, Wire};
use serde_json::json;

use crate::content::{manifest, noise, quiet};

/// Rounds side by side. Both ends of every connection are in this process, which may have a thousand files open.
const SIDE_BY_SIDE: usize = 4;
/// Runs after which a wire has no faults left, each of which has the chance to end a run.
const RUNS: usize = 40;
/// Runs of a client that soon takes silence for the end. A machine can be too busy for it.
const IMPATIENT: usize = 4;
/// Between two looks at the destination while a run is under way.
const PACE: Duration = Duration::from_millis(150);

/// Where everything comes from.
struct World {
    registry: Running,
    images: Vec<(&'static str, &'static str, Raw)>,
    /// Past all wires.
    client: Client,
    _folder: tempfile::TempDir,
}

/// Mirrors over a network for each seed; whatever happens there, both sides are the same in the end, and no tag was ever incomplete.
pub async fn rounds(seeds: std::ops::Range<u64>) {
    let world = World::new().await;
    let mut rounds =
        futures::stream::iter(seeds).map(|seed| world.round(seed)).buffer_unordered(SIDE_BY_SIDE);
    while rounds.next().await.is_some() {}
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let registry = serve(registry::Options::on_loopback(folder.path())).await.unwrap();
        let mut world =
            World { registry, images: Vec::new(), client: Client::new(Options::default()), _folder: folder };
        for (name, tag, layers) in [
            ("library/one", "v1", vec![1, 2]),
            ("library/one", "v2", vec![1, 3]),
            ("library/two", "v1", vec![1]),
        ] {
            let index = world.publish(name, tag, &layers).await;
            world.images.push((name, tag, index));
        }
        world
    }

    async fn publish(&self, name: &str, tag: &str, layers: &[u64]) -> Raw {
        let target = self.client.repository(&self.registry.host(), name).unwrap();
        let mut listed = Vec::new();
        for architecture in ["amd64", "arm64"] {
            let config = json!({
                "created": "2026-01-01T00:00:00Z", "os": "linux", "architecture": architecture,
                "rootfs": {"type": "layers", "diff_ids": []}, "for": [name, tag],
            });
            let config = blob(&target, CONFIG, config.to_string().into()).await;
            let mut descriptors = Vec::new();
            for seed in layers {
                let seed = seed * 10 + architecture.len() as u64 + u64::from(architecture == "arm64");
                descriptors.push(blob(&target, LAYER_GZIP, noise(60_000 / layers.len(), seed)).await);
            }
            let raw = manifest(&config, &descriptors, None);
            target.put_manifest(&raw, &[]).await.unwrap();
            let platform =
                DescriptorPlatform { os: "linux".into(), architecture: architecture.into(), variant: None };
            listed.push(Descriptor { platform: Some(platform), ..raw.descriptor() });
        }
        let index = Raw::of(INDEX, &Index::new(listed)).unwrap();
        target.put_manifest(&index, &[tag]).await.unwrap();
        let about = blob(&target, "application/spdx+json", index.digest.hex().to_owned().into()).await;
        let sbom = manifest(&about, std::slice::from_ref(&about), Some(index.descriptor()));
        target.put_manifest(&sbom, &[]).await.unwrap();
        let signature = manifest(&about, &[], None);
        target.put_manifest(&signature, &[&signature_tag(&index)]).await.unwrap();
        index
    }

    async fn round(&self, seed: u64) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("images")).unwrap();
        let options = registry::Options::on_loopback(folder.path().join("destination"));
        let destination = serve(options).await.unwrap();
        let silence = Duration::from_millis(700);
        let faults = |seed| Some(Faults { seed, one_in: 4 + seed % 20, most: 8, silence });
        let wires = |seed| wire::Options { faults: faults(seed), ..wire::Options::default() };
        let near = Wire::to(self.registry.address(), wires(2 * seed)).await.unwrap();
        let far = Wire::to(destination.address(), wires(2 * seed + 1)).await.unwrap();
        let mut text = String::from("[defaults]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n");
        for name in ["library/one", "library/two"] {
            text += &format!(
                "[[image]]\nsource = \"{}/{name}\"\ndestination = \"{}/mirror/{name}\"\nglobs = [\"v*\"]\n",
                near.host(),
                far.host()
            );
        }
        let mirror = declaration::parse("images/mirror.toml", &text).unwrap();
        let mut runs = 0;
        loop {
            let run = run(&mirror, folder.path(), runs < IMPATIENT);
            tokio::pin!(run);
            let done = loop {
                tokio::select! {
                    done = &mut run => break done,
                    () = tokio::time::sleep(PACE) => self.tags_are_complete(&destination, seed).await,
                }
            };
            self.tags_are_complete(&destination, seed).await;
            if done {
                break;
            }
            runs += 1;
            assert!(runs < RUNS, "seed {seed}: it does not come to an end");
        }
        let lock = Lock::load(folder.path()).unwrap();
        // The wires may have faults left; what could not be looked at for them is neither sound nor at fault.
        for run in 1.. {
            let verified = verify(&Client::new(Options::default()), &mirror, &lock, None).await;
            assert_eq!(verified.faults, vec![], "seed {seed}");
            if verified.failures.is_empty() {
                assert_eq!(verified.sound, self.images.len(), "seed {seed}");
                break;
            }
            assert!(run < RUNS, "seed {seed}: it cannot be verified: {:?}", verified.failures);
        }
        self.both_are_the_same(&destination, seed).await;
    }

    /// Every tag of the destination names all that is behind it.
    async fn tags_are_complete(&self, destination: &Running, seed: u64) {
        for name in ["library/one", "library/two"] {
            let repository = self.repository(destination, &format!("mirror/{name}"));
            for tag in repository.tags().await.unwrap().unwrap_or_default() {
                let mut open = vec![tag];
                while let Some(version) = open.pop() {
                    let raw = repository.manifest(&version).await.unwrap();
                    let raw = raw.unwrap_or_else(|| panic!("seed {seed}: {name}:{version} is missing"));
                    for blob in below(&raw, &mut open) {
                        let found = repository.head_blob(&blob.digest).await.unwrap();
                        assert_eq!(found, Some(blob.size), "seed {seed}: {name}@{version}");
                    }
                }
            }
        }
    }

    async fn both_are_the_same(&self, destination: &Running, seed: u64) {
        for (name, tag, index) in &self.images {
            let one = self.repository(&self.registry, name);
            let other = self.repository(destination, &format!("mirror/{name}"));
            let about = one.referrers(&index.digest, None).await.unwrap();
            assert_eq!(about.len(), 1);
            let mut open = vec![(*tag).to_owned(), signature_tag(index), about[0].digest.to_string()];
            while let Some(version) = open.pop() {
                let raw = one.manifest(&version).await.unwrap().expect("what was published");
                assert_eq!(other.manifest(&version).await.unwrap().as_ref(), Some(&raw), "seed {seed}");
                for blob in below(&raw, &mut open) {
                    let limit = usize::try_from(blob.size).unwrap();
                    let bytes = one.blob(&blob, limit).await.unwrap();
                    assert!(other.blob(&blob, limit).await.unwrap() == bytes, "seed {seed}: {}", blob.digest);
                }
            }
        }
    }

    fn repository(&self, registry: &Running, name: &str) -> Repository {
        self.client.repository(&registry.host(), name).unwrap()
    }
}

/// One run of a client that does not try often. Says whether there was nothing it could not do.
async fn run(mirror: &Mirror, root: &std::path::Path, impatient: bool) -> bool {
    let silence = Duration::from_millis(if impatient { 500 } else { 20_000 });
    let options = Options { attempts: 3, pause: Duration::from_millis(2), silence, ..Options::default() };
    let client = Client::new(options);
    let mut lock = Lock::load(root).unwrap();
    let observed = observe(&client, &mirror.rules).await;
    let plan = plan(&mirror.rules, &lock, &observed.seen, false);
    let observer: Observer = Arc::new(|_| ());
    let run =
        Run { client: &client, mirror, root, cache: &root.join("cache"), signer: None, observer: &observer };
    let synced = sync(run, &plan, &mut lock).await.unwrap();
    observed.failures.is_empty() && synced.failures.is_empty()
}

/// The blobs of a manifest; what an index lists is still to be looked at.
fn below(raw: &Raw, open: &mut Vec<String>) -> Vec<Descriptor> {
    if is_index(&raw.media_type) {
        let index: Index = serde_json::from_slice(&raw.bytes).unwrap();
        open.extend(index.manifests.into_iter().map(|listed| listed.digest.to_string()));
        return Vec::new();
    }
    let manifest: Manifest = serde_json::from_slice(&raw.bytes).unwrap();
    manifest.layers.into_iter().chain([manifest.config]).collect()
}

fn signature_tag(index: &Raw) -> String {
    format!("sha256-{}.sig", index.digest.hex())
}

async fn blob(repository: &Repository, media_type: &str, bytes: Bytes) -> Descriptor {
    let blob = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
    repository.push_blob(&blob, &Source::Bytes(bytes), None, &quiet()).await.unwrap();
    blob
}
