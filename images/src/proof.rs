//! Architecture proof: every executable of an image is for the platform the image claims, and the program starts.
//!
//! What is proven is what will be pushed: the bytes a layer was packed from while they are in memory, or a layer as it lies in the layout; never
//! a build directory. ELF machine, image config, manifest platform and (with [`check_node`]) the node must agree; a disagreement names the file
//! and both sides. `examine` walks the layers, `elf` and `contents` say what is in them, `boot` starts the program.

mod boot;
mod contents;
mod elf;
mod examine;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use boot::Boot;
pub use elf::Linkage;

use crate::build::BuiltImage;
use crate::document::Descriptor;
use crate::layer::Entry;
use crate::layout::{Layout, LayoutError};
use crate::platform::Platform;

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

/// A layer, in one of the forms it can be looked at.
pub enum Layer<'a> {
    /// What it was packed from. Executables are in memory: a file may have changed since.
    Entries(&'a [Entry]),
    /// As it lies in the layout.
    Packed(&'a Descriptor),
}

/// An image for one platform.
pub struct Subject<'a> {
    /// Its name.
    pub image: &'a str,
    /// What its manifest claims.
    pub platform: &'a Platform,
    /// Its config.
    pub config: &'a [u8],
    /// Its layers with their names, bottom first.
    pub layers: Vec<(&'a str, Layer<'a>)>,
    /// Path of the program in the image.
    pub entrypoint: &'a str,
    /// Directory where the program is started and what it says is kept meanwhile.
    pub scratch: &'a Path,
}

/// Whether a file begins like an executable (ELF).
pub(crate) fn is_executable(file: &Path) -> io::Result<bool> {
    let mut magic = Vec::new();
    File::open(file)?.take(4).read_to_end(&mut magic)?;
    Ok(elf::is_elf(&magic))
}

/// Proves every ELF file of the image; the first that is not right is the error.
pub fn prove(layout: &Layout, subject: &Subject<'_>) -> Result<Vec<ProofRow>, ProofError> {
    examine::examine(layout, subject).map_err(|problem| ProofError {
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
