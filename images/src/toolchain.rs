//! How binaries for a platform are compiled on this machine, and why that way.

use serde::Serialize;

use crate::platform::{Platform, host_triple};

/// A way to compile for one platform. Another way (a foreign linker, a container) is another value, not another code path.
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
    /// Why this way, for people.
    pub why: String,
}

/// Nothing on this machine compiles for the platform.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("find a toolchain for {platform} on a {host} machine: {missing}")]
pub struct ToolchainMissing {
    platform: Platform,
    host: Platform,
    missing: String,
}

impl ToolchainMissing {
    /// The edit or command that helps.
    pub fn hint(&self) -> String {
        format!("build on a {} machine, or ask only for {}", self.platform, self.host)
    }
}

/// Chooses the way to compile for `platform` on this machine.
pub fn choose(platform: &Platform) -> Result<Toolchain, ToolchainMissing> {
    let host = Platform::host();
    if *platform != host {
        let missing =
            format!("there is no {} standard library and linker for it", platform.rust_architecture());
        return Err(ToolchainMissing { platform: platform.clone(), host, missing });
    }
    Ok(Toolchain {
        platform: host,
        triple: host_triple(),
        command: vec!["cargo".to_string(), "build".to_string()],
        environment: Vec::new(),
        why: "the machine's own platform: the workspace's compiler and target directory serve".to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_compiled_with_an_explicit_triple() {
        let toolchain = choose(&Platform::host()).unwrap();
        assert_eq!(toolchain.command, ["cargo", "build"]);
        assert!(toolchain.triple.starts_with(std::env::consts::ARCH), "{}", toolchain.triple);
    }

    #[test]
    fn a_foreign_platform_says_what_is_missing_and_what_helps() {
        let error = choose(&"linux/s390x".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("linux/s390x"), "{error}");
        assert!(error.hint().contains(&Platform::host().to_string()), "{}", error.hint());
    }
}
