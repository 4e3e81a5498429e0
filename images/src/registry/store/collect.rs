//! Garbage collection: what no manifest refers to, once it is too old to be part of a push under way.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{GRACE, Store, StoreError, age, names, remove};
use crate::digest::Digest;

/// What a garbage collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs and manifests whose content is gone.
    pub blobs: u64,
    /// Bytes they had.
    pub bytes: u64,
    /// Abandoned uploads.
    pub uploads: u64,
}

impl Store {
    /// Removes what nothing refers to. Manifests stay, tagged or not: they are removed by those who push them.
    pub fn collect(&self) -> Result<Collected, StoreError> {
        let _turn = self.take_turn()?;
        let mut collected = Collected::default();
        let mut used = BTreeSet::new();
        for repository in self.repositories()? {
            let manifests = self.manifests(&repository)?;
            let mut referred = BTreeSet::new();
            for digest in &manifests {
                referred.extend(references(&self.manifest_bytes(digest)?));
            }
            for (digest, marker) in digests(&self.part(&repository, "_blobs"))? {
                if !referred.contains(&digest) && is_old(&marker) {
                    remove(&marker)?;
                } else {
                    used.insert(digest);
                }
            }
            used.extend(manifests);
            let uploads = self.part(&repository, "_uploads");
            for name in names(&uploads)? {
                collected.uploads += u64::from(remove_old(&uploads.join(name))?);
            }
        }
        for (digest, path) in digests(&self.dir.join("blobs"))? {
            let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            if !used.contains(&digest) && remove_old(&path)? {
                collected.blobs += 1;
                collected.bytes += size;
            }
        }
        let staging = self.dir.join("staging");
        for name in names(&staging)? {
            remove_old(&staging.join(name))?;
        }
        Ok(collected)
    }
}

/// Every digest a manifest mentions, wherever it does: fields this crate does not know may refer to content, too.
fn references(manifest: &[u8]) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    let mut open: Vec<Value> = serde_json::from_slice(manifest).into_iter().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => found.extend(text.parse::<Digest>().ok()),
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => open.extend(fields.into_iter().map(|(_, value)| value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    found
}

/// The files `<algorithm>/<hex>` below `dir`.
fn digests(dir: &Path) -> Result<Vec<(Digest, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for algorithm in names(dir)? {
        let dir = dir.join(&algorithm);
        for hex in names(&dir)? {
            found.extend(format!("{algorithm}:{hex}").parse().ok().map(|digest| (digest, dir.join(&hex))));
        }
    }
    Ok(found)
}

fn is_old(path: &Path) -> bool {
    age(path).is_some_and(|age| age > GRACE)
}

fn remove_old(path: &Path) -> Result<bool, StoreError> {
    if is_old(path) { remove(path) } else { Ok(false) }
}
