//! A blob on its way through: fetched into a file, and read by one who passes it on while it still arrives.
//!
//! Who passes it on as fast as it comes gets the pieces that were just written from memory, and is waited for a moment when he falls behind;
//! one who is slower, or comes later, reads the file. The last byte is kept back until all of it was verified, so that what is damaged is never
//! sent to its end.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::watch;

/// Bytes of one blob that are kept in memory for whoever reads along.
const RECENT: usize = 1 << 20;
/// How long the one who writes waits for the one who reads; opening an upload takes a round trip or two.
const PATIENCE: Duration = Duration::from_millis(200);
/// Read from the file at once.
const BUFFER: usize = 256 << 10;

/// How far a blob may be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Reached {
    /// The file it is in; nothing before it has begun.
    path: PathBuf,
    /// Bytes from its beginning.
    bytes: u64,
}

/// The end of the one who fetches.
#[derive(Debug)]
pub struct Arrival {
    reached: watch::Sender<Reached>,
    recent: Arc<Recent>,
}

/// The end of the one who passes it on.
#[derive(Clone, Debug)]
pub struct Arriving {
    reached: watch::Receiver<Reached>,
    recent: Arc<Recent>,
}

/// Both ends of a blob that has not begun to arrive.
pub fn arrival() -> (Arrival, Arriving) {
    let (sender, receiver) = watch::channel(Reached::default());
    let recent = Arc::new(Recent::default());
    (Arrival { reached: sender, recent: recent.clone() }, Arriving { reached: receiver, recent })
}

impl Arrival {
    /// All of it is there and was verified.
    pub fn complete(&self, path: PathBuf, bytes: u64) {
        self.reached.send_replace(Reached { path, bytes });
    }

    /// For the thread that writes `size` bytes to `path` from their beginning.
    pub(super) fn writer(&self, path: &Path, size: u64) -> Writer {
        let readable = size.saturating_sub(1);
        let writer =
            Writer { reached: self.reached.clone(), recent: self.recent.clone(), wrote: 0, readable };
        writer.reached.send_replace(Reached { path: path.to_path_buf(), bytes: 0 });
        writer
    }
}

/// Tells readers what was written.
pub(super) struct Writer {
    reached: watch::Sender<Reached>,
    recent: Arc<Recent>,
    wrote: u64,
    /// All but the last byte.
    readable: u64,
}

impl Writer {
    /// The next piece is in the file.
    pub fn wrote(&mut self, piece: Bytes) {
        let length = piece.len() as u64;
        self.recent.add(self.wrote, piece);
        self.wrote += length;
        self.tell();
    }

    /// The file is empty again.
    pub fn restart(&mut self) {
        self.recent.state().pieces.clear();
        self.wrote = 0;
        self.tell();
    }

    fn tell(&self) {
        let bytes = self.wrote.min(self.readable);
        self.reached.send_modify(|reached| reached.bytes = bytes);
    }
}

/// The pieces that were written last.
#[derive(Debug, Default)]
struct Recent {
    state: Mutex<State>,
    taken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Each with its place in the blob, without gaps.
    pieces: VecDeque<(u64, Bytes)>,
    /// Whoever reads along was waited for in vain: he reads the file, until he has caught up.
    behind: bool,
}

impl State {
    fn bytes(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }
}

impl Recent {
    /// Keeps a piece. Waits a moment when there is no room; then what is oldest goes.
    fn add(&self, at: u64, piece: Bytes) {
        let room = RECENT.saturating_sub(piece.len());
        let is_full = |state: &mut State| !state.behind && state.bytes() > room;
        let waited = self.taken.wait_timeout_while(self.state(), PATIENCE, is_full);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        state.behind |= waited.timed_out();
        while state.bytes() > room && state.pieces.pop_front().is_some() {}
        state.pieces.push_back((at, piece));
    }

    /// What is kept from `at` on, as far as it is in one piece. Pieces before it are not needed any more.
    fn take(&self, at: u64) -> Option<Bytes> {
        let mut state = self.state();
        while state.pieces.front().is_some_and(|(start, piece)| start + piece.len() as u64 <= at) {
            state.pieces.pop_front();
        }
        let (start, piece) = state.pieces.front()?;
        let skipped = usize::try_from(at.checked_sub(*start)?).ok()?;
        let piece = piece.slice(skipped..);
        state.behind = false;
        self.taken.notify_one();
        Some(piece)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arriving {
    /// The bytes of `range` as they arrive; an error when they stop arriving.
    pub(super) fn read(self, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold((self, None, range), |(mut arriving, mut file, range)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let piece = arriving.next(&mut file, &range).await?;
            let rest = range.start + piece.len() as u64..range.end;
            Ok(Some((piece, (arriving, file, rest))))
        })
    }

    async fn next(&mut self, file: &mut Option<File>, range: &Range<u64>) -> io::Result<Bytes> {
        let at = range.start;
        let reached = self.reached.wait_for(|reached| reached.bytes > at).await.map_err(stopped)?.clone();
        let length = reached.bytes.min(range.end) - at;
        if let Some(mut piece) = self.recent.take(at) {
            // It may have been written but not told yet.
            piece.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            return Ok(piece);
        }
        let file = match file {
            Some(file) => file,
            None => file.insert(self.open(reached.path).await?),
        };
        let length = length.min(BUFFER as u64);
        let mut piece = vec![0; usize::try_from(length).unwrap_or(BUFFER)];
        file.seek(io::SeekFrom::Start(at)).await?;
        while let Err(error) = file.read_exact(&mut piece).await {
            if error.kind() != io::ErrorKind::UnexpectedEof {
                return Err(error);
            }
            // Its source began again from the first byte; what was read before comes once more.
            self.reached.changed().await.map_err(stopped)?;
            self.reached.wait_for(|reached| reached.bytes >= at + length).await.map_err(stopped)?;
            file.seek(io::SeekFrom::Start(at)).await?;
        }
        Ok(Bytes::from(piece))
    }

    /// The file gets its final name when it is complete; under one of the two it is there.
    async fn open(&mut self, path: PathBuf) -> io::Result<File> {
        match File::open(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.reached.wait_for(|reached| reached.path != path).await.map_err(stopped)?;
                let path = self.reached.borrow().path.clone();
                File::open(path).await
            }
            opened => opened,
        }
    }
}

fn stopped<E>(_: E) -> io::Error {
    io::Error::other("what is to be sent does not arrive any more")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures::TryStreamExt;

    use super::*;

    fn piece(number: u8) -> Bytes {
        Bytes::from(vec![number; RECENT / 4])
    }

    /// Writes ten pieces, one after the other, and says that all of it is there.
    fn write(arrival: &Arrival, path: &Path, pieces: u8) {
        let mut file = std::fs::File::create(path).unwrap();
        let mut writer = arrival.writer(path, u64::from(pieces) * (RECENT / 4) as u64);
        for number in 0..pieces {
            file.write_all(&piece(number)).unwrap();
            writer.wrote(piece(number));
        }
        arrival.complete(path.to_path_buf(), u64::from(pieces) * (RECENT / 4) as u64);
    }

    async fn all(arriving: Arriving, from: u64, pieces: u8) -> Vec<u8> {
        let end = u64::from(pieces) * (RECENT / 4) as u64;
        let read: Vec<Bytes> = arriving.read(from..end).try_collect().await.unwrap();
        read.concat()
    }

    fn expected(pieces: u8) -> Vec<u8> {
        (0..pieces).flat_map(piece).collect()
    }

    #[tokio::test]
    async fn who_reads_along_and_who_comes_late_read_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        let (arrival, arriving) = arrival();
        let late = arriving.clone();
        let writing = tokio::task::spawn_blocking({
            let path = path.clone();
            move || {
                write(&arrival, &path, 40);
                arrival
            }
        });
        assert!(all(arriving, 0, 40).await == expected(40));
        let _arrival = writing.await.unwrap();
        assert!(all(late, 1000, 40).await == expected(40)[1000..]);
    }

    #[tokio::test]
    async fn the_last_byte_comes_when_all_was_verified_and_never_otherwise() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blob");
        std::fs::write(&path, b"abc").unwrap();
        let (arrival, arriving) = arrival();
        arrival.writer(&path, 3).wrote(Bytes::from_static(b"abc"));
        let mut read = Box::pin(arriving.clone().read(0..3));
        assert_eq!(read.try_next().await.unwrap().unwrap(), "ab");
        arrival.complete(path.clone(), 3);
        assert_eq!(read.try_next().await.unwrap().unwrap(), "c");

        let mut read = Box::pin(arriving.read(0..4));
        assert_eq!(read.try_next().await.unwrap().unwrap(), "abc");
        drop(arrival);
        assert!(read.try_next().await.is_err());
    }

    #[tokio::test]
    async fn nobody_waits_for_one_who_never_reads_and_only_a_little_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (arrival, arriving) = arrival();
        tokio::task::spawn_blocking({
            let path = dir.path().join("blob");
            move || {
                write(&arrival, &path, 100);
                arrival
            }
        })
        .await
        .unwrap();
        let state = arriving.recent.state();
        assert!(state.behind && state.bytes() <= RECENT, "{}", state.bytes());
    }
}
