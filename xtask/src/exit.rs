//! How a command ends that cannot do what it was asked, and the only place here that talks.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// A check or a build failed: the sources have to change.
pub const FAILED: u8 = 1;
/// This machine cannot do it.
pub const CANNOT_RUN: u8 = 3;

/// Why a command stopped.
#[derive(Debug)]
pub struct Failure {
    /// The process's exit code.
    pub code: u8,
    /// One sentence without full stop; empty when everything was said already.
    pub message: String,
    /// The command or edit that helps.
    pub hint: Option<String>,
}

impl Failure {
    /// Something in the sources is wrong.
    pub fn failed(message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { code: FAILED, message: message.into(), hint: Some(hint.into()) }
    }

    /// A command could not be started.
    pub fn cannot_run(command: &str, error: impl Display) -> Failure {
        Failure {
            code: CANNOT_RUN,
            message: format!("failed to run `{command}`: {error}"),
            hint: Some("is it installed and on PATH?".to_string()),
        }
    }

    /// Says why on stderr.
    pub fn report(self) -> ExitCode {
        let Failure { code, message, hint } = self;
        if !message.is_empty() {
            say(&format!("error: {message}"));
        }
        if let Some(hint) = hint {
            say(&format!("hint: {hint}"));
        }
        ExitCode::from(code)
    }
}

/// One line for the person at the terminal; nobody is left to tell when that fails.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
