//! The files that are written when a run has ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Report, html, json, junit, markdown};
use crate::event::{Record, Reporter};

/// Their names in the run's folder.
pub const FILES: [&str; 4] = ["report.json", "junit.xml", "report.md", "report.html"];

/// Folds the run and writes the files at its end.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    report: Report,
}

impl Files {
    /// Files in the run's folder.
    pub fn new(directory: &Path) -> Files {
        Files { directory: directory.to_path_buf(), report: Report::default() }
    }
}

impl Reporter for Files {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        self.report.add(record);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        write(&self.report, &self.directory)
    }
}

/// Writes the files.
pub fn write(report: &Report, directory: &Path) -> io::Result<()> {
    let contents = [json(report)?, junit(report)?, markdown(report), html(report)];
    for (name, content) in FILES.iter().zip(contents) {
        let path = directory.join(name);
        fs::write(&path, content)
            .map_err(|error| io::Error::new(error.kind(), format!("write {}: {error}", path.display())))?;
    }
    Ok(())
}
