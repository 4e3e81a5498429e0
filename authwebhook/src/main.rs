//! The AuthWebhook process.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use authwebhook::options::Options;
use authwebhook::run::{RunError, run};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    // Refused only when a provider was installed before, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(Options::parse()).await {
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
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        let _ = write!(text, "; hint: {hint}");
    }
    text
}
