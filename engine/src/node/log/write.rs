//! From a container's standard output and error to its log.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Log, Progress};

/// A longer line is written in parts.
const LINE_LIMIT: usize = 16 << 10;

struct Writer {
    log: Arc<Log>,
    file: File,
    progress: Progress,
}

/// Writes what comes until both streams have ended.
pub(crate) async fn collect(
    log: Arc<Log>,
    stdout: impl AsyncRead + Unpin,
    stderr: impl AsyncRead + Unpin,
) -> io::Result<()> {
    let file = File::options().append(true).open(&log.path)?;
    let writer = Mutex::new(Writer { log, file, progress: Progress::default() });
    let outcome = tokio::try_join!(copy(stdout, "stdout", &writer), copy(stderr, "stderr", &writer));
    let mut writer = writer.into_inner().unwrap_or_else(PoisonError::into_inner);
    writer.progress.ended = true;
    writer.log.progress.send_replace(writer.progress);
    outcome.map(drop)
}

async fn copy(mut source: impl AsyncRead + Unpin, stream: &str, writer: &Mutex<Writer>) -> io::Result<()> {
    let mut line = Vec::new();
    let mut buffer = vec![0; LINE_LIMIT];
    loop {
        let count = source.read(&mut buffer).await?;
        let now = Timestamp::now();
        let mut text = Vec::new();
        for byte in buffer.get(..count).unwrap_or_default() {
            if *byte == b'\n' {
                entry(&mut text, now, stream, 'F', &mut line);
            } else {
                line.push(*byte);
                if line.len() == LINE_LIMIT {
                    entry(&mut text, now, stream, 'P', &mut line);
                }
            }
        }
        if count == 0 && !line.is_empty() {
            entry(&mut text, now, stream, 'P', &mut line);
        }
        if !text.is_empty() {
            writer.lock().unwrap_or_else(PoisonError::into_inner).write(&text)?;
        }
        if count == 0 {
            return Ok(());
        }
    }
}

fn entry(text: &mut Vec<u8>, now: Timestamp, stream: &str, tag: char, line: &mut Vec<u8>) {
    text.extend_from_slice(format!("{now:.9} {stream} {tag} ").as_bytes());
    text.append(line);
    text.push(b'\n');
}

impl Writer {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        if self.progress.size > self.log.limit {
            std::fs::rename(&self.log.path, self.log.aside())?;
            self.file = File::options().create(true).append(true).open(&self.log.path)?;
            self.progress.rotations += 1;
            self.progress.size = 0;
        }
        self.file.write_all(text)?;
        self.progress.size += text.len() as u64;
        self.log.progress.send_replace(self.progress);
        Ok(())
    }
}
