//! An OCI image layout on disk: blobs by digest, `index.json` naming the images, readable by any other tool.
//!
//! Nothing is visible before it is complete: blobs and the index are written aside and renamed. Writers of the index take turns.

mod partial;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::digest::{Digest, Hasher, HashingWriter};
use crate::document::{Descriptor, Index, Manifest, REF_NAME, Raw};
pub use partial::Partial;

/// Unreferenced blobs younger than this stay: another process may be about to reference them.
const PRUNE_AFTER: Duration = Duration::from_secs(3600);

/// A layout directory.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

/// The layout could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The file system said no.
    #[error("{step} {}", path.display())]
    Io {
        /// What was attempted.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document in it is not what it should be.
    #[error("understand {}", path.display())]
    Malformed {
        /// The document.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A blob is not what its name says.
    #[error("read {}: its content has the digest {found}", path.display())]
    Corrupt {
        /// The blob.
        path: PathBuf,
        /// What it is instead.
        found: Digest,
    },
}

impl LayoutError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            LayoutError::Io { .. } => None,
            LayoutError::Malformed { path, .. } | LayoutError::Corrupt { path, .. } => {
                Some(format!("remove {} and build again", path.display()))
            }
        }
    }
}

fn io_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LayoutError {
    let path = path.to_path_buf();
    move |source| LayoutError::Io { step, path, source }
}

/// A blob being written; invisible until [`Layout::commit`].
pub type Staged = HashingWriter<NamedTempFile>;

impl Layout {
    /// Opens the layout at `dir`, making an empty one if there is none.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Layout, LayoutError> {
        let layout = Layout { dir: dir.into() };
        for part in ["blobs/sha256", ".staging"] {
            let path = layout.dir.join(part);
            fs::create_dir_all(&path).map_err(io_error("make the directory", &path))?;
        }
        let marker = layout.dir.join("oci-layout");
        if !marker.exists() {
            layout.replace(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        let index = layout.index_path();
        if !index.exists() {
            layout.write_index(&Index::new(Vec::new()))?;
        }
        Ok(layout)
    }

    /// The layout's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where things are until they are complete; what is old there goes when it is pruned.
    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.join(".staging")
    }

    /// Where the blob is or would be.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Whether the blob is there with the right size. Content was verified when it was written.
    pub fn has(&self, blob: &Descriptor) -> bool {
        fs::metadata(self.blob_path(&blob.digest)).is_ok_and(|metadata| metadata.len() == blob.size)
    }

    /// Whether the manifest and everything it lists is there.
    pub fn is_complete(&self, manifest: &Descriptor) -> bool {
        let Ok(raw) = self.read(manifest) else { return false };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&raw.bytes) else { return false };
        self.has(&manifest.config) && manifest.layers.iter().all(|layer| self.has(layer))
    }

    /// Reads a small blob (config, manifest, index), verified.
    pub fn read(&self, blob: &Descriptor) -> Result<Raw, LayoutError> {
        let path = self.blob_path(&blob.digest);
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        let (found, _) = Digest::of_reader(&mut bytes.as_slice()).map_err(io_error("read", &path))?;
        if found != blob.digest {
            return Err(LayoutError::Corrupt { path, found });
        }
        Ok(Raw { media_type: blob.media_type.clone(), digest: found, bytes: bytes.into() })
    }

    /// Reads a small blob as the document it is.
    pub fn document<T: serde::de::DeserializeOwned>(&self, blob: &Descriptor) -> Result<T, LayoutError> {
        let raw = self.read(blob)?;
        let path = self.blob_path(&blob.digest);
        serde_json::from_slice(&raw.bytes).map_err(|source| LayoutError::Malformed { path, source })
    }

    /// Opens a blob of any size for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<impl Read + use<>, LayoutError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(io_error("open", &path))
    }

    /// Reads a blob of any size to its end: whether it is there and is what its name says.
    pub fn check(&self, blob: &Descriptor) -> Result<(), LayoutError> {
        let path = self.blob_path(&blob.digest);
        let mut file = File::open(&path).map_err(io_error("read", &path))?;
        let mut hasher = Hasher::new(blob.digest.algorithm());
        let mut piece = vec![0; 256 << 10];
        loop {
            match file.read(&mut piece).map_err(io_error("read", &path))? {
                0 => break,
                length => hasher.update(&piece[..length]),
            }
        }
        match hasher.finish() {
            found if found == blob.digest => Ok(()),
            found => Err(LayoutError::Corrupt { path, found }),
        }
    }

    /// Begins a blob of any size.
    pub fn stage(&self) -> Result<Staged, LayoutError> {
        Ok(HashingWriter::new(self.stage_file()?))
    }

    /// Makes a staged blob visible under its digest.
    pub fn commit(&self, staged: Staged) -> Result<(Digest, u64), LayoutError> {
        let (file, digest, size) = staged.finish();
        let path = self.blob_path(&digest);
        persist(file, &path)?;
        Ok((digest, size))
    }

    fn stage_file(&self) -> Result<NamedTempFile, LayoutError> {
        let staging = self.staging();
        NamedTempFile::new_in(&staging).map_err(io_error("write a blob in", &staging))
    }

    /// Takes over a blob of another layout, as a hard link where the file system can.
    pub fn link(&self, from: &Layout, blob: &Descriptor) -> Result<(), LayoutError> {
        let (source, target) = (from.blob_path(&blob.digest), self.blob_path(&blob.digest));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(io_error("make the directory", parent))?;
        }
        match fs::hard_link(&source, &target) {
            Ok(()) => Ok(()),
            // There already, on another file system, or one without links: a copy replaces it in one step.
            Err(_) => {
                let mut staged = self.stage_file()?;
                let mut file = File::open(&source).map_err(io_error("open", &source))?;
                io::copy(&mut file, &mut staged).map_err(io_error("copy", &source))?;
                persist(staged, &target)
            }
        }
    }

    /// Stores a small document, unless it is already there.
    pub fn put(&self, raw: &Raw) -> Result<(), LayoutError> {
        if self.has(&raw.descriptor()) {
            return Ok(());
        }
        self.replace(&self.blob_path(&raw.digest), &raw.bytes)
    }

    /// What `index.json` lists.
    pub fn index(&self) -> Result<Index, LayoutError> {
        let path = self.index_path();
        let bytes = fs::read(&path).map_err(io_error("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|source| LayoutError::Malformed { path, source })
    }

    /// Lists `target` in `index.json` as `name`, instead of what had that name before. Returns whether anything changed.
    pub fn tag(&self, name: &str, mut target: Descriptor) -> Result<bool, LayoutError> {
        let _turn = self.take_turn()?;
        let mut index = self.index()?;
        target.annotations.insert(REF_NAME.to_string(), name.to_string());
        if index.manifests.contains(&target) {
            return Ok(false);
        }
        index.manifests.retain(|listed| listed.annotations.get(REF_NAME).map(String::as_str) != Some(name));
        index.manifests.push(target);
        index.manifests.sort_by(|a, b| a.annotations.get(REF_NAME).cmp(&b.annotations.get(REF_NAME)));
        self.write_index(&index)?;
        Ok(true)
    }

    /// Lists documents about images, instead of those that were listed before.
    pub fn attach(&self, documents: Vec<Descriptor>) -> Result<(), LayoutError> {
        let _turn = self.take_turn()?;
        let mut index = self.index()?;
        let before = index.clone();
        index.manifests.retain(|listed| listed.artifact_type.is_none());
        index.manifests.extend(documents);
        if index != before { self.write_index(&index) } else { Ok(()) }
    }

    /// Removes blobs nothing refers to any more, except young ones. Returns how many bytes were freed.
    pub fn prune(&self) -> Result<u64, LayoutError> {
        let _turn = self.take_turn()?;
        let mut used = std::collections::BTreeSet::new();
        let mut open = self.index()?.manifests;
        while let Some(descriptor) = open.pop() {
            if !used.insert(descriptor.digest.clone()) || !self.has(&descriptor) {
                continue;
            }
            if descriptor.is_index() {
                open.extend(self.document::<Index>(&descriptor)?.manifests);
            } else if let Ok(manifest) = self.document::<Manifest>(&descriptor) {
                used.insert(manifest.config.digest);
                used.extend(manifest.layers.into_iter().map(|layer| layer.digest));
            }
        }
        let mut freed = 0;
        let blobs = self.dir.join("blobs/sha256");
        for part in [blobs, self.staging()] {
            for entry in fs::read_dir(&part).map_err(io_error("list", &part))? {
                let path = entry.map_err(io_error("list", &part))?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let is_used = format!("sha256:{name}").parse().is_ok_and(|digest| used.contains(&digest));
                if !is_used && is_older(&path, PRUNE_AFTER) {
                    freed += fs::metadata(&path).map_or(0, |metadata| metadata.len());
                    fs::remove_file(&path).map_err(io_error("remove", &path))?;
                }
            }
        }
        Ok(freed)
    }

    fn index_path(&self) -> PathBuf {
        self.dir.join("index.json")
    }

    fn write_index(&self, index: &Index) -> Result<(), LayoutError> {
        let path = self.index_path();
        let bytes = serde_json::to_vec_pretty(index)
            .map_err(|source| LayoutError::Malformed { path: path.clone(), source })?;
        self.replace(&path, &bytes)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), LayoutError> {
        let mut staged = self.stage()?;
        io::Write::write_all(&mut staged, bytes).map_err(io_error("write", path))?;
        persist(staged.finish().0, path)
    }

    /// Waits until no other process changes the index; the turn ends when the file is dropped, also by a kill.
    fn take_turn(&self) -> Result<File, LayoutError> {
        let path = self.staging().join("turn.lock");
        let file = File::create(&path).map_err(io_error("open", &path))?;
        file.lock().map_err(io_error("lock", &path))?;
        Ok(file)
    }
}

fn persist(file: NamedTempFile, path: &Path) -> Result<(), LayoutError> {
    use std::os::unix::fs::PermissionsExt;
    let readable = fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(io_error("set the permissions of", path))?;
    file.persist(path).map_err(|error| io_error("write", path)(error.error))?;
    Ok(())
}

fn is_older(path: &Path, age: Duration) -> bool {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|since| since > age))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::MANIFEST;

    fn tagged(layout: &Layout) -> Vec<(String, Digest)> {
        let manifests = layout.index().unwrap().manifests;
        manifests.into_iter().map(|m| (m.annotations[REF_NAME].clone(), m.digest)).collect()
    }

    #[test]
    fn a_name_moves_and_repeating_it_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let (old, new) = (Raw::new(MANIFEST, "old"), Raw::new(MANIFEST, "new"));
        assert!(layout.tag("b", old.descriptor()).unwrap());
        assert!(layout.tag("a", new.descriptor()).unwrap());
        assert!(layout.tag("b", new.descriptor()).unwrap());
        assert!(!layout.tag("b", new.descriptor()).unwrap());
        let expected = [("a".to_string(), new.digest.clone()), ("b".to_string(), new.digest.clone())];
        assert_eq!(tagged(&layout), expected);
    }

    #[test]
    fn a_damaged_document_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let raw = Raw::new(MANIFEST, "good");
        layout.put(&raw).unwrap();
        fs::write(layout.blob_path(&raw.digest), "evil").unwrap();
        let error = layout.read(&raw.descriptor()).unwrap_err();
        assert!(matches!(error, LayoutError::Corrupt { .. }), "{error}");
        assert!(error.hint().unwrap().contains(raw.digest.hex()));
    }

    #[test]
    fn pruning_keeps_what_is_named_and_what_is_young() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let age = |raw: &Raw| {
            let file = File::options().write(true).open(layout.blob_path(&raw.digest)).unwrap();
            file.set_modified(SystemTime::now() - PRUNE_AFTER * 2).unwrap();
        };
        let raws = ["named", "stale", "young"].map(|text| Raw::new(MANIFEST, text));
        for raw in &raws {
            layout.put(raw).unwrap();
        }
        layout.tag("named", raws[0].descriptor()).unwrap();
        age(&raws[0]);
        age(&raws[1]);
        assert_eq!(layout.prune().unwrap(), "stale".len() as u64);
        let present = raws.map(|raw| layout.has(&raw.descriptor()));
        assert_eq!(present, [true, false, true]);
    }
}
