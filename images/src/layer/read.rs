//! Layers of anybody, read entry by entry: gzip, zstd or plain, whatever their first bytes say. Nothing is unpacked to a disk here, and memory
//! stays bounded whatever the archive claims about itself.

use std::cell::Cell;
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use tar::{Archive, Entry};

/// What an archive may put between two entries: long names and extended headers, which are read into memory.
const BETWEEN_ENTRIES: u64 = 2 << 20;
/// Entries of one layer; the same limit as that of the node.
const MOST_ENTRIES: u64 = 1 << 20;
/// Bytes of one layer when unpacked; the same limit as that of the node.
const MOST_BYTES: u64 = 16 << 30;

/// The content of a layer without its compression.
pub fn unpacked<'a>(mut layer: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut magic = Vec::new();
    layer.by_ref().take(4).read_to_end(&mut magic)?;
    let kind = magic.clone();
    let layer = Cursor::new(magic).chain(layer);
    Ok(match kind.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(layer)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(layer)?),
        _ => Box::new(layer),
    })
}

/// Calls `visit` with the path of every entry (absolute, without detours) and the entry itself, in the order of the archive.
pub fn each_entry<'a, E: From<io::Error>>(
    layer: impl Read + 'a,
    mut visit: impl FnMut(String, &mut Entry<'_, Bounded<Box<dyn Read + 'a>>>) -> Result<(), E>,
) -> Result<(), E> {
    let allowed = Rc::new(Cell::new(BETWEEN_ENTRIES));
    let reader = Bounded { inner: unpacked(layer)?, allowed: allowed.clone() };
    let mut archive = Archive::new(reader);
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    for entry in archive.entries()? {
        let mut entry = entry?;
        entries += 1;
        bytes = bytes.saturating_add(entry.size());
        if entries > MOST_ENTRIES || bytes > MOST_BYTES {
            let limit = format!("the layer holds more than {MOST_ENTRIES} entries or {MOST_BYTES} bytes");
            return Err(io::Error::other(limit).into());
        }
        allowed.set(entry.size().saturating_add(BETWEEN_ENTRIES));
        visit(path_of(&entry), &mut entry)?;
    }
    Ok(())
}

/// `/usr/bin/tool` for `usr/bin/tool`, `./usr/bin/tool` and `/usr/bin/tool`; what climbs stops at the root, as in a container.
fn path_of(entry: &Entry<'_, impl Read>) -> String {
    let path = entry.path_bytes();
    let path = String::from_utf8_lossy(&path);
    plain(&path)
}

/// The path without detours, absolute.
pub(crate) fn plain(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Gives no more than is allowed, so that nobody collects what an archive hides between its entries.
pub struct Bounded<R> {
    inner: R,
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.allowed.get().checked_sub(count as u64) {
            Some(left) => {
                self.allowed.set(left);
                Ok(count)
            }
            None => Err(io::Error::other("names and headers of the layer are too long")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use tar::{Builder, EntryType, Header};

    use super::*;

    fn visited(layer: &[u8]) -> io::Result<Vec<(String, String)>> {
        let mut seen = Vec::new();
        each_entry(layer, |path, entry| {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            seen.push((path, text));
            Ok::<_, io::Error>(())
        })?;
        Ok(seen)
    }

    fn entry(archive: &mut Builder<Vec<u8>>, path: &str, content: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        // Paths that no archive should have are written as they are.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }

    fn archive() -> Vec<u8> {
        let mut archive = Builder::new(Vec::new());
        entry(&mut archive, "./etc/passwd", b"one");
        entry(&mut archive, "../../climbs", b"two");
        archive.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_packing_is_recognised_by_its_first_bytes() {
        let archive = archive();
        let expected =
            [("/etc/passwd", "one"), ("/climbs", "two")].map(|(a, b)| (a.to_string(), b.to_string()));
        for packed in [archive.clone(), gzip(&archive), zstd::encode_all(archive.as_slice(), 3).unwrap()] {
            assert_eq!(visited(&packed).unwrap(), expected);
        }
        assert_eq!(visited(b"").unwrap(), []);
    }

    #[test]
    fn a_name_without_end_is_not_collected() {
        let long = vec![b'a'; 3 << 20];
        let mut archive = Builder::new(Vec::new());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::GNULongName);
        header.set_path("././@LongLink").unwrap();
        header.set_size(long.len() as u64);
        header.set_cksum();
        archive.append(&header, long.as_slice()).unwrap();
        entry(&mut archive, "short", b"x");
        let error = visited(&gzip(&archive.into_inner().unwrap())).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }

    #[test]
    fn a_layer_that_breaks_off_is_an_error() {
        let archive = archive();
        let packed = gzip(&archive);
        assert!(visited(&packed[..packed.len() / 2]).is_err());
        let packed = zstd::encode_all(archive.as_slice(), 3).unwrap();
        assert!(visited(&packed[..packed.len() / 2]).is_err());
        assert!(visited(&archive[..700]).is_err());
    }
}
