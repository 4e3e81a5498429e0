//! What has to hold for the sources before anything is built from them. One check, one file.

mod layers;
mod names;
mod paths;
mod sources;
mod tools;

use std::fmt;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};

use crate::codegen;
use crate::exit::{Failure, GATE, say};

/// Which checks.
#[derive(Args, Default)]
pub struct Arguments {
    /// Only these, in place of all
    only: Vec<Check>,
}

/// A check, by the name it has on the command line. The quick ones come first.
#[derive(Clone, Copy, ValueEnum)]
enum Check {
    /// Who may depend on whom
    Layers,
    /// The harness does not name the product
    Names,
    /// No text mentions somebody's machine
    Paths,
    /// rustfmt agrees
    Fmt,
    /// clippy has nothing to say
    Clippy,
    /// Generated files are current
    Codegen,
}

/// Something in the sources that has to change.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// What is wrong and where, in one sentence without full stop.
    message: String,
    /// The edit that helps.
    hint: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { message, hint } = self;
        write!(out, "error: {message}\n  hint: {hint}")
    }
}

/// Runs the checks to the end, so that one run shows everything.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let checks = match arguments.only.as_slice() {
        [] => Check::value_variants(),
        only => only,
    };
    let mut failed = Vec::new();
    for check in checks {
        let started = Instant::now();
        let passed = perform(*check)?;
        let word = if passed { "passed" } else { "FAILED" };
        say(&format!("check {:<8} {word} {:>6.1} s", check.name(), started.elapsed().as_secs_f64()));
        if !passed {
            failed.push(check.name());
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let message = format!("{} of {} checks failed", failed.len(), checks.len());
    Err(Failure::new(GATE, message, format!("run them alone with `cargo xtask check {}`", failed.join(" "))))
}

impl Check {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
    }
}

fn perform(check: Check) -> Result<bool, Failure> {
    let findings = match check {
        Check::Layers => layers::check()?,
        Check::Names => names::check()?,
        Check::Paths => paths::check()?,
        Check::Fmt => return tools::fmt(),
        Check::Clippy => return tools::clippy(),
        Check::Codegen => return generated_files_are_current(),
    };
    for finding in &findings {
        say(&finding.to_string());
    }
    Ok(findings.is_empty())
}

fn generated_files_are_current() -> Result<bool, Failure> {
    match codegen::run(&codegen::Arguments { check: true }) {
        Ok(_) => Ok(true),
        Err(failure) if failure.code == GATE => {
            failure.report();
            Ok(false)
        }
        Err(failure) => Err(failure),
    }
}
