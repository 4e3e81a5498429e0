//! What this machine has to compile with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use super::{standard_library, zig};
use crate::platform::Platform;

/// What was found, and what could be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// This machine's platform.
    pub host: Platform,
    /// Where private toolchains are kept.
    pub directory: PathBuf,
    /// Where cargo keeps what it downloaded.
    pub cargo_home: PathBuf,
    /// The workspace's compiler.
    pub compiler: Option<Compiler>,
    /// Targets whose standard library was built before.
    pub built_libraries: BTreeSet<String>,
    /// The compiler's sources can be had from Debian.
    pub can_fetch_sources: bool,
    /// A linker for foreign targets.
    pub zig: Option<Zig>,
    /// It can be had from the Python package index.
    pub can_install_zig: bool,
}

/// A Rust compiler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiler {
    /// As in `1.95.0`.
    pub version: String,
    /// Its commit, which names its sources in the paths it prints.
    pub commit: String,
    /// Where it is installed.
    pub sysroot: PathBuf,
    /// Targets it has a standard library for.
    pub targets: BTreeSet<String>,
    /// Its sources are installed with it.
    pub has_sources: bool,
}

/// zig, driven by cargo-zigbuild.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Zig {
    /// The cargo-zigbuild program.
    pub program: PathBuf,
    /// The zig program, unless cargo-zigbuild finds it by itself.
    pub zig: Option<PathBuf>,
}

impl Facts {
    /// Looks at this machine. `directory` is where private toolchains are kept.
    pub fn gather(root: &Path, directory: &Path) -> Facts {
        let compiler = compiler(root);
        let built_libraries = compiler
            .as_ref()
            .map(|compiler| standard_library::built(directory, compiler))
            .unwrap_or_default();
        Facts {
            host: Platform::host(),
            built_libraries,
            can_fetch_sources: on_path("apt-get").is_some() && on_path("dpkg-deb").is_some(),
            zig: zig::find(directory),
            can_install_zig: on_path("python3").is_some(),
            directory: directory.to_path_buf(),
            cargo_home: super::cargo_home(),
            compiler,
        }
    }
}

fn compiler(root: &Path) -> Option<Compiler> {
    let shell = Shell::new().ok()?;
    shell.change_dir(root);
    let said = cmd!(shell, "rustc -vV").quiet().ignore_stderr().read().ok()?;
    let field = |name: &str| {
        said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_string))
    };
    // The name of a toolchain may be a link to another one.
    let sysroot = cmd!(shell, "rustc --print sysroot").quiet().ignore_stderr().read().ok()?;
    let sysroot = Path::new(sysroot.trim()).canonicalize().ok()?;
    let rustlib = sysroot.join("lib/rustlib");
    let has_library = |triple: &String| rustlib.join(triple).join("lib").is_dir();
    let targets = std::fs::read_dir(&rustlib)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(has_library)
        .collect();
    let has_sources = rustlib.join("src/rust/library/std").is_dir();
    Some(Compiler {
        version: field("release")?,
        commit: field("commit-hash")?,
        sysroot,
        targets,
        has_sources,
    })
}

pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_that_compiled_this_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let facts = Facts::gather(Path::new(env!("CARGO_MANIFEST_DIR")), dir.path());
        let compiler = facts.compiler.unwrap();
        assert!(compiler.targets.contains(&crate::platform::host_triple()), "{:?}", compiler.targets);
        assert!(compiler.version.starts_with("1."), "{}", compiler.version);
        assert_eq!(facts.built_libraries, BTreeSet::new());
    }
}
