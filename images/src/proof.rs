//! Architecture proof: every executable in the finished layers is for the platform the image claims, and the program starts.
//!
//! The layers are read back from the layout, not from the build directory: what is proven is what will be pushed. ELF machine,
//! image config, manifest platform and (with [`check_node`]) the node must agree; a disagreement names the file and both sides.

mod boot;
mod contents;
mod elf;

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use boot::Boot;
pub use elf::Linkage;

use contents::Contents;

use crate::build::BuiltImage;
use crate::document::{Descriptor, ImageConfig};
use crate::layer::read::each_entry;
use crate::layout::{Layout, LayoutError};
use crate::platform::{Platform, machine_name};

/// An executable larger than this is refused rather than read into memory.
const LARGEST_EXECUTABLE: u64 = 2 << 30;

/// What was found out about one executable of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofRow {
    /// The image.
    pub image: String,
    /// The platform it was proven for.
    pub platform: String,
    /// Path in the image.
    pub file: String,
    /// Architecture in its ELF header.
    pub machine: String,
    /// Word size in its ELF header: 32 or 64.
    pub bits: u8,
    /// How it is linked.
    pub linkage: Linkage,
    /// Always [`Verdict::Proven`] in an image that was built; kept because reports show it.
    pub verdict: Verdict,
    /// Whether it started. Only the entrypoint is started.
    pub boot: Boot,
}

/// Whether an executable is what the image claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// ELF machine = image config = manifest platform.
    Proven,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("proven")
    }
}

/// The image is not what it claims to be.
#[derive(Debug)]
pub struct ProofError {
    /// The image.
    pub image: String,
    /// What it claims to be for.
    pub platform: String,
    /// What is wrong with it.
    pub problem: Box<Problem>,
}

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// An executable is for another architecture.
    #[error("{file} in its layer `{layer}` is an executable for {found}, not for {expected}")]
    WrongArchitecture {
        /// The layer with the file.
        layer: String,
        /// Path in the image.
        file: String,
        /// What the file is for.
        found: String,
        /// What it should be for.
        expected: String,
    },
    /// Config and manifest disagree.
    #[error("its config says {found}")]
    ConfigDisagrees {
        /// What the config says.
        found: String,
    },
    /// An ELF file cannot be read.
    #[error("{file} is not a sound executable: {problem}")]
    Unsound {
        /// Path in the image.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A dynamic executable without its loader.
    #[error("{file} needs {interpreter}, which the image does not contain")]
    NoInterpreter {
        /// Path in the image.
        file: String,
        /// The loader it asks for.
        interpreter: String,
    },
    /// The entrypoint is not an executable in the image.
    #[error("its entrypoint {file} is not an ELF executable in its layers")]
    NoEntrypoint {
        /// Path in the image.
        file: String,
    },
    /// The program does not start.
    #[error("{file} does not start with `--version`: {problem}")]
    DoesNotBoot {
        /// Path in the image.
        file: String,
        /// What happened.
        problem: String,
    },
    /// The image has nothing for the node.
    #[error("the node is {node}, the image is built for {}", platforms.join(", "))]
    WrongNode {
        /// The node's architecture.
        node: String,
        /// What the image is for.
        platforms: Vec<String>,
    },
    /// A layer or the config cannot be read.
    #[error("its {part} cannot be read")]
    Read {
        /// Which part.
        part: String,
        /// Why.
        source: io::Error,
    },
    /// The layout cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ProofError { image, platform, problem } = self;
        write!(f, "prove the image `{image}` for {platform}: {problem}")
    }
}

impl std::error::Error for ProofError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problem.source()
    }
}

impl ProofError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        let recipes = crate::recipe::FILE;
        match &*self.problem {
            Problem::WrongArchitecture { found, expected, .. } => Some(format!(
                "give the recipe in `{recipes}` a binary for {expected}, or list only the platform it is for: {found}"
            )),
            Problem::NoInterpreter { .. } => Some(
                "link it statically (`-C target-feature=+crt-static`) or add a layer with its libraries"
                    .to_string(),
            ),
            Problem::DoesNotBoot { .. } => {
                Some("every program answers `--version` with one line and exit code 0".to_string())
            }
            Problem::WrongNode { node, .. } => {
                Some(format!("add \"linux/{node}\" to `platforms` in `{recipes}` and build for it"))
            }
            Problem::NoEntrypoint { .. } => Some(format!("correct `entrypoint` in `{recipes}`")),
            Problem::Layout(error) => error.hint(),
            Problem::ConfigDisagrees { .. } | Problem::Unsound { .. } | Problem::Read { .. } => None,
        }
    }
}

/// An image for one platform, as it lies in a layout.
pub struct Subject<'a> {
    /// Its name.
    pub image: &'a str,
    /// What its manifest claims.
    pub platform: &'a Platform,
    /// Its config.
    pub config: &'a [u8],
    /// Its layers with their names, bottom first.
    pub layers: Vec<(&'a str, &'a Descriptor)>,
    /// Path of the program in the image.
    pub entrypoint: &'a str,
    /// Directory where the program may be unpacked to be started.
    pub scratch: &'a Path,
}

/// Proves every ELF file of the image; the first that is not right is the error.
pub fn prove(layout: &Layout, subject: &Subject<'_>) -> Result<Vec<ProofRow>, ProofError> {
    examine(layout, subject).map_err(|problem| ProofError {
        image: subject.image.to_string(),
        platform: subject.platform.to_string(),
        problem: Box::new(problem),
    })
}

/// Whether some manifest of the image suits a node of `architecture` (in image vocabulary, e.g. `arm64`).
pub fn check_node(image: &BuiltImage, architecture: &str) -> Result<(), ProofError> {
    let suits = |platform: &String| platform.split('/').nth(1) == Some(architecture);
    let platforms: Vec<String> = image.manifests.iter().map(|built| built.platform.clone()).collect();
    if platforms.iter().any(suits) {
        return Ok(());
    }
    Err(ProofError {
        image: image.name.clone(),
        platform: format!("linux/{architecture}"),
        problem: Box::new(Problem::WrongNode { node: architecture.to_string(), platforms }),
    })
}

fn examine(layout: &Layout, subject: &Subject<'_>) -> Result<Vec<ProofRow>, Problem> {
    check_config(subject)?;
    let mut rows = Vec::new();
    let mut contents = Contents::default();
    for (name, layer) in &subject.layers {
        let read_error = |source| Problem::Read { part: format!("layer `{name}`"), source };
        let mut upper = Contents::default();
        let mut found = Vec::new();
        let visited = each_entry(layout.open_blob(&layer.digest)?, |path, entry| {
            if let Some(hidden) = contents::hidden(&path) {
                contents.hide(&hidden);
                return Ok(());
            }
            if let Some(bytes) = read_elf(entry)? {
                found.push(examine_file(subject, name, path.clone(), &bytes).map_err(Stop::Problem)?);
            }
            upper.add(path, entry);
            Ok(())
        });
        visited.map_err(|stop| match stop {
            Stop::Problem(problem) => problem,
            Stop::Read(source) => read_error(source),
        })?;
        // What a layer hides is below it, wherever in the layer that is said.
        rows.retain(|row: &ProofRow| contents.has(&row.file) && !upper.has(&row.file));
        rows.extend(found);
        contents.stack(upper);
    }
    // Only now is it known which loaders the image brings along.
    for row in &rows {
        if let Linkage::Dynamic { interpreter: Some(interpreter) } = &row.linkage
            && !contents.leads_to_file(interpreter)
        {
            let (file, interpreter) = (row.file.clone(), interpreter.clone());
            return Err(Problem::NoInterpreter { file, interpreter });
        }
    }
    let entrypoint = subject.entrypoint;
    if !rows.iter().any(|row| row.file == entrypoint) {
        return Err(Problem::NoEntrypoint { file: entrypoint.to_string() });
    }
    Ok(rows)
}

/// Why reading a layer stopped.
enum Stop {
    Read(io::Error),
    Problem(Problem),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Read(error)
    }
}

fn check_config(subject: &Subject<'_>) -> Result<(), Problem> {
    let config: ImageConfig = serde_json::from_slice(subject.config)
        .map_err(|error| Problem::Read { part: "config".to_string(), source: error.into() })?;
    let ImageConfig { os, architecture, variant, .. } = config;
    let found = match variant {
        // The only variant there is; some bases name it.
        Some(variant) if variant == "v8" && architecture == "arm64" => format!("{os}/{architecture}"),
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    };
    if found == subject.platform.to_string() {
        return Ok(());
    }
    Err(Problem::ConfigDisagrees { found })
}

/// The content of an entry that begins like an ELF file.
fn read_elf(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Option<Vec<u8>>> {
    let size = entry.size();
    if !entry.header().entry_type().is_file() || size < 4 {
        return Ok(None);
    }
    let mut bytes = vec![0; 4];
    entry.read_exact(&mut bytes)?;
    if !elf::is_elf(&bytes) {
        return Ok(None);
    }
    if size > LARGEST_EXECUTABLE {
        return Err(io::Error::other(format!("an executable of {size} bytes is too large to examine")));
    }
    entry.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn examine_file(subject: &Subject<'_>, layer: &str, file: String, bytes: &[u8]) -> Result<ProofRow, Problem> {
    let platform = subject.platform;
    let facts = elf::examine(bytes).map_err(|problem| Problem::Unsound { file: file.clone(), problem })?;
    let elf::Facts { machine, bits, linkage } = facts;
    if (machine, bits) != (platform.elf_machine(), platform.elf_bits()) {
        return Err(Problem::WrongArchitecture {
            layer: layer.to_string(),
            file,
            found: machine_name(machine),
            expected: platform.architecture().to_string(),
        });
    }
    let boot = if file == subject.entrypoint && !linkage.needs_loader() {
        boot::boot(bytes, platform, subject.scratch)
            .map_err(|problem| Problem::DoesNotBoot { file: file.clone(), problem })?
    } else {
        let reason =
            if file == subject.entrypoint { "needs the image's own loader" } else { "not the entrypoint" };
        Boot::NotRun { reason: reason.to_string() }
    };
    Ok(ProofRow {
        image: subject.image.to_string(),
        platform: platform.to_string(),
        file,
        machine: machine_name(machine),
        bits,
        linkage,
        verdict: Verdict::Proven,
        boot,
    })
}
