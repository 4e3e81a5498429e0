//! Mirroring, against skopeo, crane and regsync: the same images between the same registries over the same slow wires, once to an
//! empty registry and once with nothing to do.

mod table;

use std::path::Path;
use std::time::Duration;

use images::client::{Client, ClientError, Options};
use images::wire::{self, Exchange, Wire, WireError};
use serde::Serialize;

use super::corpus::{self, Corpus, Published};
use super::registry::Registry;
pub use super::registry::{Kind, RegistryError};
pub use super::tool::Tool;
use super::tool::{self, Task};

/// The most memory `mirror sync` may take, whatever the size of a blob.
pub const MEMORY: u64 = 64 << 20;

/// What is measured.
#[derive(Clone, Debug)]
pub struct Request {
    /// How long a byte takes to the registry and back.
    pub round_trip: Duration,
    /// Which registries.
    pub registry: Kind,
    /// Which tools; those that are not installed are reported as not run.
    pub tools: Vec<Tool>,
    /// Bytes of the one blob of the corpus `large`.
    pub large: usize,
    /// Which corpora, by name; empty means all.
    pub corpora: Vec<String>,
    /// How often each tool has its turn; the fastest run counts.
    pub rounds: usize,
}

/// What a tool did with a corpus.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Measured {
    /// The corpus.
    pub corpus: &'static str,
    /// The tool.
    pub tool: Tool,
    /// To an empty registry.
    pub cold: Option<Leg>,
    /// Again, with nothing to do.
    pub warm: Option<Leg>,
    /// Why there is nothing.
    pub not_run: Option<String>,
}

/// One run.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leg {
    /// How long it took.
    pub seconds: f64,
    /// How long it had a processor.
    pub processor: f64,
    /// The most memory it had, in bytes.
    pub memory: u64,
    /// What the source was asked.
    pub source: Tally,
    /// What the destination was asked.
    pub destination: Tally,
}

/// Requests to one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tally {
    /// All of them.
    pub requests: usize,
    /// Questions without an answer's body.
    pub heads: usize,
    /// Manifests and lists that were read.
    pub reads: usize,
    /// Blobs that were fetched.
    pub blobs: usize,
    /// Everything that writes.
    pub writes: usize,
    /// Bytes of requests.
    pub sent: u64,
    /// Bytes of answers.
    pub received: u64,
}

/// What there was to do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Content {
    /// The corpus.
    pub corpus: &'static str,
    /// Tags.
    pub images: usize,
    /// Blobs, each counted once.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// What there was to do.
    pub contents: Vec<Content>,
    /// What was done.
    pub measured: Vec<Measured>,
    /// Promises of our own that were not kept.
    pub broken: Vec<String>,
}

/// Nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The wire.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The corpus.
    #[error("publish the corpus")]
    Publish(#[from] ClientError),
    /// A folder.
    #[error("prepare a folder")]
    Folder(#[from] std::io::Error),
}

/// The corpora: much that is shared, much that is small, and one large blob.
pub fn corpora(large: usize) -> Vec<Corpus> {
    let both = vec!["amd64", "arm64"];
    let shared = Corpus {
        name: "shared",
        repositories: 4,
        tags: 3,
        architectures: both.clone(),
        shared: 6 << 20,
        common: 2 << 20,
        own: (2, 256 << 10),
        signed: false,
    };
    let small = Corpus {
        name: "small",
        repositories: 8,
        tags: 3,
        shared: 64 << 10,
        common: 32 << 10,
        own: (3, 16 << 10),
        ..shared.clone()
    };
    let large = Corpus {
        name: "large",
        repositories: 1,
        tags: 1,
        architectures: vec!["amd64"],
        shared: large,
        common: 0,
        own: (0, 0),
        signed: false,
    };
    [shared, small, large].into_iter().filter(|corpus| corpus.shared > 0).collect()
}

/// Measures every tool with every corpus. `told` hears what is about to happen.
pub async fn measure(request: &Request, folder: &Path, told: impl Fn(&str)) -> Result<Report, BenchError> {
    let mut report = Report { contents: Vec::new(), measured: Vec::new(), broken: Vec::new() };
    let wanted = |corpus: &Corpus| {
        request.corpora.is_empty() || request.corpora.iter().any(|name| name == corpus.name)
    };
    for corpus in corpora(request.large).into_iter().filter(wanted) {
        let source = Registry::start(request.registry, &folder.join(corpus.name).join("source")).await?;
        told(&format!("generating the corpus `{}`", corpus.name));
        let client = Client::new(Options::default());
        let published = corpus::publish(&corpus, &client, &source.address().to_string()).await?;
        report.contents.push(Content {
            corpus: corpus.name,
            images: published.images.len(),
            blobs: published.blobs.len(),
            bytes: published.bytes(),
        });
        let mut rows: Vec<Measured> = request.tools.iter().map(|tool| nothing(&corpus, *tool)).collect();
        // Each tool has its turn before one has another: what else the machine does then meets all of them.
        for round in 1..=request.rounds.max(1) {
            for row in &mut rows {
                told(&format!("`{}` with {}, round {round}", corpus.name, row.tool.name()));
                let folder = folder.join(corpus.name).join(format!("{}-{round}", row.tool.name()));
                match row.tool.find() {
                    None => row.not_run = Some("it is not installed".to_owned()),
                    Some(program) => {
                        let legs = legs(request, row.tool, &program, &folder, &source, &published).await?;
                        match legs {
                            Ok([cold, warm]) => {
                                row.cold = faster(row.cold, cold);
                                row.warm = faster(row.warm, warm);
                            }
                            Err(why) => row.not_run = Some(why),
                        }
                    }
                }
            }
        }
        for row in rows {
            if row.tool == Tool::Slipway {
                report.broken.extend(broken(&row, &published));
            }
            report.measured.push(row);
        }
    }
    Ok(report)
}

fn nothing(corpus: &Corpus, tool: Tool) -> Measured {
    Measured { corpus: corpus.name, tool, cold: None, warm: None, not_run: None }
}

fn faster(before: Option<Leg>, now: Leg) -> Option<Leg> {
    Some(before.filter(|before| before.seconds <= now.seconds).unwrap_or(now))
}

async fn legs(
    request: &Request,
    tool: Tool,
    program: &Path,
    folder: &Path,
    source: &Registry,
    published: &Published,
) -> Result<Result<[Leg; 2], String>, BenchError> {
    let destination = Registry::start(request.registry, &folder.join("destination")).await?;
    let options = wire::Options { delay: request.round_trip / 2, ..wire::Options::default() };
    let near = Wire::to(source.address(), options.clone()).await?;
    let far = Wire::to(destination.address(), options).await?;
    let task = Task { program, folder, source: &near.host(), destination: &far.host(), published };
    let mut legs = Vec::new();
    for _ in 0..2 {
        near.forget();
        far.forget();
        let cost = match tool::run(task.commands(tool)?).await {
            Ok(cost) => cost,
            Err(why) => return Ok(Err(why)),
        };
        legs.push(Leg {
            seconds: cost.seconds,
            processor: cost.processor,
            memory: cost.memory,
            source: tally(&near.exchanges()),
            destination: tally(&far.exchanges()),
        });
    }
    if let Some(missing) = missing(&destination, published).await? {
        return Ok(Err(format!("it did not copy {missing}")));
    }
    Ok(<[Leg; 2]>::try_from(legs).map_err(|_| String::new()))
}

/// The first image the destination does not have as the source has it.
async fn missing(destination: &Registry, published: &Published) -> Result<Option<String>, BenchError> {
    let client = Client::new(Options::default());
    for (name, tag, index) in &published.images {
        let repository = client.repository(&destination.address().to_string(), name)?;
        let found = repository.head_manifest(tag).await?;
        if found.is_none_or(|found| found.digest != index.digest) {
            return Ok(Some(format!("{name}:{tag}")));
        }
    }
    Ok(None)
}

fn tally(exchanges: &[Exchange]) -> Tally {
    let mut tally = Tally { requests: exchanges.len(), ..Tally::default() };
    for Exchange { method, path, status: _, sent, received } in exchanges {
        tally.sent += sent;
        tally.received += received;
        match method.as_str() {
            "HEAD" => tally.heads += 1,
            "GET" if path.contains("/blobs/") => tally.blobs += 1,
            "GET" => tally.reads += 1,
            _ => tally.writes += 1,
        }
    }
    tally
}

/// What we promise of ourselves, as far as it was not kept.
fn broken(measured: &Measured, published: &Published) -> Vec<String> {
    let (Some(cold), Some(warm)) = (measured.cold, measured.warm) else {
        let why = measured.not_run.clone().unwrap_or_default();
        return vec![format!("`{}`: it did not finish: {why}", measured.corpus)];
    };
    let images = published.images.len();
    let heads = Tally { requests: images, heads: images, ..Tally::default() };
    let promises = [
        (cold.source.blobs == published.blobs.len(), "each blob is fetched once"),
        (
            warm.source == heads && warm.destination == heads,
            "nothing to do costs one HEAD for each image at each side",
        ),
        (cold.memory <= MEMORY && warm.memory <= MEMORY, "it takes at most 64 MiB of memory"),
    ];
    let broken = promises.into_iter().filter(|(kept, _)| !kept);
    broken.map(|(_, promise)| format!("`{}`: not kept: {promise}", measured.corpus)).collect()
}
