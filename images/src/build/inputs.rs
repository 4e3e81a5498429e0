//! What was packed before: a record per image and platform, valid while its inputs look untouched (path, time, size, inode) and
//! the recipe says the same.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::document::Descriptor;
use crate::layer::compressor;
use crate::platform::Platform;
use crate::proof::ProofRow;
use crate::recipe::Recipe;

/// Raised whenever packing or proving changes, so that older records are not believed.
const FORMAT: u32 = 3;

/// A layer and the digest of the tar in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PackedLayer {
    pub name: String,
    pub descriptor: Descriptor,
    pub diff_id: Digest,
}

/// What came out the last time.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub inputs: Digest,
    pub layers: Vec<PackedLayer>,
    pub proof: Vec<ProofRow>,
}

#[derive(Serialize)]
struct Inputs<'a> {
    format: u32,
    compressor: String,
    recipe: &'a Recipe,
    platform: &'a Platform,
    files: Vec<Stamp>,
    audit: Option<Digest>,
}

#[derive(Serialize)]
struct Stamp {
    path: PathBuf,
    seconds: i64,
    nanoseconds: i64,
    size: u64,
    inode: u64,
}

/// A digest that changes when anything that goes into the layers may have changed. Reads no file content.
pub(super) fn digest(
    recipe: &Recipe,
    platform: &Platform,
    files: Vec<PathBuf>,
    audit: Option<&[u8]>,
) -> Result<Digest, (PathBuf, io::Error)> {
    let files = files.into_iter().map(stamp).collect::<Result<_, _>>()?;
    let compressor = compressor(recipe.compression);
    let audit = audit.map(Digest::of);
    let inputs = Inputs { format: FORMAT, compressor, recipe, platform, files, audit };
    let bytes = serde_json::to_vec(&inputs).map_err(|error| (PathBuf::new(), error.into()))?;
    Ok(Digest::of(&bytes))
}

fn stamp(path: PathBuf) -> Result<Stamp, (PathBuf, io::Error)> {
    match fs::metadata(&path) {
        Ok(metadata) => Ok(Stamp {
            seconds: metadata.mtime(),
            nanoseconds: metadata.mtime_nsec(),
            size: metadata.len(),
            inode: metadata.ino(),
            path,
        }),
        Err(error) => Err((path, error)),
    }
}

/// The record of an image and platform, if there is a readable one.
pub(super) fn recall(cache: &Path, image: &str, platform: &Platform) -> Option<Record> {
    let bytes = fs::read(record_path(cache, image, platform)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Remembers a record. Losing it only costs time, so it is written aside and renamed but not guarded further.
pub(super) fn remember(cache: &Path, image: &str, platform: &Platform, record: &Record) -> io::Result<()> {
    let path = record_path(cache, image, platform);
    let dir = path.parent().unwrap_or(cache);
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    serde_json::to_writer(&mut file, record)?;
    file.persist(&path)?;
    Ok(())
}

fn record_path(cache: &Path, image: &str, platform: &Platform) -> PathBuf {
    cache.join(image).join(format!("{}.json", platform.slug()))
}
