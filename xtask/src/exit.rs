//! How a command ends that cannot do what it was asked, and the only place here that talks. The codes are those of `slipway`;
//! `docs/reference.md` lists them.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Something went wrong that nobody foresaw.
pub const UNFORESEEN: u8 = 1;
/// A declaration has a mistake.
pub const DECLARATION: u8 = 3;
/// The code cannot be built.
pub const BUILD: u8 = 4;
/// A check did not pass.
pub const GATE: u8 = 8;

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
    /// Something is wrong and somebody can mend it.
    pub fn new(code: u8, message: impl Into<String>, hint: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), hint: Some(hint.into()) }
    }

    /// The compiler has said why.
    pub fn build() -> Failure {
        Failure { code: BUILD, message: String::new(), hint: None }
    }

    /// A command could not be started.
    pub fn cannot_run(command: &str, error: impl Display) -> Failure {
        Failure {
            code: UNFORESEEN,
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
