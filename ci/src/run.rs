//! The folder of a run: what each stage leaves, in files other people's tools can read.
//!
//! `target/slipway/<run>/` has `plan.json`, `images.json`, `references.json`, `kubeconfig`, `manifests/`, `diagnosis/`, `logs/` and the
//! reports; `latest` leads to the last one.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How many runs are kept.
const KEPT: usize = 20;

const LATEST: &str = "latest";

/// A run's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name; later runs sort after earlier ones.
    pub id: String,
    /// Its folder.
    pub directory: PathBuf,
}

/// A file of a run could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{doing} `{}`", file.display())]
pub struct FileError {
    /// Read or write.
    pub doing: &'static str,
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl Run {
    /// Makes the folder of a new run of `pipeline` below `home`, and removes the oldest ones.
    pub fn create(home: &Path, pipeline: &str, now: Timestamp) -> Result<Run, FileError> {
        fs::create_dir_all(home).map_err(failed("create", home))?;
        let time = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H-%M-%S").to_string();
        let mut number = 1;
        let run = loop {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let id = format!("{time}-{pipeline}{suffix}");
            let directory = home.join(&id);
            match fs::create_dir(&directory) {
                Ok(()) => break Run { id, directory },
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(FileError { doing: "create", file: directory, source }),
            }
        };
        point_latest(home, &run.directory)?;
        trim(home)?;
        Ok(run)
    }

    /// The last run below `home`.
    pub fn latest(home: &Path) -> Option<Run> {
        Run::open(fs::canonicalize(home.join(LATEST)).ok()?)
    }

    /// The run called `id` below `home`.
    pub fn named(home: &Path, id: &str) -> Option<Run> {
        names(home).iter().any(|name| name == id).then(|| Run::open(home.join(id))).flatten()
    }

    /// The run before this one of the same pipeline, as far as it left `file`.
    pub fn before(&self, file: &str) -> Option<Run> {
        let runs = names(self.directory.parent()?);
        let earlier = runs.into_iter().rev().filter(|name| *name < self.id);
        earlier
            .filter_map(|name| Run::open(self.directory.with_file_name(name)))
            .find(|run| run.file(file).is_file())
    }

    fn open(directory: PathBuf) -> Option<Run> {
        let id = directory.file_name()?.to_str()?.to_owned();
        directory.is_dir().then_some(Run { id, directory })
    }

    /// A file of the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file of the run, with the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf, FileError> {
        let file = self.file(name);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(failed("create", folder))?;
        }
        fs::write(&file, content).map_err(failed("write", &file))?;
        Ok(file)
    }

    /// Writes a JSON file of the run.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<PathBuf, FileError> {
        let file = self.file(name);
        let text = serde_json::to_string_pretty(value).map_err(|error| FileError {
            doing: "write",
            file,
            source: error.into(),
        })?;
        self.write(name, text + "\n")
    }

    /// Reads a JSON file of the run.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, FileError> {
        let file = self.file(name);
        let text = fs::read(&file).map_err(failed("read", &file))?;
        serde_json::from_slice(&text).map_err(|error| FileError { doing: "read", file, source: error.into() })
    }
}

fn failed(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError { doing, file: file.to_path_buf(), source }
}

/// Replaces the link in one step, so that it always leads somewhere.
fn point_latest(home: &Path, directory: &Path) -> Result<(), FileError> {
    let (link, next) = (home.join(LATEST), home.join(format!(".{LATEST}-{}", std::process::id())));
    let target = directory.strip_prefix(home).unwrap_or(directory);
    symlink(target, &next).map_err(failed("create", &next))?;
    fs::rename(&next, &link).map_err(failed("create", &link))
}

fn trim(home: &Path) -> Result<(), FileError> {
    let names = names(home);
    for name in names.iter().take(names.len().saturating_sub(KEPT)) {
        let directory = home.join(name);
        match fs::remove_dir_all(&directory) {
            // Another run trims as well.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(failed("remove", &directory))?,
        }
    }
    Ok(())
}

/// Names of the runs, oldest first. They begin with a year, unlike the other folders there.
fn names(home: &Path) -> Vec<String> {
    let entries = fs::read_dir(home).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with(|c: char| c.is_ascii_digit())).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_sort_by_time_and_the_oldest_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let time = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
        let made: Vec<Run> = (0..KEPT as i64 + 2)
            .map(|number| Run::create(home.path(), "e2e", time(number)).unwrap())
            .collect();
        let same_second = Run::create(home.path(), "e2e", time(KEPT as i64 + 1)).unwrap();
        assert_eq!(made[0].id, "2023-11-14T22-13-20-e2e");
        assert!(made.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(same_second.id > made[KEPT + 1].id);
        assert_eq!(names(home.path()).len(), KEPT);
        assert_eq!(Run::latest(home.path()).unwrap().id, same_second.id);
    }

    #[test]
    fn the_run_before_is_the_last_that_left_the_file() {
        let home = tempfile::tempdir().unwrap();
        let time = |second: i64| Timestamp::from_second(second).unwrap();
        let first = Run::create(home.path(), "e2e", time(1)).unwrap();
        first.write_json("images.json", &["a"]).unwrap();
        Run::create(home.path(), "e2e", time(2)).unwrap();
        let third = Run::create(home.path(), "test", time(3)).unwrap();
        let before = third.before("images.json").unwrap();
        assert_eq!(before, first);
        assert_eq!(before.read_json::<Vec<String>>("images.json").unwrap(), ["a"]);
        assert_eq!(third.before("kubeconfig"), None);
    }
}
