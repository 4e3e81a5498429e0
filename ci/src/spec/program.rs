//! A program that a tier needs and that is nobody's business to install but the machine's owner's.

use std::fs;
use std::path::{Path, PathBuf};

/// One entry of a tier's `needs-programs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Program {
    /// Its name, as in "postgres".
    pub name: String,
    /// The command that installs it.
    pub install: String,
    /// Where it may be besides `PATH`; a folder called `*` stands for any.
    pub folders: Vec<PathBuf>,
}

impl Program {
    /// Whether it is in one of the folders of `path`, which is written like `PATH`, or in one of its own.
    pub fn is_installed(&self, path: &std::ffi::OsStr) -> bool {
        let own = self.folders.iter().flat_map(|folder| matching(folder));
        std::env::split_paths(path).chain(own).any(|folder| folder.join(&self.name).is_file())
    }
}

/// The folders that a path with `*` in it stands for.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern {
        found = match part.to_str() {
            Some("*") => {
                found.iter().flat_map(fs::read_dir).flatten().flatten().map(|entry| entry.path()).collect()
            }
            _ => found.into_iter().map(|folder| folder.join(part)).collect(),
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path_and_in_folders_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for folder in ["path", "lib/14/bin", "lib/15/bin"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["path/boil", "lib/15/bin/pour"] {
            fs::write(at(file), "").unwrap();
        }
        let check = |name: &str, folder: &str, expected: bool| {
            let program =
                Program { name: name.to_owned(), install: String::new(), folders: vec![at(folder)] };
            assert_eq!(program.is_installed(at("path").as_os_str()), expected, "{name} in {folder}");
        };
        check("boil", "nowhere", true);
        check("pour", "lib/*/bin", true);
        check("pour", "lib/15/bin", true);
        check("pour", "lib/14/bin", false);
        // A folder is no program.
        check("15", "lib", false);
    }
}
