//! Events on disk from before the verdict until DataStorage has settled them, so that a process that is killed in between has not
//! forgotten what it let pass. A file per event, named for its id: what is handed in twice is kept once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use api::audit::AuditEventRequest;
use tracing::error;
use uuid::Uuid;

/// A folder of events. It outlives the process, not the volume it is on.
#[derive(Clone, Debug)]
pub struct Journal {
    directory: PathBuf,
}

impl Journal {
    /// Opens the folder; gives what a process before this one has left in it.
    pub fn open(directory: &Path) -> io::Result<(Journal, Vec<AuditEventRequest>)> {
        fs::create_dir_all(directory)?;
        let journal = Journal { directory: directory.to_owned() };
        let mut left = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            // The process was killed while it wrote it, and so before it answered.
            if path.extension().is_none_or(|extension| extension != "json") {
                fs::remove_file(&path)?;
                continue;
            }
            match serde_json::from_slice(&fs::read(&path)?) {
                Ok(event) => left.push(event),
                Err(error) => error!(%error, path = %path.display(), "not an audit event; left where it is"),
            }
        }
        // As they happened.
        left.sort_by_key(|event: &AuditEventRequest| event.event_timestamp);
        Ok((journal, left))
    }

    /// Keeps an event until it is settled. A file is there whole or not at all.
    pub fn keep(&self, event: &AuditEventRequest) -> io::Result<()> {
        let Some(id) = event.event_id else { return Ok(()) };
        // Two reviews of one write may come at once.
        let half = self.directory.join(format!("{id}.{}", Uuid::new_v4()));
        fs::write(&half, serde_json::to_vec(event)?)?;
        fs::rename(&half, self.file(id))
    }

    /// Forgets an event that DataStorage has, or will never take.
    pub fn settled(&self, event: &AuditEventRequest) {
        let Some(id) = event.event_id else { return };
        match fs::remove_file(self.file(id)) {
            // It was handed in twice.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => error!(%error, %id, "a settled audit event stays on disk and is sent again"),
            Ok(()) => {}
        }
    }

    fn file(&self, id: Uuid) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }
}
