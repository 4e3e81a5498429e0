//! The mirror where there is no network between: everything the lock names in an OCI layout, which is carried over and loaded into
//! the registry on the other side.
//!
//! A bundle `since` an older lock leaves out the blobs that were loaded with that one. Both ways may be stopped anywhere and run again:
//! a bundle continues with what the layout has, a load with what the registry has. Only a complete bundle has a description.

mod load;
mod write;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::lock::{LockError, Locked};
use crate::digest::Digest;
use crate::document::Descriptor;
use crate::layout::LayoutError;

pub use load::load;
pub use write::{Written, write};

/// File of a bundle that says what is in it, beside the layout's own.
pub const DESCRIPTION: &str = "bundle.json";
const VERSION: u32 = 1;

/// What is in a bundle.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Description {
    version: u32,
    /// Blobs that are left out because the older lock has them.
    left_out: BTreeSet<Digest>,
    images: Vec<Bundled>,
}

/// One image.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Bundled {
    locked: Locked,
    top: Descriptor,
    manifests: Vec<BundledManifest>,
    referrers: Vec<BundledReferrer>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BundledManifest {
    manifest: Descriptor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BundledReferrer {
    manifest: Descriptor,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

/// A bundle could not be written or read at all.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Its layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Its description cannot be read or written.
    #[error("{doing} {}", path.display())]
    Io {
        /// Read or write.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its description is not what `bundle` writes.
    #[error("understand {}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A newer version of the tool wrote it.
    #[error("read {}: it has version {found}, this tool knows {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version.
        found: u32,
    },
    /// The lock on this side.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl BundleError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            BundleError::Layout(error) => error.hint(),
            BundleError::Io { doing: "read", path, .. } => Some(format!(
                "a bundle that was not finished has none: run `cargo xtask mirror bundle {}` again",
                path.parent().unwrap_or(path).display()
            )),
            BundleError::Malformed { .. } => Some("write the bundle again".to_owned()),
            BundleError::Version { .. } => Some("update the workspace".to_owned()),
            BundleError::Io { .. } | BundleError::Lock(_) => None,
        }
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BundleError {
    let path = path.to_path_buf();
    move |source| BundleError::Io { doing, path, source }
}
