//! From whoever acts to whoever reports: one channel, one thread that sees every event in order and hands it to each reporter.

use std::io;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;

use super::{Event, Record};

/// How often reporters are told that time has passed.
const TICK: Duration = Duration::from_millis(100);

/// Where events go. Cheap to clone; emitting neither waits nor fails.
#[derive(Clone, Debug)]
pub struct EventSink {
    sender: mpsc::Sender<Message>,
}

impl EventSink {
    /// Says that something happened, now.
    pub fn emit(&self, event: Event) {
        // Nobody listens any more once the report is written.
        let _ = self.sender.send(Message::Happened(Box::new(Record { at: Timestamp::now(), event })));
    }
}

/// Shows or stores events.
pub trait Reporter: Send {
    /// Something happened.
    fn record(&mut self, record: &Record) -> io::Result<()>;

    /// Time has passed, for whoever shows a clock.
    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        let _ = now;
        Ok(())
    }

    /// Nothing more will happen.
    fn finish(&mut self) -> io::Result<()>;
}

enum Message {
    Happened(Box<Record>),
    Finish,
}

/// The thread the reporters live on.
#[derive(Debug)]
pub struct Reporting {
    sender: mpsc::Sender<Message>,
    thread: JoinHandle<Vec<io::Error>>,
}

impl Reporting {
    /// Starts it.
    pub fn start(reporters: Vec<Box<dyn Reporter>>) -> (Reporting, EventSink) {
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || report(&receiver, reporters));
        (Reporting { sender: sender.clone(), thread }, EventSink { sender })
    }

    /// Waits until everything emitted so far is reported. The errors are those of reporters that could not write; each kept quiet after its
    /// first.
    pub fn finish(self) -> Vec<io::Error> {
        let _ = self.sender.send(Message::Finish);
        match self.thread.join() {
            Ok(errors) => errors,
            Err(_) => vec![io::Error::other("a reporter panicked")],
        }
    }
}

fn report(receiver: &mpsc::Receiver<Message>, mut reporters: Vec<Box<dyn Reporter>>) -> Vec<io::Error> {
    let mut errors = Vec::new();
    let mut each = |call: &mut dyn FnMut(&mut dyn Reporter) -> io::Result<()>| {
        reporters.retain_mut(|reporter| call(reporter.as_mut()).map_err(|error| errors.push(error)).is_ok());
    };
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(Message::Happened(record)) => each(&mut |reporter| reporter.record(&record)),
            Err(RecvTimeoutError::Timeout) => each(&mut |reporter| reporter.tick(Timestamp::now())),
            Ok(Message::Finish) | Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    each(&mut |reporter| reporter.finish());
    errors
}
