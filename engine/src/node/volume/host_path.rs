//! `hostPath`: a file or directory of the machine, checked or made as its type says.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Makes sure that `path` is what `kind` says. A path without a type is made as a directory where it is missing.
pub(super) fn check(path: &Path, kind: &str) -> Result<(), String> {
    let file_type = fs::metadata(path).map(|metadata| metadata.file_type());
    let missing = matches!(&file_type, Err(error) if error.kind() == io::ErrorKind::NotFound);
    let is = |what: fn(&fs::FileType) -> bool| file_type.as_ref().is_ok_and(what);
    let fits = match kind {
        "" if missing => return make_directory(path),
        "" => true,
        "DirectoryOrCreate" if missing => return make_directory(path),
        "DirectoryOrCreate" | "Directory" => is(fs::FileType::is_dir),
        "FileOrCreate" if missing => return make_file(path),
        "FileOrCreate" | "File" => is(fs::FileType::is_file),
        "Socket" => is(fs::FileType::is_socket),
        "CharDevice" => is(fs::FileType::is_char_device),
        "BlockDevice" => is(fs::FileType::is_block_device),
        other => return Err(format!("hostPath type {other:?} is not known")),
    };
    let wanted = match kind {
        "DirectoryOrCreate" | "Directory" => "a directory",
        "FileOrCreate" | "File" => "a file",
        "Socket" => "a socket file",
        "CharDevice" => "a character device",
        _ => "a block device",
    };
    if fits { Ok(()) } else { Err(format!("hostPath type check failed: {} is not {wanted}", path.display())) }
}

fn make_directory(path: &Path) -> Result<(), String> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|error| format!("making {}: {error}", path.display()))
}

fn make_file(path: &Path) -> Result<(), String> {
    let made = fs::File::options().write(true).create(true).truncate(false).mode(0o644).open(path);
    made.map(drop).map_err(|error| format!("making {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_its_type_says_or_is_made_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("directory")).unwrap();
        fs::write(path("file"), "").unwrap();
        for (name, kind, fits) in [
            ("directory", "Directory", true),
            ("file", "Directory", false),
            ("absent", "Directory", false),
            ("file", "File", true),
            ("directory", "FileOrCreate", false),
            ("file", "Socket", false),
            ("made/deep", "DirectoryOrCreate", true),
            ("made/deep/file", "FileOrCreate", true),
            ("made/too", "", true),
            ("file", "", true),
        ] {
            assert_eq!(check(&path(name), kind).is_ok(), fits, "{name} {kind}");
        }
        assert!(path("made/deep/file").is_file() && path("made/too").is_dir());
        let error = check(&path("file"), "Directory").unwrap_err();
        assert_eq!(
            error,
            format!("hostPath type check failed: {} is not a directory", path("file").display())
        );
    }
}
