//! What a stack of layers contains, as far as it decides whether a loader is found: files, links and what upper layers hide.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use tar::Entry;

use crate::layer::read::plain;

/// Links followed at most, as in the kernel.
const MOST_LINKS: usize = 40;

#[derive(Debug, Default)]
pub(super) struct Contents {
    files: BTreeSet<String>,
    links: BTreeMap<String, String>,
}

/// What an entry hides, if that is what it is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    /// A file, or a directory with everything in it.
    Path(String),
    /// Everything in a directory.
    Below(String),
}

/// Reads the name of a whiteout.
pub(super) fn hidden(path: &str) -> Option<Hidden> {
    let (directory, name) = path.rsplit_once('/')?;
    match name.strip_prefix(".wh.")? {
        ".wh..opq" => Some(Hidden::Below(directory.to_string())),
        name => Some(Hidden::Path(format!("{directory}/{name}"))),
    }
}

impl Contents {
    pub fn add(&mut self, path: String, entry: &Entry<'_, impl Read>) {
        let kind = entry.header().entry_type();
        if kind.is_symlink() {
            let target = entry.link_name_bytes().unwrap_or_default();
            self.links.insert(path, String::from_utf8_lossy(&target).into_owned());
        } else if !kind.is_dir() {
            self.add_file(path);
        }
    }

    pub fn add_file(&mut self, path: String) {
        self.files.insert(path);
    }

    pub fn has(&self, path: &str) -> bool {
        self.files.contains(path) || self.links.contains_key(path)
    }

    pub fn hide(&mut self, hidden: &Hidden) {
        let (exact, below) = match hidden {
            Hidden::Path(path) => (Some(path), format!("{path}/")),
            Hidden::Below(directory) => (None, format!("{directory}/")),
        };
        let stays = |path: &String| Some(path) != exact && !path.starts_with(&below);
        self.files.retain(stays);
        self.links.retain(|path, _| stays(path));
    }

    /// Puts a layer on top.
    pub fn stack(&mut self, upper: Contents) {
        let Contents { files, links } = upper;
        self.files.retain(|path| !links.contains_key(path));
        self.links.retain(|path, _| !files.contains(path));
        self.files.extend(files);
        self.links.extend(links);
    }

    /// Whether the path is a file once every link on the way is followed, the way a system does whose root this is.
    pub fn leads_to_file(&self, path: &str) -> bool {
        let mut path = plain(path);
        for _ in 0..MOST_LINKS {
            if self.files.contains(&path) {
                return true;
            }
            let ends = path.match_indices('/').map(|(end, _)| end).skip(1).chain([path.len()]);
            let link = ends.into_iter().find_map(|end| Some((end, self.links.get(path.get(..end)?)?)));
            let Some((end, target)) = link else { return false };
            let (link, rest) = path.split_at(end);
            let parent = link.rsplit_once('/').map_or("", |(parent, _)| parent);
            path = match target.starts_with('/') {
                true => plain(&format!("{target}{rest}")),
                false => plain(&format!("{parent}/{target}{rest}")),
            };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(files: &[&str], links: &[(&str, &str)]) -> Contents {
        Contents {
            files: files.iter().map(|path| path.to_string()).collect(),
            links: links.iter().map(|(path, target)| (path.to_string(), target.to_string())).collect(),
        }
    }

    #[test]
    fn a_loader_is_found_through_links_to_files_and_directories() {
        let links = [
            ("/lib64", "usr/lib64"),
            ("/usr/lib64/ld.so.2", "../lib/ld-2.so"),
            ("/loop", "/loop"),
            ("/abs", "/lib64"),
            ("/out", "../../../usr"),
        ];
        let contents = contents(&["/usr/lib/ld-2.so"], &links);
        let check = |path: &str, expected: bool| assert_eq!(contents.leads_to_file(path), expected, "{path}");
        check("/usr/lib/ld-2.so", true);
        check("/lib64/ld.so.2", true);
        check("/abs/ld.so.2", true);
        check("/out/lib/ld-2.so", true);
        check("/lib64/ld.so.3", false);
        check("/lib64", false);
        check("/loop", false);
        check("/loop/x", false);
    }

    #[test]
    fn upper_layers_replace_and_hide() {
        let mut all = contents(&["/etc/a", "/etc/b", "/etcetera", "/opt/x/y"], &[("/bin", "/usr/bin")]);
        all.hide(&hidden("/etc/.wh.a").unwrap());
        all.hide(&hidden("/opt/.wh..wh..opq").unwrap());
        assert_eq!(hidden("/etc/a.wh."), None);
        all.stack(contents(&["/bin"], &[("/etc/b", "/etcetera")]));
        assert_eq!(all.files.iter().collect::<Vec<_>>(), ["/bin", "/etcetera"]);
        assert_eq!(all.links.keys().collect::<Vec<_>>(), ["/etc/b"]);
        assert!(!all.has("/opt/x/y"));
    }
}
