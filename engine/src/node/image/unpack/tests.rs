use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use super::*;

/// An entry whose path is written as it stands: the library refuses the hostile ones.
fn entry(archive: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(1_000);
    header.set_size(content.len() as u64);
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

fn archive(entries: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (kind, path, link, content) in entries {
        entry(&mut archive, *kind, path, link, content);
    }
    archive.into_inner().unwrap()
}

/// Unpacks below a directory in which nothing else may appear.
struct Target(tempfile::TempDir);

impl Target {
    fn new() -> Self {
        let target = Self(tempfile::tempdir().unwrap());
        fs::create_dir(target.root()).unwrap();
        fs::write(target.0.path().join("outside"), "untouched").unwrap();
        target
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    fn unpack(&self, archive: &[u8], limits: Limits) -> Result<Whiteouts, UnpackError> {
        let mut blob = tempfile::tempfile().unwrap();
        blob.write_all(archive).unwrap();
        blob.rewind().unwrap();
        let result = unpack(blob, &self.root(), limits).map(|(whiteouts, _)| whiteouts);
        assert_eq!(fs::read_to_string(self.0.path().join("outside")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(self.0.path()).unwrap().count(), 2, "nothing appeared outside");
        result
    }
}

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const SYMLINK: EntryType = EntryType::Symlink;
const LINK: EntryType = EntryType::Link;

#[test]
fn climbing_paths_are_refused() {
    for (kind, path, link) in [
        (FILE, "../outside", ""),
        (FILE, "a/../../outside", ""),
        (DIR, "../new", ""),
        (LINK, "name", "../outside"),
        (SYMLINK, "../new", "x"),
    ] {
        let error =
            Target::new().unpack(&archive(&[(kind, path, link, b"")]), Limits::default()).unwrap_err();
        assert!(error.to_string().contains("outside") || error.to_string().contains("leaves"), "{error}");
    }
}

#[test]
fn absolute_paths_and_links_mean_the_layers_own_root() {
    let target = Target::new();
    let outside = target.0.path().join("outside");
    let climbing = format!("../../../../../../..{}", outside.display());
    let hostile = archive(&[
        (FILE, "/etc/passwd", "", b"layer"),
        (SYMLINK, "absolute", "/etc", b""),
        (FILE, "absolute/shadow", "", b"inside"),
        (SYMLINK, "up", "../../..", b""),
        (FILE, "up/climbed", "", b"inside"),
        (SYMLINK, "trap", &climbing, b""),
        (FILE, "trap", "", b"replaced, not followed"),
        (LINK, "hard", "absolute/passwd", b""),
    ]);
    target.unpack(&hostile, Limits::default()).unwrap();
    let read = |path: &str| fs::read_to_string(target.root().join(path)).unwrap();
    assert_eq!(read("etc/passwd"), "layer");
    assert_eq!(read("etc/shadow"), "inside");
    assert_eq!(read("climbed"), "inside");
    assert_eq!(read("trap"), "replaced, not followed");
    assert_eq!(read("hard"), "layer");
}

#[test]
fn a_link_planted_beforehand_is_not_followed_out() {
    let target = Target::new();
    symlink(target.0.path(), target.root().join("planted")).unwrap();
    let result = target.unpack(&archive(&[(FILE, "planted/new", "", b"x")]), Limits::default());
    let inside = target.root().join(target.0.path().strip_prefix("/").unwrap()).join("new");
    assert!(result.is_err() || inside.exists());
}

#[test]
fn device_nodes_are_refused() {
    for kind in [EntryType::Char, EntryType::Block] {
        let error =
            Target::new().unpack(&archive(&[(kind, "dev/sda", "", b"")]), Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "entry \"dev/sda\": device nodes are refused");
    }
}

#[test]
fn sizes_are_bounded() {
    let two = archive(&[(FILE, "a", "", &[0; 600]), (FILE, "b", "", &[0; 600])]);
    let error = Target::new().unpack(&two, Limits { bytes: 1000, entries: 10 }).unwrap_err();
    assert_eq!(error.to_string(), "the layer holds more than 1000 bytes");
    let error = Target::new().unpack(&two, Limits { bytes: 10_000, entries: 1 }).unwrap_err();
    assert_eq!(error.to_string(), "the layer holds more than 1 entries");
}

#[test]
fn whiteouts_are_recorded_and_leave_no_file() {
    let target = Target::new();
    let layer = archive(&[
        (DIR, "etc/", "", b""),
        (FILE, "etc/.wh.gone", "", b""),
        (FILE, "var/.wh..wh..opq", "", b""),
        (FILE, ".wh..wh.plnk", "", b""),
        (FILE, ".wh...", "", b""),
    ]);
    let whiteouts = target.unpack(&layer, Limits::default()).unwrap();
    assert_eq!(whiteouts.removed, BTreeSet::from(["etc/gone".into()]));
    assert_eq!(whiteouts.opaque, BTreeSet::from(["var".into()]));
    assert_eq!(fs::read_dir(target.root()).unwrap().count(), 1);
}

#[test]
fn modes_times_and_content_survive_with_and_without_compression() {
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(DIR);
    header.set_mode(0o555);
    header.set_mtime(2_000);
    header.set_size(0);
    builder.append_data(&mut header.clone(), "fixed/", &[][..]).unwrap();
    header.set_entry_type(FILE);
    header.set_mode(0o4755);
    header.set_size(2);
    builder.append_data(&mut header, format!("fixed/{}", "long".repeat(60)), &b"ok"[..]).unwrap();
    let plain = builder.into_inner().unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut digests = Vec::new();
    for bytes in [&plain, &gzip.finish().unwrap()] {
        let target = Target::new();
        let mut blob = tempfile::tempfile().unwrap();
        blob.write_all(bytes).unwrap();
        blob.rewind().unwrap();
        let (_, digest) = unpack(blob, &target.root(), Limits::default()).unwrap();
        digests.push(digest);
        let directory = fs::metadata(target.root().join("fixed")).unwrap();
        assert_eq!((directory.permissions().mode() & 0o7777, directory.mtime()), (0o555, 2_000));
        let file = fs::metadata(target.root().join("fixed").join("long".repeat(60))).unwrap();
        assert_eq!((file.permissions().mode() & 0o7777, file.mtime(), file.len()), (0o4755, 2_000, 2));
    }
    assert_eq!(digests, [Digest::of(&plain), Digest::of(&plain)]);
}

#[test]
fn a_truncated_archive_is_an_error() {
    let whole = archive(&[(FILE, "a", "", &[7; 5000])]);
    assert!(matches!(Target::new().unpack(&whole[..3000], Limits::default()), Err(UnpackError::Io(_))));
    assert!(matches!(
        Target::new().unpack(&[0x28, 0xb5, 0x2f, 0xfd, 0], Limits::default()),
        Err(UnpackError::Compression)
    ));
}
