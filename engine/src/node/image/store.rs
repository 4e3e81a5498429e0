//! Images on disk: small blobs and unpacked layers, each under its digest. Several engines may share one store.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::digest::Digest;
use super::flatten;
use super::unpack::{self, Limits, UnpackError, Whiteouts};

/// The directory of all images.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    /// Held shared while this engine lives: what is in `tmp` may be somebody's work.
    _in_use: Flock<File>,
}

/// A layer on its way in.
#[derive(Debug)]
pub(super) struct Incoming {
    directory: TempDir,
    file: File,
    hasher: Sha256,
    size: u64,
}

/// A layer that is unpacked but not yet in its place.
#[derive(Debug)]
pub(super) struct Unpacked {
    directory: TempDir,
    /// Digest of the archive without compression.
    pub uncompressed: Digest,
}

impl Store {
    /// Opens (or makes) a store, and removes what killed engines left unfinished unless another engine is using it.
    pub fn open(directory: &Path) -> io::Result<Self> {
        for part in ["blobs", "layers", "flat", "tmp"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let lock = File::options().create(true).truncate(false).write(true).open(directory.join("lock"))?;
        let in_use = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
            Ok(alone) => {
                for entry in fs::read_dir(directory.join("tmp"))? {
                    fs::remove_dir_all(entry?.path())?;
                }
                alone.relock(FlockArg::LockShared)?;
                alone
            }
            Err((lock, _busy)) => Flock::lock(lock, FlockArg::LockShared).map_err(|(_, errno)| errno)?,
        };
        Ok(Self { directory: directory.to_owned(), _in_use: in_use })
    }

    /// A manifest, index or configuration, if it is here and intact.
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes = fs::read(self.directory.join("blobs").join(digest.hex())).ok()?;
        (Digest::of(&bytes) == *digest).then_some(bytes)
    }

    /// Keeps a small blob.
    pub fn put_blob(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        let temporary = self.temporary()?;
        let file = temporary.path().join("blob");
        fs::write(&file, bytes)?;
        fs::rename(file, self.directory.join("blobs").join(digest.hex()))?;
        Ok(digest)
    }

    /// Whether the layer is unpacked.
    pub fn has_layer(&self, digest: &Digest) -> bool {
        self.layer(digest).is_dir()
    }

    pub(super) fn receive(&self) -> io::Result<Incoming> {
        let directory = self.temporary()?;
        let path = directory.path().join("blob");
        let file = File::options().create_new(true).read(true).write(true).open(path)?;
        Ok(Incoming { directory, file, hasher: Sha256::new(), size: 0 })
    }

    /// Puts an unpacked layer in its place.
    pub(super) fn install(&self, unpacked: &Unpacked, digest: &Digest) -> io::Result<()> {
        publish(&unpacked.directory.path().join("layer"), &self.layer(digest))
    }

    /// Directories to stack for an image, topmost first. Layers are given bottom first.
    pub fn stack(&self, layers: &[Digest]) -> io::Result<Vec<PathBuf>> {
        let whiteouts: Vec<Whiteouts> =
            layers.iter().map(|layer| self.whiteouts(layer)).collect::<io::Result<_>>()?;
        if layers.is_empty() {
            // An image of nothing still needs a directory.
            return Ok(vec![self.flattened(&[], &[])?]);
        }
        // In the bottom layer there is nothing to take away from.
        if whiteouts.iter().skip(1).all(Whiteouts::is_empty) {
            return Ok(layers.iter().rev().map(|layer| self.layer(layer).join("root")).collect());
        }
        Ok(vec![self.flattened(layers, &whiteouts)?])
    }

    fn flattened(&self, layers: &[Digest], whiteouts: &[Whiteouts]) -> io::Result<PathBuf> {
        let chain: String = layers.iter().map(|layer| format!("{layer}\n")).collect();
        let place = self.directory.join("flat").join(Digest::of(chain.as_bytes()).hex());
        if !place.is_dir() {
            let temporary = self.temporary()?;
            let composed = temporary.path().join("flat");
            let root = composed.join("root");
            fs::create_dir_all(&root)?;
            for (layer, whiteouts) in layers.iter().zip(whiteouts) {
                flatten::add_layer(&self.layer(layer).join("root"), whiteouts, &root)?;
            }
            publish(&composed, &place)?;
        }
        Ok(place.join("root"))
    }

    fn whiteouts(&self, layer: &Digest) -> io::Result<Whiteouts> {
        Ok(serde_json::from_slice(&fs::read(self.layer(layer).join("whiteouts.json"))?)?)
    }

    fn layer(&self, digest: &Digest) -> PathBuf {
        self.directory.join("layers").join(digest.hex())
    }

    fn temporary(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix("pull-").tempdir_in(self.directory.join("tmp"))
    }
}

impl Incoming {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The digest of what has arrived.
    pub(super) fn digest(&self) -> Digest {
        Digest::finish(self.hasher.clone())
    }

    pub(super) fn unpack(mut self) -> Result<Unpacked, UnpackError> {
        let layer = self.directory.path().join("layer");
        let root = layer.join("root");
        fs::create_dir_all(&root)?;
        io::Seek::rewind(&mut self.file)?;
        let (whiteouts, uncompressed) = unpack::unpack(self.file, &root, Limits::default())?;
        fs::write(layer.join("whiteouts.json"), serde_json::to_vec(&whiteouts).map_err(io::Error::from)?)?;
        Ok(Unpacked { directory: self.directory, uncompressed })
    }
}

/// Makes a finished directory appear; somebody else may have been faster with the same one.
fn publish(finished: &Path, place: &Path) -> io::Result<()> {
    match fs::rename(finished, place) {
        Err(error) if place.is_dir() => {
            tracing::debug!(%error, place = %place.display(), "already there");
            Ok(())
        }
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_only_when_nobody_else_uses_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let leftover = directory.path().join("tmp/pull-killed/layer");
        let first = Store::open(directory.path()).unwrap();
        fs::create_dir_all(&leftover).unwrap();
        let second = Store::open(directory.path()).unwrap();
        assert!(leftover.exists(), "it could be the first engine's");
        drop((first, second));
        let _third = Store::open(directory.path()).unwrap();
        assert!(!leftover.exists());
    }

    #[test]
    fn a_damaged_blob_counts_as_absent() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let digest = store.put_blob(b"{}").unwrap();
        assert_eq!(store.blob(&digest).as_deref(), Some(&b"{}"[..]));
        fs::write(directory.path().join("blobs").join(digest.hex()), "{").unwrap();
        assert_eq!(store.blob(&digest), None);
    }
}
