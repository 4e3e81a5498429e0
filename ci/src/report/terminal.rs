//! The terminal: a line for everything worth one as it happens, and on a real terminal a status line below that shows what is
//! under way. Without one, a plain line now and then says that the run is still alive. At the end: failures, then the overview.

mod lines;
mod look;
mod status;
mod summary;

use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;

pub use look::Look;
pub(super) use status::status;
pub use summary::summary;

use super::Report;
use crate::event::{Record, Reporter};

/// How long plain output may stay silent.
const SILENCE: Duration = Duration::from_secs(15);

/// Shows a run to a person.
pub struct Terminal {
    out: Box<dyn Write + Send>,
    look: Look,
    report: Report,
    /// Whether the line the cursor is in shows the status.
    status_shown: bool,
    /// When something was written last that stays.
    spoke: Option<Timestamp>,
}

impl Terminal {
    /// Shows the run on stderr: stdout is for data.
    pub fn stderr() -> Terminal {
        Terminal::new(Box::new(io::stderr()), Look::of_stderr())
    }

    /// Shows the run on `out`.
    pub fn new(out: Box<dyn Write + Send>, look: Look) -> Terminal {
        Terminal { out, look, report: Report::default(), status_shown: false, spoke: None }
    }

    fn say(&mut self, text: &str, now: Timestamp) -> io::Result<()> {
        self.clear_status()?;
        writeln!(self.out, "{text}")?;
        self.spoke = Some(now);
        Ok(())
    }

    fn clear_status(&mut self) -> io::Result<()> {
        if self.status_shown {
            write!(self.out, "\r\x1b[2K")?;
            self.status_shown = false;
        }
        Ok(())
    }
}

impl Reporter for Terminal {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        self.report.add(record);
        for line in lines::lines(&record.event, &self.report, self.look.colour) {
            self.say(&line, record.at)?;
        }
        self.out.flush()
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        let Some(status) = status(&self.report, now) else {
            return Ok(());
        };
        if self.look.live {
            // Wrapping is off while the line is drawn, so that a narrow window cuts it instead of breaking it.
            let frame = status::frame(now);
            write!(self.out, "\r\x1b[2K\x1b[?7l {frame} {status}\x1b[?7h")?;
            self.status_shown = true;
        } else {
            let silent =
                self.spoke.or(self.report.began).map(|spoke| now.duration_since(spoke).unsigned_abs());
            if silent.is_some_and(|silent| silent >= SILENCE) {
                self.say(&lines::line(look::Tone::Plain, "Working", &status, self.look.colour), now)?;
            }
        }
        self.out.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.clear_status()?;
        if self.report.verdict.is_some() {
            write!(self.out, "\n{}", summary(&self.report, self.look.colour))?;
        }
        self.out.flush()
    }
}
