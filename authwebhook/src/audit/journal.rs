//! Events on disk from before the verdict until DataStorage has settled them, so that a process that is killed in between has not
//! forgotten what it let pass. A file per event, named for its id: what is handed in twice is kept once.
//!
//! An event is synced to the disk before the verdict is given, so that it also outlives the node's power. That costs the write
//! under review a few milliseconds, of the ten seconds that the API server waits; such writes are decisions of people, a few in
//! an hour, and the record of who decided is what this service is for.

use std::fs::{self, File};
use std::io::{self, Write};
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
    /// Opens the folder, with whatever a process before this one has left in it.
    pub fn open(directory: &Path) -> io::Result<Journal> {
        fs::create_dir_all(directory)?;
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            // The process was killed while it wrote it, and so before it answered.
            if !is_event(&path) {
                fs::remove_file(&path)?;
            }
        }
        Ok(Journal { directory: directory.to_owned() })
    }

    /// The files of the events that are not settled, oldest first.
    pub fn unsettled(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let path = entry.path();
            if is_event(&path) {
                // One that is settled meanwhile need not be sent.
                let Ok(written) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
                files.push((written, path));
            }
        }
        files.sort_unstable();
        Ok(files.into_iter().map(|(_, path)| path).collect())
    }

    /// The event in a file; none if it was settled meanwhile, or is none.
    pub fn read(path: &Path) -> Option<AuditEventRequest> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                error!(%error, path = %path.display(), "cannot read an audit event; left where it is");
                return None;
            }
        };
        let event = serde_json::from_slice(&bytes);
        event
            .map_err(|error| error!(%error, path = %path.display(), "not an audit event; left where it is"))
            .ok()
    }

    /// Keeps an event until it is settled: on the disk when this returns. A file is there whole or not at all.
    pub fn keep(&self, event: &AuditEventRequest) -> io::Result<()> {
        let Some(id) = event.event_id else { return Err(io::Error::other("the event has no id")) };
        // Two reviews of one write may come at once.
        let half = self.directory.join(format!("{id}.{}", Uuid::new_v4()));
        let mut file = File::create(&half)?;
        file.write_all(&serde_json::to_vec(event)?)?;
        file.sync_data()?;
        fs::rename(&half, self.file(id))?;
        // The name, too.
        File::open(&self.directory)?.sync_all()
    }

    /// Whether the event is not settled yet.
    pub fn has(&self, event: &AuditEventRequest) -> bool {
        event.event_id.is_some_and(|id| self.file(id).exists())
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

fn is_event(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}
