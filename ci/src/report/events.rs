//! `events.jsonl`: every event as it happens, one a line, so that a run which was killed can still be told.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use super::Report;
use crate::event::{Record, Reporter};

/// The file's name in the run's folder.
pub const EVENTS_FILE: &str = "events.jsonl";

/// Writes the file.
#[derive(Debug)]
pub struct EventLog {
    file: File,
}

impl EventLog {
    /// Begins the file in the run's folder.
    pub fn create(directory: &Path) -> io::Result<EventLog> {
        Ok(EventLog { file: File::create(directory.join(EVENTS_FILE))? })
    }
}

impl Reporter for EventLog {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        // One write for one line: another process that reads along never sees half of it.
        self.file.write_all(&line)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A run's events cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not an event.
    #[error("{}:{line}: this is not an event of this version", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Folds the events in a run's folder. A last line without end is what a killed run was about to write; it is left out.
pub fn load(directory: &Path) -> Result<Report, LoadError> {
    let path = directory.join(EVENTS_FILE);
    let read = |source| LoadError::Read { path: path.clone(), source };
    let mut reader = BufReader::new(File::open(&path).map_err(read)?);
    let mut report = Report::default();
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        reader.read_line(&mut line).map_err(read)?;
        if !line.ends_with('\n') {
            break;
        }
        let record = serde_json::from_str(&line).map_err(|source| LoadError::Line {
            path: path.clone(),
            line: number,
            source,
        })?;
        report.add(&record);
    }
    Ok(report)
}
