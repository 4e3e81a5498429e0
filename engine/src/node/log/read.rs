//! Reading a log: all of it or its end, once or as it grows.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Log;
use crate::kubelet::{LogRequest, LogStream};

/// What `FallbackToLogsOnError` takes from the end of a log.
const LAST_WORDS_LINES: u64 = 80;
const LAST_WORDS_BYTES: usize = 2048;

/// Opens a log as it was asked for.
pub(crate) fn stream(log: Arc<Log>, request: LogRequest) -> LogStream {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        if let Err(error) = send(&log, &request, &sender).await {
            // A reader that has gone away needs no error.
            let _ = sender.send(Err(error)).await;
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

async fn send(log: &Log, request: &LogRequest, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut progress = log.progress.subscribe();
    let mut printer = Printer::new(request);
    let mut cursor = Cursor::open(log)?;
    let mut first = true;
    loop {
        let seen = *progress.borrow_and_update();
        let text = cursor.read()?;
        let mut lines = Vec::new();
        split(&text, &mut cursor.rest, &mut lines);
        if std::mem::take(&mut first)
            && let Some(tail) = request.tail_lines
        {
            keep_last(&mut lines, tail);
        }
        let printed = printer.print(&lines);
        if !printed.is_empty() && sender.send(Ok(printed.into())).await.is_err() {
            return Ok(());
        }
        if !request.follow || printer.is_full() {
            return Ok(());
        }
        if seen.rotations > cursor.rotations {
            cursor.next(log, seen.rotations)?;
        } else if seen.ended {
            return Ok(());
        } else {
            tokio::select! {
                changed = progress.changed() => if changed.is_err() { return Ok(()) },
                () = sender.closed() => return Ok(()),
            }
        }
    }
}

/// The end of a log, for the termination message of a container that left none.
pub(crate) fn last_words(log: &Log) -> String {
    let request = LogRequest { tail_lines: Some(LAST_WORDS_LINES), ..LogRequest::default() };
    let text = Cursor::open(log).and_then(|mut cursor| cursor.read()).unwrap_or_default();
    let (mut lines, mut rest) = (Vec::new(), Vec::new());
    split(&text, &mut rest, &mut lines);
    keep_last(&mut lines, LAST_WORDS_LINES);
    let printed = Printer::new(&request).print(&lines);
    let from = printed.len().saturating_sub(LAST_WORDS_BYTES);
    String::from_utf8_lossy(printed.get(from..).unwrap_or_default()).into_owned()
}

/// Where a reader is.
struct Cursor {
    file: File,
    /// What was put aside before the present file, to be read first.
    aside: Option<File>,
    rotations: u64,
    /// A line whose end has not been read yet.
    rest: Vec<u8>,
}

impl Cursor {
    fn open(log: &Log) -> io::Result<Self> {
        loop {
            let rotations = log.progress.borrow().rotations;
            let file = File::open(&log.path)?;
            let aside = (rotations > 0).then(|| File::open(log.aside())).transpose()?;
            if log.progress.borrow().rotations == rotations {
                return Ok(Self { file, aside, rotations, rest: Vec::new() });
            }
        }
    }

    /// Everything from here to the end.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        if let Some(mut aside) = self.aside.take() {
            aside.read_to_end(&mut text)?;
        }
        self.file.read_to_end(&mut text)?;
        Ok(text)
    }

    /// Goes on with the file that replaced the one just read.
    fn next(&mut self, log: &Log, rotations: u64) -> io::Result<()> {
        self.file = File::open(&log.path)?;
        self.rotations = rotations;
        Ok(())
    }
}

/// One line of a log file.
struct Line {
    time: Timestamp,
    /// It ends here.
    full: bool,
    text: Vec<u8>,
}

/// Takes complete lines; what is left stays in `rest`.
fn split(text: &[u8], rest: &mut Vec<u8>, lines: &mut Vec<Line>) {
    rest.extend_from_slice(text);
    let complete = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let incomplete = rest.split_off(complete);
    let all = std::mem::replace(rest, incomplete);
    lines.extend(all.split(|byte| *byte == b'\n').filter_map(parse));
}

fn parse(line: &[u8]) -> Option<Line> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (time, _stream, tag, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let time = std::str::from_utf8(time).ok()?.parse().ok()?;
    Some(Line { time, full: tag == b"F", text: text.to_owned() })
}

/// Keeps the last whole lines, each with all of its parts.
fn keep_last(lines: &mut Vec<Line>, count: u64) {
    let mut left = count;
    let mut from = lines.len();
    for (index, line) in lines.iter().enumerate().rev() {
        let last = index + 1 == lines.len();
        if line.full || last {
            if left == 0 {
                break;
            }
            left -= 1;
        }
        from = index;
    }
    lines.drain(..from);
}

/// Turns lines of the file into what was written, as asked for.
struct Printer {
    timestamps: bool,
    since: Option<Timestamp>,
    /// Bytes that may still be printed.
    left: Option<u64>,
    /// The next part begins a line.
    fresh: bool,
}

impl Printer {
    fn new(request: &LogRequest) -> Self {
        let LogRequest { timestamps, since, limit_bytes, .. } = request;
        Self { timestamps: *timestamps, since: *since, left: *limit_bytes, fresh: true }
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    fn print(&mut self, lines: &[Line]) -> Vec<u8> {
        let mut printed = Vec::new();
        for line in lines.iter().filter(|line| self.since.is_none_or(|since| line.time >= since)) {
            if self.timestamps && self.fresh {
                printed.extend_from_slice(format!("{:.9} ", line.time).as_bytes());
            }
            printed.extend_from_slice(&line.text);
            if line.full {
                printed.push(b'\n');
            }
            self.fresh = line.full;
        }
        if let Some(left) = &mut self.left {
            printed.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= printed.len() as u64;
        }
        printed
    }
}
