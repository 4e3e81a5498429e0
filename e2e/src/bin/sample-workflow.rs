//! The workflow the scenarios run. `MODE` (`succeed` or `fail`), `DURATION_SECONDS`, `EXIT_CODE` and `MESSAGE` say how.
//!
//! It prints every parameter it was given, one per line, so that a scenario can read them from the log.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use tokio::signal::unix::{SignalKind, signal};

/// Where Kubernetes reads a container's last words.
const LAST_WORDS: &str = "/dev/termination-log";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some("--version") {
        say(concat!("sample-workflow ", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    for (name, value) in env::vars() {
        say(&format!("parameter {name}={value}"));
    }
    match run().await {
        Ok(()) => {
            say("succeeded");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            say(&format!("failed: {}", failure.message));
            // Without that file the log tells as much.
            let _ = fs::write(LAST_WORDS, &failure.message);
            ExitCode::from(failure.exit_code)
        }
    }
}

/// How the workflow fails.
struct Failure {
    exit_code: u8,
    message: String,
}

async fn run() -> Result<(), Failure> {
    // The first process of a container is not ended by a signal it does not handle; it would be waited for.
    let mut end = signal(SignalKind::terminate()).map_err(|error| misused(error.to_string()))?;
    let duration = number("DURATION_SECONDS")?.unwrap_or(0);
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(duration)) => {}
        _ = end.recv() => return Err(Failure { exit_code: 143, message: "told to end".to_owned() }),
    }
    match env::var("MODE").as_deref() {
        Err(_) | Ok("succeed") => Ok(()),
        Ok("fail") => {
            let exit_code = number("EXIT_CODE")?.unwrap_or(1);
            let message = env::var("MESSAGE").unwrap_or_else(|_| "failed as asked".to_owned());
            Err(Failure { exit_code: u8::try_from(exit_code).unwrap_or(1), message })
        }
        Ok(other) => Err(misused(format!("MODE is `{other}`, not `succeed` or `fail`"))),
    }
}

fn number(variable: &str) -> Result<Option<u64>, Failure> {
    let Ok(text) = env::var(variable) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| misused(format!("{variable} is `{text}`, not a whole number")))
}

fn misused(message: String) -> Failure {
    Failure { exit_code: 2, message }
}

/// One line in the log; there is nobody to tell when that fails.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
