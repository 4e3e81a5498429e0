//! A source, a destination, wires to both, and a workspace whose mirror is run as a process of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use ci::bench::corpus::{Corpus, Published, publish};
use ci::bench::registry::{Kind, Registry};
use images::client::{Client, Options, Repository};
use images::document::{Index, Manifest, Raw, is_index};
use images::registry::{self, Running, serve};
use images::wire::{self, Exchange, Wire};
use tokio::process::{Child, Command};

/// Longer than a busy machine needs for one run.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of what is large.
pub const LARGE: u64 = 24 << 20;

pub struct World {
    root: tempfile::TempDir,
    source: Running,
    source_wire: Wire,
    kind: Kind,
    destination: Registry,
    destination_wire: Wire,
    published: Published,
    wires: wire::Options,
    client: Client,
    /// Destinations so far.
    episodes: usize,
    dice: u64,
}

impl World {
    /// Many small blobs, to a registry of that kind.
    pub async fn new(wires: wire::Options, kind: Kind) -> World {
        let corpus = Corpus {
            name: "killed",
            repositories: 3,
            tags: 2,
            architectures: vec!["amd64", "arm64"],
            shared: 400_000,
            common: 90_000,
            own: (2, 30_000),
            signed: true,
        };
        World::with(&corpus, wires, kind).await
    }

    /// Two blobs of half of [`LARGE`], and a wire that lets half of it pass.
    pub async fn large(kind: Kind) -> World {
        let corpus = Corpus {
            name: "large",
            repositories: 1,
            tags: 1,
            architectures: vec!["amd64", "arm64"],
            shared: LARGE as usize / 2,
            common: 0,
            own: (0, 0),
            signed: true,
        };
        let wires = wire::Options { upload_limit: Some(LARGE / 2), ..wire::Options::default() };
        World::with(&corpus, wires, kind).await
    }

    async fn with(corpus: &Corpus, wires: wire::Options, kind: Kind) -> World {
        let root = tempfile::tempdir().unwrap();
        for folder in ["images", "ci/pipelines", "docker"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let client = Client::new(Options::default());
        let source = serve(registry::Options::on_loopback(root.path().join("source"))).await.unwrap();
        let published = publish(corpus, &client, &source.host()).await.unwrap();
        let source_wire = Wire::to(source.address(), wires.clone()).await.unwrap();
        let destination = Registry::start(kind, &root.path().join("destination")).await.unwrap();
        let destination_wire = Wire::to(destination.address(), wires.clone()).await.unwrap();
        let dice = 0x2545_f491_4f6c_dd1d;
        let world = World {
            root,
            source,
            source_wire,
            kind,
            destination,
            destination_wire,
            published,
            wires,
            client,
            episodes: 0,
            dice,
        };
        world.declare();
        world
    }

    /// The workspace.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    fn declare(&self) {
        let mut text = String::from("[defaults]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n");
        for repository in self.published.repositories() {
            text += &format!(
                "[[image]]\nsource = \"{}/{repository}\"\ndestination = \"{}/mirror/{repository}\"\nversions = \"*\"\n",
                self.source_wire.host(),
                self.destination_wire.host()
            );
        }
        std::fs::write(self.root().join("images/mirror.toml"), text).unwrap();
    }

    /// Another destination, with nothing in it; what earlier runs left in the cache stays.
    async fn begin_again(&mut self) {
        self.episodes += 1;
        let directory = self.root.path().join(format!("destination-{}", self.episodes));
        self.destination = Registry::start(self.kind, &directory).await.unwrap();
        self.destination_wire = Wire::to(self.destination.address(), self.wires.clone()).await.unwrap();
        std::fs::remove_file(self.root.path().join("images/mirror.lock")).unwrap();
        self.declare();
    }

    fn start(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_slipway"))
            .arg("mirror")
            .args(arguments)
            .current_dir(self.root())
            .env("DOCKER_CONFIG", self.root().join("docker"))
            .env_remove("REGISTRY_AUTH_FILE")
            .env_remove("DOCKER_AUTH_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Runs to the end and has to succeed.
    async fn succeed(&self, arguments: &[&str]) {
        let output = tokio::time::timeout(PATIENCE, self.start(arguments).wait_with_output()).await;
        let output = output.expect("a run ends").unwrap();
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "mirror {arguments:?}: {}\n{}", output.status, told.join("\n"));
    }

    /// Between 0 and `below`.
    fn roll(&mut self, below: usize) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        usize::try_from(self.dice % (below as u64)).unwrap()
    }

    /// Kills runs after random numbers of requests, at one side or the other. A run that was quicker ends an episode: everything is
    /// compared, and the next one has an empty destination.
    pub async fn kill_many(&mut self, kills: usize) {
        let mut killed = 0;
        while killed < kills {
            let mut run = self.start(&["sync"]);
            let at_source = self.roll(2) == 0;
            let requests = 1 + self.roll(if at_source { 30 } else { 60 });
            let wire = if at_source { &self.source_wire } else { &self.destination_wire };
            let ended = tokio::select! {
                status = tokio::time::timeout(PATIENCE, run.wait()) => Some(status.expect("a run ends").unwrap()),
                () = wire.reached(wire.count() + requests) => None,
            };
            if let Some(status) = ended {
                assert!(status.success(), "{status}");
                self.complete().await;
                self.begin_again().await;
                continue;
            }
            run.kill().await.unwrap();
            killed += 1;
            self.tags_are_complete().await;
        }
        self.complete().await;
    }

    /// Kills a run after it has sent so many bytes of blobs, where its wire lets no more pass. From then on it does.
    pub async fn kill_uploading(&self, bytes: u64) {
        let mut run = self.start(&["sync"]);
        tokio::select! {
            status = tokio::time::timeout(PATIENCE, run.wait()) => panic!("the run ends too early: {status:?}"),
            () = self.destination_wire.uploaded(bytes) => {}
        }
        run.kill().await.unwrap();
        self.tags_are_complete().await;
        self.destination_wire.lift_upload_limit();
        self.source_wire.forget();
        self.destination_wire.forget();
    }

    /// Bytes of blobs that came from the source and went to the destination.
    pub fn moved(&self) -> [u64; 2] {
        let blobs = |wire: &Wire, bytes: fn(&Exchange) -> u64| -> u64 {
            wire.exchanges().iter().filter(|one| one.path.contains("/blobs/")).map(bytes).sum()
        };
        [blobs(&self.source_wire, |one| one.received), blobs(&self.destination_wire, |one| one.sent)]
    }

    /// Runs to the end; both sides are the same then, nothing was sent twice, and there is nothing left to do.
    pub async fn complete(&mut self) {
        self.succeed(&["sync"]).await;
        self.succeed(&["verify"]).await;
        self.tags_are_complete().await;
        self.nothing_was_sent_twice();
        for (repository, tag, index) in &self.published.images {
            let [source, destination] = self.both(repository);
            self.same(&source, &destination, tag).await;
            self.same(&source, &destination, &format!("sha256-{}.sig", index.digest.hex())).await;
            let about = source.referrers(&index.digest, None).await.unwrap();
            assert_eq!(about.len(), 1);
            self.same(&source, &destination, &about[0].digest.to_string()).await;
        }
        self.succeed(&["sync"]).await;
    }

    /// The repository on both sides, past the wires.
    fn both(&self, repository: &str) -> [Repository; 2] {
        [
            self.client.repository(&self.source.host(), repository).unwrap(),
            self.client
                .repository(&self.destination.address().to_string(), &format!("mirror/{repository}"))
                .unwrap(),
        ]
    }

    /// Everything behind a tag is the same, byte for byte.
    async fn same(&self, source: &Repository, destination: &Repository, version: &str) {
        let mut open = vec![version.to_owned()];
        while let Some(version) = open.pop() {
            let [one, other] = [
                source.manifest(&version).await.unwrap().expect("a manifest at the source"),
                destination.manifest(&version).await.unwrap().expect("a manifest at the destination"),
            ];
            assert_eq!(one, other, "{version}");
            if is_index(&one.media_type) {
                let index: Index = serde_json::from_slice(&one.bytes).unwrap();
                open.extend(index.manifests.into_iter().map(|listed| listed.digest.to_string()));
                continue;
            }
            let manifest: Manifest = serde_json::from_slice(&one.bytes).unwrap();
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                let limit = usize::try_from(blob.size).unwrap();
                let [one, other] =
                    [source.blob(blob, limit).await.unwrap(), destination.blob(blob, limit).await.unwrap()];
                assert!(one == other, "{}", blob.digest);
            }
        }
    }

    /// No tag at the destination names anything incomplete, and those that are mirrored name what the source has.
    async fn tags_are_complete(&self) {
        for repository in self.published.repositories() {
            let [_, destination] = self.both(repository);
            for tag in destination.tags().await.unwrap().unwrap_or_default() {
                let raw = destination.manifest(&tag).await.unwrap().expect("a tag names a manifest");
                let wanted =
                    self.published.images.iter().find(|(name, known, _)| name == repository && *known == tag);
                if let Some((_, _, wanted)) = wanted {
                    assert_eq!(raw.digest, wanted.digest, "{repository}:{tag}");
                }
                is_complete(&destination, raw).await;
            }
        }
    }

    fn nothing_was_sent_twice(&self) {
        let mut sent: BTreeMap<String, usize> = BTreeMap::new();
        for exchange in self.destination_wire.exchanges() {
            if exchange.method == "PUT" && exchange.status == 201 && exchange.path.contains("/blobs/uploads/")
            {
                let repository = exchange.path.split("/blobs/").next().unwrap();
                let (_, digest) = exchange.path.split_once("digest=").expect("a digest");
                *sent.entry(format!("{repository} {digest}")).or_default() += 1;
            }
        }
        let twice: Vec<_> = sent.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}

async fn is_complete(repository: &Repository, raw: Raw) {
    let mut open = vec![raw];
    while let Some(raw) = open.pop() {
        if is_index(&raw.media_type) {
            let index: Index = serde_json::from_slice(&raw.bytes).unwrap();
            for listed in index.manifests {
                let below = repository.manifest(&listed.digest.to_string()).await.unwrap();
                open.push(below.expect("a manifest behind a tag"));
            }
            continue;
        }
        let manifest: Manifest = serde_json::from_slice(&raw.bytes).unwrap();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            let there = repository.head_blob(&blob.digest).await.unwrap();
            assert_eq!(there, Some(blob.size), "a blob behind a tag");
        }
    }
}
