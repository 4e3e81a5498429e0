//! Open uploads, written down: a process that is killed leaves what a registry has of a blob to the next one.
//!
//! Only a place to begin from. What is written here may be stale or damaged; whoever continues asks the registry how much it has, and begins
//! again when that does not work out.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use reqwest::Url;

use crate::digest::Digest;
use crate::held::hold;

/// A location is an address; more is a mistake.
const LIMIT: u64 = 16 << 10;

/// Where open uploads are written down, a file each.
#[derive(Clone, Debug)]
pub struct Ledger {
    dir: PathBuf,
}

/// One upload's file. Nobody else continues it while this lives.
#[derive(Debug)]
pub(super) struct Entry {
    file: File,
    path: PathBuf,
}

impl Ledger {
    /// In a directory that exists.
    pub fn new(dir: impl Into<PathBuf>) -> Ledger {
        Ledger { dir: dir.into() }
    }

    /// The entry of one blob for one repository. None while another process is at it, or when nothing can be written down: then the upload
    /// is one that cannot be continued, no more.
    pub(super) fn entry(&self, registry: &str, repository: &str, digest: &Digest) -> Option<Entry> {
        let key = Digest::of(format!("{registry}/{repository}@{digest}").as_bytes());
        let path = self.dir.join(format!("{}.upload", key.hex()));
        let mut options = File::options();
        // A location may hold a token of the upload's own.
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = hold(&options, &path).ok()??;
        Some(Entry { file, path })
    }
}

impl Entry {
    /// Where an earlier process sent the blob; nothing if none did.
    pub fn location(&mut self) -> Option<Url> {
        let mut text = String::new();
        self.file.rewind().ok()?;
        (&self.file).take(LIMIT).read_to_string(&mut text).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    }

    /// The upload goes on there.
    pub fn note(&mut self, location: &Url) {
        let written = self.file.rewind().and_then(|()| {
            self.file.set_len(0)?;
            self.file.write_all(format!("{location}\n").as_bytes())
        });
        if let Err(error) = written {
            tracing::debug!(%error, path = %self.path.display(), "an upload cannot be written down");
        }
    }

    /// The upload is over.
    pub fn forget(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_known_to_the_next_process_and_to_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path());
        let digest = Digest::of(b"abc");
        let entry = || ledger.entry("r.example", "a/b", &digest);
        let location: Url = "https://r.example/v2/a/b/blobs/uploads/1?_state=x".parse().unwrap();

        let mut first = entry().unwrap();
        assert_eq!(first.location(), None);
        assert!(entry().is_none());
        first.note(
            &"https://r.example/v2/a/b/blobs/uploads/with-a-longer-name-than-the-next".parse().unwrap(),
        );
        first.note(&location);
        drop(first);
        assert_eq!(entry().unwrap().location(), Some(location));
        assert_eq!(ledger.entry("r.example", "a/c", &digest).unwrap().location(), None);
        entry().unwrap().forget();
        assert_eq!(entry().unwrap().location(), None);
    }

    #[test]
    fn what_was_cut_short_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(dir.path());
        let mut entry = ledger.entry("r.example", "a", &Digest::of(b"")).unwrap();
        entry.note(&"https://r.example/v2/a".parse().unwrap());
        entry.file.set_len(20).unwrap();
        assert_eq!(entry.location(), None);
    }
}
