//! How binaries for a platform are compiled on this machine, and why that way.
//!
//! The machine's own platform needs nothing besides the workspace's compiler. For a foreign one a standard library and a linker are
//! looked for: rustup's target, else one built once from the compiler's own sources; zig, else zig installed next to it. `facts` looks,
//! [`choose`] decides (pure), `prepare` makes what the choice lacks, below one directory and without installing anything.

mod facts;
mod prepare;
mod rust_src;
mod standard_library;
mod zig;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use facts::{Compiler, Facts, Zig};
pub use prepare::{PrepareError, prepare};

use crate::platform::{Platform, host_triple};

/// A way to compile for one platform. Another way is another value, not another code path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Toolchain {
    /// The platform its binaries run on.
    pub platform: Platform,
    /// Rust target triple, given to cargo as `--target`.
    pub triple: String,
    /// Program and subcommand that build, e.g. `cargo build`.
    pub command: Vec<String>,
    /// Environment variables added for the build.
    pub environment: Vec<(String, String)>,
    /// Compiler flags for code of the platform, besides those of the workspace.
    pub flags: Vec<String>,
    /// What is made before the first build; afterwards it is found.
    pub preparation: Vec<Preparation>,
    /// Why this way, for people.
    pub why: String,
}

/// Something a toolchain lacks and that can be made without touching the rest of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preparation {
    /// zig and cargo-zigbuild, from the Python package index.
    Zig {
        /// Where to.
        directory: PathBuf,
    },
    /// The standard library of a target, from the compiler's own sources.
    StandardLibrary {
        /// For this target.
        triple: String,
        /// Whose sources.
        compiler: Compiler,
        /// Below this directory.
        directory: PathBuf,
    },
}

impl std::fmt::Display for Preparation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Preparation::Zig { .. } => f.write_str("installing zig as a linker"),
            Preparation::StandardLibrary { triple, .. } => {
                write!(f, "building the standard library for {triple}")
            }
        }
    }
}

/// Nothing on this machine compiles for the platform.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("find a toolchain for {platform} on a {host} machine: {missing}")]
pub struct ToolchainMissing {
    platform: Platform,
    host: Platform,
    missing: String,
    remedy: String,
}

impl ToolchainMissing {
    /// The edit or command that helps.
    pub fn hint(&self) -> String {
        format!(
            "{}, or build in containers with `--builder container`, or ask only for {}",
            self.remedy, self.host
        )
    }
}

/// Chooses the way to compile for `platform`. Pure.
pub fn choose(platform: &Platform, facts: &Facts) -> Result<Toolchain, ToolchainMissing> {
    if *platform == facts.host {
        return Ok(Toolchain {
            platform: platform.clone(),
            triple: host_triple(),
            command: vec!["cargo".to_string(), "build".to_string()],
            environment: Vec::new(),
            flags: Vec::new(),
            preparation: Vec::new(),
            why: "the machine's own platform: the workspace's compiler and target directory serve"
                .to_string(),
        });
    }
    let missing = |missing: String, remedy: String| ToolchainMissing {
        platform: platform.clone(),
        host: facts.host.clone(),
        missing,
        remedy,
    };
    let Some(triple) = platform.static_triple() else {
        let missing_what = "Rust has no static target for it".to_string();
        return Err(missing(missing_what, format!("build on a {platform} machine")));
    };
    let mut preparation = Vec::new();
    let (flags, library) = standard_library_for(&triple, facts, &mut preparation)
        .map_err(|lack| missing(lack, format!("install it with `rustup target add {triple}`")))?;
    let (zig, linker) = linker(facts, &mut preparation).map_err(|lack| {
        missing(lack, "install zig and cargo-zigbuild: `pip install ziglang cargo-zigbuild`".to_string())
    })?;
    Ok(Toolchain {
        platform: platform.clone(),
        triple,
        command: vec![zig.program.display().to_string(), "zigbuild".to_string()],
        environment: zig.environment(&facts.directory),
        flags,
        preparation,
        why: format!("{library}; {linker}"),
    })
}

fn standard_library_for(
    triple: &str,
    facts: &Facts,
    preparation: &mut Vec<Preparation>,
) -> Result<(Vec<String>, String), String> {
    let compiler = facts.compiler.as_ref().ok_or("there is no Rust compiler")?;
    if compiler.targets.contains(triple) {
        return Ok((Vec::new(), "standard library installed by rustup".to_string()));
    }
    let sysroot = standard_library::sysroot(&facts.directory, compiler);
    // Its C parts come from zig, so rustc must not look for its own copies of them.
    let flags = vec!["-Clink-self-contained=no".to_string(), format!("--sysroot={}", sysroot.display())];
    if facts.built_libraries.contains(triple) {
        return Ok((flags, "standard library built before from the compiler's sources".to_string()));
    }
    if !compiler.has_sources && !facts.can_fetch_sources {
        let lack = "its standard library is not installed, and the compiler's sources cannot be fetched without apt-get and dpkg-deb";
        return Err(lack.to_string());
    }
    preparation.push(Preparation::StandardLibrary {
        triple: triple.to_string(),
        compiler: compiler.clone(),
        directory: facts.directory.clone(),
    });
    Ok((flags, "standard library built once from the compiler's sources".to_string()))
}

fn linker(facts: &Facts, preparation: &mut Vec<Preparation>) -> Result<(Zig, String), String> {
    if let Some(zig) = &facts.zig {
        return Ok((zig.clone(), "zig links".to_string()));
    }
    if !facts.can_install_zig {
        return Err("there is neither cargo-zigbuild nor Python's pip to install it".to_string());
    }
    let directory = zig::directory(&facts.directory);
    let zig = Zig::below(&directory);
    preparation.push(Preparation::Zig { directory });
    Ok((zig, "zig links, installed privately".to_string()))
}

impl Toolchain {
    /// Takes the paths of this machine out of what is compiled, so that the binary is the same wherever it is built. Only for a profile that
    /// nothing else uses: cargo compiles everything again when such flags change. So what build scripts see that compile C for this machine,
    /// for the sake of a macro, is the same whatever the platform: otherwise each platform would undo the work of the other.
    pub(crate) fn hide_paths(&mut self, root: &Path, cargo_home: &Path) {
        // The last one that fits wins, and cargo's home may be inside the workspace.
        let mapped = [(root, "/workspace"), (cargo_home, "/cargo")];
        for (path, shown) in mapped {
            self.flags.push(format!("--remap-path-prefix={}={shown}", path.display()));
        }
        let mapped = mapped.map(|(path, shown)| format!("-ffile-prefix-map={}={shown}", path.display()));
        for triple in BTreeSet::from([self.triple.clone(), host_triple()]) {
            self.environment.push((c_flags(&triple), mapped.join(" ")));
        }
    }

    /// Hides other paths instead, for a build of the same sources elsewhere.
    pub(crate) fn relocate(&mut self, root: &Path, cargo_home: &Path) {
        let hidden = self.flags.len();
        self.flags.retain(|flag| !flag.starts_with("--remap-path-prefix="));
        self.environment.retain(|(name, _)| !name.starts_with("CFLAGS_"));
        if self.flags.len() < hidden {
            self.hide_paths(root, cargo_home);
        }
    }
}

/// The variable in which build scripts look for the flags of C that is compiled for `triple`.
fn c_flags(triple: &str) -> String {
    format!("CFLAGS_{}", triple.replace('-', "_"))
}

/// Where cargo keeps what it downloaded.
pub fn cargo_home() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).unwrap_or_else(|| ".cargo".into())
}

/// Where rustup keeps compilers, if it does.
pub(crate) fn rustup_home() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".rustup"));
    std::env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(home).filter(|path| path.is_dir())
}

/// Where toolchains are kept: not with what a profile builds, so that they survive it.
pub fn directory(cache: &Path) -> PathBuf {
    cache.join("toolchains")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            host: "linux/amd64".parse().unwrap(),
            directory: "/w/toolchains".into(),
            cargo_home: "/home/me/.cargo".into(),
            compiler: Some(Compiler {
                version: "1.95.0".into(),
                commit: "59807616e".into(),
                sysroot: "/rust".into(),
                targets: ["x86_64-unknown-linux-gnu".to_string()].into(),
                has_sources: false,
            }),
            built_libraries: Default::default(),
            can_fetch_sources: true,
            zig: None,
            can_install_zig: true,
        }
    }

    fn arm(facts: &Facts) -> Result<Toolchain, ToolchainMissing> {
        choose(&"linux/arm64".parse().unwrap(), facts)
    }

    #[test]
    fn the_host_needs_only_the_workspaces_compiler() {
        let facts = Facts { host: Platform::host(), compiler: None, can_install_zig: false, ..facts() };
        let toolchain = choose(&Platform::host(), &facts).unwrap();
        assert_eq!(toolchain.command, ["cargo", "build"]);
        assert!(toolchain.triple.starts_with(std::env::consts::ARCH), "{}", toolchain.triple);
        assert_eq!((toolchain.flags, toolchain.preparation), (vec![], vec![]));
    }

    #[test]
    fn what_macros_are_made_of_is_compiled_alike_for_every_platform() {
        let flags = |platform: &Platform| {
            let mut toolchain = choose(platform, &Facts { host: Platform::host(), ..facts() }).unwrap();
            toolchain.hide_paths(Path::new("/w"), Path::new("/home/me/.cargo"));
            let host = c_flags(&host_triple());
            toolchain.environment.into_iter().filter(|(name, _)| *name == host).collect::<Vec<_>>()
        };
        let own = flags(&Platform::host());
        assert_eq!(own.len(), 1);
        assert_eq!(flags(&"linux/riscv64".parse().unwrap()), own);
    }

    #[test]
    fn what_is_installed_is_used_before_anything_is_made() {
        let mut facts = facts();
        facts.zig = Some(Zig { program: "/usr/bin/cargo-zigbuild".into(), zig: None });
        facts.compiler.as_mut().unwrap().targets.insert("aarch64-unknown-linux-musl".into());
        let toolchain = arm(&facts).unwrap();
        assert_eq!(toolchain.command, ["/usr/bin/cargo-zigbuild", "zigbuild"]);
        assert_eq!((toolchain.flags, toolchain.preparation), (vec![], vec![]));
        assert!(toolchain.why.contains("rustup"), "{}", toolchain.why);
    }

    #[test]
    fn what_is_missing_is_made_once() {
        let mut facts = facts();
        let toolchain = arm(&facts).unwrap();
        let kinds: Vec<String> = toolchain.preparation.iter().map(ToString::to_string).collect();
        let expected =
            ["building the standard library for aarch64-unknown-linux-musl", "installing zig as a linker"];
        assert_eq!(kinds, expected);
        assert_eq!(toolchain.flags[1], "--sysroot=/w/toolchains/rust-1.95.0/sysroot");

        facts.built_libraries.insert("aarch64-unknown-linux-musl".into());
        facts.zig = Some(Zig::below(Path::new("/w/toolchains/zig")));
        let prepared = arm(&facts).unwrap();
        assert_eq!(prepared.preparation, []);
        assert_eq!(prepared.flags, toolchain.flags);
    }

    #[test]
    fn what_cannot_be_made_is_named_with_what_helps() {
        let check = |change: fn(&mut Facts), missing: &str, hint: &str| {
            let mut facts = facts();
            change(&mut facts);
            let error = arm(&facts).unwrap_err();
            assert!(error.to_string().contains(missing), "{error}");
            assert!(error.hint().contains(hint) && error.hint().contains("linux/amd64"), "{}", error.hint());
        };
        check(|facts| facts.compiler = None, "no Rust compiler", "rustup target add");
        check(
            |facts| facts.can_fetch_sources = false,
            "apt-get",
            "rustup target add aarch64-unknown-linux-musl",
        );
        check(|facts| facts.can_install_zig = false, "cargo-zigbuild", "pip install");
        let error = choose(&"linux/s390x".parse().unwrap(), &facts()).unwrap_err();
        assert!(error.to_string().contains("no static target"), "{error}");
        assert!(error.hint().contains("build on a linux/s390x machine"), "{}", error.hint());
    }
}
