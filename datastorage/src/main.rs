//! The DataStorage process.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use datastorage::options::{Command, Options};
use datastorage::run::{RunError, run};
use datastorage::server::document;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(Command::Openapi) = options.command {
        return match io::stdout().write_all(document().text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    match run(options.serve).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The last line of the log is what the container's termination message shows.
            let _ = writeln!(io::stderr(), "{}", describe(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

/// The error, its causes and the hint, in one line.
fn describe(error: &RunError) -> String {
    let mut text = format!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        let cause_text = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        let _ = write!(text, "; hint: {hint}");
    }
    text
}
