//! What is the case on this machine and in this checkout: gathered here, judged in [`crate::plan`].

use std::collections::BTreeSet;
use std::path::Path;

use images::{Platform, toolchain};
use serde::Serialize;
use xshell::{Shell, cmd};

use crate::spec::{Program, Spec};

/// What was found.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The commit, when the sources are a git checkout.
    pub commit: Option<Commit>,
    /// This machine's platform.
    pub platform: Platform,
    /// This machine's cores.
    pub cores: usize,
    /// `created` of images, in seconds since 1970.
    pub source_date_epoch: u64,
    /// What images can be compiled with.
    pub toolchains: toolchain::Facts,
    /// What a cluster could be made of.
    pub cluster: kind::Facts,
    /// Programs that tiers need and this machine does not have.
    pub absent: BTreeSet<Program>,
}

/// A state of the sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Abbreviated.
    pub id: String,
    /// Whether files differ from it.
    pub changed: bool,
}

impl Facts {
    /// Looks at this machine and at the checkout in `root`, whose runs leave their files in `home`.
    pub async fn gather(root: &Path, home: &Path) -> Facts {
        Facts {
            commit: commit(root),
            platform: Platform::host(),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            source_date_epoch: images::plan::source_date_epoch(
                std::env::var("SOURCE_DATE_EPOCH").ok().as_deref(),
                root,
            ),
            toolchains: toolchain::Facts::gather(root, &toolchain::directory(&home.join("cache"))),
            cluster: kind::Facts::gather().await,
            absent: BTreeSet::new(),
        }
    }

    /// Looks for what a pipeline's tiers need as well.
    pub async fn gather_for(spec: &Spec, root: &Path, home: &Path) -> Facts {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let programs = spec.tiers.iter().flat_map(|tier| &tier.programs);
        let absent = programs.filter(|program| !program.is_installed(&path)).cloned().collect();
        Facts { absent, ..Facts::gather(root, home).await }
    }
}

impl std::fmt::Display for Commit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}{}", self.id, if self.changed { "+changes" } else { "" })
    }
}

fn commit(root: &Path) -> Option<Commit> {
    let shell = Shell::new().ok()?;
    shell.change_dir(root);
    let id = cmd!(shell, "git rev-parse --short=12 HEAD").quiet().ignore_stderr().read().ok()?;
    let status = cmd!(shell, "git status --porcelain").quiet().ignore_stderr().read().ok()?;
    Some(Commit { id, changed: !status.is_empty() })
}
