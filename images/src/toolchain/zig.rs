//! zig as a C compiler and linker for foreign targets, with cargo-zigbuild in between.

use std::path::{Path, PathBuf};

use super::facts::{Zig, on_path};
use super::prepare::{PrepareError, Steps};

/// What is installed when nothing is; a newer one is a decision, because binaries depend on it.
const ZIG: &str = "ziglang==0.17.1";
const ZIGBUILD: &str = "cargo-zigbuild==0.24.1";

impl Zig {
    /// An installation of ours.
    pub(super) fn below(directory: &Path) -> Zig {
        Zig { program: directory.join("bin/cargo-zigbuild"), zig: Some(directory.join("ziglang/zig")) }
    }

    /// What a build must be told: where zig is, and that nothing is written outside `directory`.
    pub(super) fn environment(&self, directory: &Path) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        let cache = directory.join("zig-cache");
        let mut environment = vec![
            ("CARGO_ZIGBUILD_CACHE_DIR".to_string(), text(&cache.join("wrappers"))),
            ("ZIG_GLOBAL_CACHE_DIR".to_string(), text(&cache.join("global"))),
            ("ZIG_LOCAL_CACHE_DIR".to_string(), text(&cache.join("local"))),
        ];
        environment.extend(self.zig.iter().map(|zig| ("CARGO_ZIGBUILD_ZIG_PATH".to_string(), text(zig))));
        environment
    }
}

/// Where zig is put; the versions are part of it.
pub(super) fn directory(toolchains: &Path) -> PathBuf {
    let version = |pin: &str| pin.rsplit('=').next().unwrap_or_default().to_string();
    toolchains.join(format!("zig-{}-{}", version(ZIG), version(ZIGBUILD)))
}

pub(super) fn find(toolchains: &Path) -> Option<Zig> {
    let own = Zig::below(&directory(toolchains));
    if own.program.is_file() {
        return Some(own);
    }
    let program = on_path("cargo-zigbuild")?;
    let has_zig = on_path("zig").is_some() || on_path("python-zig").is_some();
    has_zig.then_some(Zig { program, zig: None })
}

/// Installs zig to `directory`, or not at all.
pub(super) fn install(steps: &Steps<'_>, directory: &Path) -> Result<(), PrepareError> {
    let staging = steps.staging(directory)?;
    let target = staging.path();
    let shell = steps.shell()?;
    steps.run(xshell::cmd!(
        shell,
        "python3 -m pip install --quiet --disable-pip-version-check --no-warn-script-location --target {target} {ZIG} {ZIGBUILD}"
    ))?;
    steps.publish(staging, directory)
}
