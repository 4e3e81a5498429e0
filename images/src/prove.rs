//! Proof that an image depends on its sources and nothing else: everything is built a second time under other circumstances (path, home,
//! umask, time zone, language, number of cores) and must come out the same, bit for bit. A difference is shown as the first file and byte.

mod compare;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use compare::Difference;

use crate::build::{self, BuildError, BuildEvent, BuiltImage};
use crate::layout::{Layout, LayoutError};
use crate::plan::BuildPlan;

/// How the second build differs from the first, for people.
pub const CIRCUMSTANCES: &str = "another path, home directory, umask, time zone and language, and one core";

/// What was found out about an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// The image.
    pub image: String,
    /// Nothing if both builds gave the same bits.
    pub difference: Option<Difference>,
}

/// The second build could not be made or compared.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// Its place could not be prepared.
    #[error("{step} {}", path.display())]
    Io {
        /// What was attempted.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A layout could not be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl ProveError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            ProveError::Io { .. } => None,
            ProveError::Build(error) => error.hint(),
            ProveError::Layout(error) => error.hint(),
        }
    }
}

fn io_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ProveError {
    let path = path.to_path_buf();
    move |source| ProveError::Io { step, path, source }
}

/// Builds what the plan says again, elsewhere, and compares it with `images`. Blocking, and as long as a build from nothing.
pub fn prove(
    plan: &BuildPlan,
    images: &[BuiltImage],
    observer: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Vec<Proven>, ProveError> {
    // Not below the workspace: cargo would read its configuration as well. The folder goes away with the value.
    let anywhere = std::env::temp_dir();
    let place = tempfile::Builder::new().prefix("prove-it-somewhere-else-").tempdir_in(&anywhere);
    let place = place.map_err(io_error("make a directory in", &anywhere))?;
    let root = furnish_above(&plan.root, place.path())?.join("another-workspace");
    copy_sources(&plan.root, &root)?;
    let home = place.path().join("home");
    let cargo_home = furnish_home(&home)?;
    let second = elsewhere(plan, &root, &home, &cargo_home);
    let again = build::build(&second, observer)?;

    let (one, other) = (Layout::open(&plan.layout)?, Layout::open(&second.layout)?);
    images
        .iter()
        .zip(&again)
        .map(|(first, second)| {
            let difference = compare::compare(&one, first, &other, second)?;
            Ok(Proven { image: first.name.clone(), difference })
        })
        .collect()
}

/// The plan of the second build.
fn elsewhere(plan: &BuildPlan, root: &Path, home: &Path, cargo_home: &Path) -> BuildPlan {
    let mut second = plan.clone();
    second.root = root.to_path_buf();
    second.layout = root.join("target/layout");
    second.cache = root.join("target/images");
    second.origin = None;
    let text = |path: &Path| path.display().to_string();
    let circumstances = [
        ("HOME", text(home)),
        ("CARGO_HOME", text(cargo_home)),
        ("CARGO_BUILD_JOBS", "1".to_string()),
        ("TZ", "Pacific/Kiritimati".to_string()),
        ("LC_ALL", "C".to_string()),
        ("LANGUAGE", "tr".to_string()),
        ("USER", "somebody-else".to_string()),
    ];
    // Where the compiler is must not change with the home directory.
    let rustup = crate::toolchain::rustup_home().map(|path| ("RUSTUP_HOME", text(&path)));
    let circumstances: Vec<_> = circumstances.into_iter().chain(rustup).collect();
    for compilation in &mut second.compilations {
        let toolchain = &mut compilation.toolchain;
        toolchain
            .environment
            .extend(circumstances.iter().map(|(name, value)| (name.to_string(), value.clone())));
        let shell = ["sh", "-c", "umask 0077; exec \"$0\" \"$@\""].map(str::to_string);
        toolchain.command.splice(0..0, shell);
        toolchain.preparation.clear();
        toolchain.relocate(root, cargo_home);
    }
    second
}

/// cargo also reads the configuration of the folders above a workspace; the copy gets the same above it. Gives the folder for the workspace.
fn furnish_above(workspace: &Path, place: &Path) -> Result<PathBuf, ProveError> {
    let home = crate::toolchain::cargo_home();
    let above: Vec<&Path> = workspace.ancestors().skip(1).collect();
    let mut folder = place.join("above");
    for ancestor in above.into_iter().rev() {
        let from = ancestor.join(".cargo");
        let Some(config) =
            ["config.toml", "config"].map(|name| from.join(name)).into_iter().find(|file| file.is_file())
        else {
            continue;
        };
        // That one is read as the configuration of the home.
        if from == home {
            continue;
        }
        folder.push("below");
        let to = folder.join(".cargo");
        fs::create_dir_all(&to).map_err(io_error("make the directory", &to))?;
        fs::copy(&config, to.join(config.file_name().unwrap_or_default()))
            .map_err(io_error("copy", &config))?;
    }
    Ok(folder)
}

/// A home of its own for cargo, where the crates that were downloaded are found under another path.
fn furnish_home(home: &Path) -> Result<PathBuf, ProveError> {
    let cargo_home = home.join("cargo");
    fs::create_dir_all(&cargo_home).map_err(io_error("make the directory", &cargo_home))?;
    let real = crate::toolchain::cargo_home();
    for part in ["registry", "git", "config.toml", "config", "credentials.toml"] {
        let from = real.join(part);
        if from.exists() {
            std::os::unix::fs::symlink(&from, cargo_home.join(part)).map_err(io_error("link", &from))?;
        }
    }
    Ok(cargo_home)
}

/// Everything but the history and what was built, which cargo marks as a cache.
fn copy_sources(from: &Path, to: &Path) -> Result<(), ProveError> {
    let mut open = vec![(from.to_path_buf(), to.to_path_buf())];
    while let Some((from_dir, to_dir)) = open.pop() {
        fs::create_dir_all(&to_dir).map_err(io_error("make the directory", &to_dir))?;
        for entry in fs::read_dir(&from_dir).map_err(io_error("list", &from_dir))? {
            let path = entry.map_err(io_error("list", &from_dir))?.path();
            let name = path.file_name().unwrap_or_default();
            let target = to_dir.join(name);
            let apart = from_dir == from && (name == ".git" || name == "target");
            if apart || path.join("CACHEDIR.TAG").is_file() {
                continue;
            }
            if path.is_symlink() {
                let link = fs::read_link(&path).map_err(io_error("read", &path))?;
                std::os::unix::fs::symlink(link, &target).map_err(io_error("link", &target))?;
            } else if path.is_dir() {
                open.push((path, target));
            } else if path.is_file() {
                fs::copy(&path, &target).map_err(io_error("copy", &path))?;
            }
        }
    }
    Ok(())
}
