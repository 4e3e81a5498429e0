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

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn roll<'a, T>(&mut self, sides: &'a [T]) -> &'a T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let side = usize::try_from(self.0 >> 33).unwrap() % sides.len();
        &sides[side]
    }
}

/// Every archive is made of what has broken out of some unpacker; `Target` looks at what is outside after each.
#[test]
fn no_mixture_of_paths_and_links_gets_out() {
    let kinds = [DIR, FILE, SYMLINK, LINK, EntryType::Fifo];
    let paths = [
        "a",
        "a/b",
        "a/../b",
        "./a",
        "/a",
        "a/b/c",
        "b",
        "../outside",
        "..",
        "a//c",
        ".wh.a",
        "a/.wh..wh..opq",
        "outside",
    ];
    let links =
        ["..", "../..", "../outside", "/", "/outside", "a", "b", ".", "a/b", "/proc/self/cwd", "", "../root"];
    let mut dice = Dice(1);
    let mut unpacked = 0;
    for _ in 0..500 {
        let count = *dice.roll(&[1, 2, 3, 5, 8]);
        let entries: Vec<(EntryType, &str, &str, &[u8])> = (0..count)
            .map(|_| (*dice.roll(&kinds), *dice.roll(&paths), *dice.roll(&links), b"hostile".as_slice()))
            .collect();
        unpacked += usize::from(Target::new().unpack(&archive(&entries), Limits::default()).is_ok());
    }
    assert!(unpacked > 20, "only {unpacked} archives were acceptable: nothing was tried");
}

/// Bits flip on the way, and some people flip them on purpose.
#[test]
fn damaged_archives_are_errors_and_stay_inside() {
    let sound = archive(&[
        (DIR, "d/", "", b""),
        (SYMLINK, "d/l", "../f", b""),
        (FILE, "f", "", &[7; 700]),
        (LINK, "g", "f", b""),
    ]);
    let positions: Vec<usize> = (0..sound.len()).collect();
    let mut dice = Dice(2);
    for _ in 0..500 {
        let mut damaged = sound.clone();
        for _ in 0..*dice.roll(&[1, 2, 16]) {
            let position = *dice.roll(&positions);
            damaged[position] = *dice.roll(&[0, 1, b'/', b'.', b'7', 0x7f, 0x80, 0xff]);
        }
        // Whether it is an error depends on where it was hit; that nothing appears outside does not.
        let _outcome = Target::new().unpack(&damaged, Limits { bytes: 1 << 20, entries: 100 });
    }
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
fn names_without_end_do_not_fill_the_memory() {
    let long = vec![b'a'; 3 << 20];
    let hostile = archive(&[(EntryType::GNULongName, "x", "", &long), (FILE, "a", "", b"")]);
    let error = Target::new().unpack(&hostile, Limits::default()).unwrap_err();
    assert!(error.to_string().contains("too long"), "{error}");
    let trailing = [archive(&[(FILE, "a", "", b"")]), vec![0; 3 << 20]].concat();
    assert!(Target::new().unpack(&trailing, Limits::default()).is_err());
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
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    for bytes in [&plain, &gzip.finish().unwrap(), &zstd] {
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
    assert_eq!(digests, [(); 3].map(|()| Digest::of(&plain)));
}

#[test]
fn a_truncated_archive_is_an_error() {
    let whole = archive(&[(FILE, "a", "", &[7; 5000])]);
    assert!(matches!(Target::new().unpack(&whole[..3000], Limits::default()), Err(UnpackError::Io(_))));
    let zstd = zstd::encode_all(whole.as_slice(), 3).unwrap();
    let cut = Target::new().unpack(&zstd[..zstd.len() / 2], Limits::default());
    assert!(matches!(cut, Err(UnpackError::Io(_))));
}
