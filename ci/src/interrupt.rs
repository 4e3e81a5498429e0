//! Ctrl-C and SIGTERM: the first one ends the run in order, another one ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Waits for somebody to stop the run.
#[derive(Debug)]
pub struct Interrupt {
    keyboard: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupt {
    /// From here on these signals do not end the process by themselves.
    pub fn listen() -> io::Result<Interrupt> {
        Ok(Interrupt {
            keyboard: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when one of them comes.
    pub async fn comes(&mut self) {
        tokio::select! {
            _ = self.keyboard.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
