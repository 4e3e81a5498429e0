//! Layers: the same entries give the same bytes on any machine, at any time, for any user.
//!
//! Entries are sorted, parents are added, every owner is root, every time is the same, and the gzip header carries neither name
//! nor time. The bytes still depend on the compressor, so [`compressor`] is recorded in each manifest. `pack` are the compressors, `read`
//! goes the other way, for layers of anybody.

mod pack;
pub mod read;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use tar::{EntryType, Header};

use crate::digest::{Digest, HashingWriter};
use crate::recipe::Compression;
use pack::Packer;

/// What packs layers that way, exactly: other versions may give other bytes.
pub fn compressor(compression: Compression) -> String {
    let program = match compression {
        Compression::Gzip(1) => deflate::VERSION,
        Compression::Gzip(_) => pack::GZIP,
        Compression::Zstd(_) => pack::ZSTD,
    };
    let (name, level) = compression.parts();
    format!("{program}, {name} level {level}")
}

/// Time of every entry: the epoch. A later commit with the same files must give the same layer.
const MTIME: u64 = 0;

/// One directory or file of a layer, owned by root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Absolute path in the image.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What is there.
    pub content: Content,
}

/// What is at the path of an [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A directory.
    Directory,
    /// A file with these bytes.
    Bytes(Vec<u8>),
    /// A copy of this file.
    File(PathBuf),
}

/// Packs `entries` into `out`; gives the digest of the tar inside, which is what the config lists.
pub fn write<W: Write>(entries: &[Entry], compression: Compression, out: W) -> io::Result<(W, Digest)> {
    let mut archive = tar::Builder::new(HashingWriter::new(Packer::new(compression, out)?));
    for (path, (mode, content)) in with_parents(entries) {
        append(&mut archive, &path, mode, content)?;
    }
    let (packer, diff_id, _) = archive.into_inner()?.finish();
    Ok((packer.finish()?, diff_id))
}

/// Packs a tar that is not packed.
pub fn repack<W: Write>(tar: &mut impl Read, compression: Compression, out: W) -> io::Result<W> {
    let mut packer = Packer::new(compression, out)?;
    io::copy(tar, &mut packer)?;
    packer.finish()
}

/// Sorted by path (without the first `/`), with mode and content; each parent directory before what it holds, a declared one wins over an implied
/// one.
pub(crate) fn with_parents(entries: &[Entry]) -> BTreeMap<String, (u32, &Content)> {
    let mut sorted = BTreeMap::new();
    for Entry { path, mode, content } in entries {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            sorted.entry(path[..end].to_string()).or_insert((0o755, &Content::Directory));
        }
        sorted.insert(path.to_string(), (*mode, content));
    }
    sorted
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    content: &Content,
) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(MTIME);
    match content {
        Content::Directory => {
            header.set_entry_type(EntryType::Directory);
            header.set_size(0);
            archive.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Content::Bytes(bytes) => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, path, bytes.as_slice())
        }
        Content::File(source) => {
            let named =
                |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", source.display()));
            let file = File::open(source).map_err(named)?;
            let size = file.metadata().map_err(named)?.len();
            header.set_entry_type(EntryType::Regular);
            header.set_size(size);
            let mut content = file.take(size);
            archive.append_data(&mut header, path, &mut content).map_err(named)?;
            if content.limit() != 0 {
                return Err(named(io::Error::other("the file became shorter while it was packed")));
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(entries: &[Entry]) -> (Vec<u8>, Digest) {
        write(entries, Compression::Gzip(1), Vec::new()).unwrap()
    }

    fn file(path: &str, text: &str) -> Entry {
        Entry { path: path.into(), mode: 0o644, content: Content::Bytes(text.into()) }
    }

    fn listing(packed: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(read::unpacked(packed).unwrap());
        let describe = |entry: tar::Entry<'_, _>| {
            let header = entry.header().clone();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 0));
            format!("{path} {:o}", header.mode().unwrap())
        };
        archive.entries().unwrap().map(|entry| describe(entry.unwrap())).collect()
    }

    #[test]
    fn parents_come_first_and_declared_modes_win() {
        let tmp = Entry { path: "/tmp".into(), mode: 0o1777, content: Content::Directory };
        let (packed, _) = pack(&[file("/tmp/a/b", "x"), tmp, file("/etc/passwd", "y")]);
        insta::assert_snapshot!(listing(&packed).join("\n"), @r"
        etc/ 755
        etc/passwd 644
        tmp/ 1777
        tmp/a/ 755
        tmp/a/b 644
        ");
    }

    #[test]
    fn order_of_declaration_does_not_matter() {
        let (a, b) = (file("/a", "1"), file("/b", "2"));
        assert_eq!(pack(&[a.clone(), b.clone()]), pack(&[b, a]));
    }

    #[test]
    fn the_digest_is_that_of_the_tar_inside() {
        for compression in [Compression::Gzip(1), Compression::Gzip(6), Compression::Zstd(3)] {
            let (packed, diff_id) = write(&[file("/a", "1")], compression, Vec::new()).unwrap();
            let mut tar = Vec::new();
            read::unpacked(packed.as_slice()).unwrap().read_to_end(&mut tar).unwrap();
            assert_eq!(diff_id, Digest::of(&tar));
        }
    }

    #[test]
    fn long_paths_survive() {
        let path = format!("/{}/{}", "d".repeat(120), "f".repeat(120));
        let (packed, _) = pack(&[file(&path, "x")]);
        assert!(listing(&packed).iter().any(|line| line.starts_with(path.trim_start_matches('/'))));
    }

    #[test]
    fn the_recorded_compressor_is_the_locked_one() {
        let lock = include_str!("../../Cargo.lock");
        for part in pack::GZIP.split(", ").chain([pack::ZSTD]) {
            let (name, version) = part.split_once(' ').unwrap();
            let locked = format!("name = \"{name}\"\nversion = \"{version}\"");
            assert!(lock.contains(&locked), "Cargo.lock has another {name}; layer bytes may differ: {part}");
        }
    }

    #[test]
    fn a_missing_source_is_named() {
        let entry = Entry { path: "/a".into(), mode: 0o644, content: Content::File("/nowhere/a".into()) };
        let error = write(&[entry], Compression::Gzip(1), Vec::new()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/a"), "{error}");
    }
}
