//! Content that changes all at once: files are in a directory of their own, and one link says which directory is meant.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::unistd::Gid;

use super::ownership;
use super::payload::Payload;

/// The link that is replaced.
const CURRENT: &str = "..data";

/// Makes `volume` show `payload`, now and completely. Who reads a file meanwhile sees the old or the new content.
pub(super) fn write(volume: &Path, payload: &Payload, group: Option<Gid>) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(volume)?;
    let current = volume.join(CURRENT);
    let old = fs::read_link(&current).ok();
    let made = tempfile::Builder::new()
        .prefix("..")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(volume)?
        .keep();
    for (path, file) in payload {
        let place = made.join(path);
        if let Some(parent) = place.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        fs::write(&place, &file.bytes)?;
        // Whoever shares the group may read, whatever the mode says.
        let for_group = if group.is_some() { 0o440 } else { 0 };
        fs::set_permissions(&place, fs::Permissions::from_mode(file.mode | for_group))?;
    }
    ownership::hand_over(&made, group)?;
    let name = made.file_name().map(OsString::from).unwrap_or_default();
    let next = volume.join("..data_next");
    let _leftover = fs::remove_file(&next);
    symlink(&name, &next)?;
    fs::rename(&next, &current)?;
    show(volume, payload)?;
    match old {
        Some(old) => fs::remove_dir_all(volume.join(old)),
        None => Ok(()),
    }
}

/// Links the visible names, and only them.
fn show(volume: &Path, payload: &Payload) -> io::Result<()> {
    let visible: BTreeSet<PathBuf> =
        payload.keys().filter_map(|path| path.iter().next().map(PathBuf::from)).collect();
    for entry in fs::read_dir(volume)? {
        let name = PathBuf::from(entry?.file_name());
        if !name.to_string_lossy().starts_with("..") && !visible.contains(&name) {
            fs::remove_file(volume.join(name))?;
        }
    }
    for name in visible {
        match symlink(Path::new(CURRENT).join(&name), volume.join(&name)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _made_or_there => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn payload(files: &[(&str, &str, u32)]) -> Payload {
        let file = |text: &str, mode| File { bytes: text.as_bytes().to_owned(), mode };
        files.iter().map(|(path, text, mode)| (PathBuf::from(path), file(text, *mode))).collect()
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with("..") || name == CURRENT)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn new_content_replaces_the_old_in_one_step() {
        let directory = tempfile::tempdir().unwrap();
        let volume = directory.path().join("v");
        write(&volume, &payload(&[("a", "1", 0o600), ("deep/b", "2", 0o644)]), None).unwrap();
        assert_eq!(names(&volume), ["..data", "a", "deep"]);
        assert_eq!(fs::read_to_string(volume.join("deep/b")).unwrap(), "2");
        assert_eq!(fs::metadata(volume.join("a")).unwrap().permissions().mode() & 0o777, 0o600);
        // An open file keeps the content it had.
        let mut open = fs::File::open(volume.join("a")).unwrap();
        write(&volume, &payload(&[("a", "new", 0o644), ("c", "3", 0o644)]), None).unwrap();
        assert_eq!(names(&volume), ["..data", "a", "c"]);
        assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "new");
        let mut seen = String::new();
        io::Read::read_to_string(&mut open, &mut seen).unwrap();
        assert_eq!(seen, "1");
        assert_eq!(fs::read_dir(&volume).unwrap().count(), 4, "the old directory is gone");
    }
}
