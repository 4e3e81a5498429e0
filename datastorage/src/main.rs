//! The DataStorage process.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;
use datastorage::options::{Command, Options};
use datastorage::run::run;
use datastorage::server::document;
use datastorage::verify::{TAMPERED, verify};

#[tokio::main]
async fn main() -> ExitCode {
    // Refused only when a provider was installed before, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = Options::parse();
    let outcome = match options.command {
        None => run(options.serve).await.map_err(|error| (error.exit_code(), describe(&error, error.hint()))),
        Some(Command::Openapi) => {
            return match io::stdout().write_all(document().text.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        Some(Command::Verify(options)) => match verify(options, &mut io::stdout()).await {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::from(TAMPERED),
            Err(error) => Err((1, describe(&error, None))),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, text)) => {
            // The last line of the log is what the container's termination message shows.
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::from(code)
        }
    }
}

/// The error, its causes and the hint, in one line.
fn describe(error: &dyn Error, hint: Option<String>) -> String {
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
    if let Some(hint) = hint {
        let _ = write!(text, "; hint: {hint}");
    }
    text
}
