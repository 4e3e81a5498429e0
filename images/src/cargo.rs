//! cargo as a child process: what it builds, how far it is, and the compiler's own words when it fails.

use std::io::{self, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use serde::Deserialize;

/// What cargo says while it works.
#[derive(Clone, Debug)]
pub enum Said {
    /// One crate target is built.
    Artifact(Artifact),
    /// How far it is.
    Progress {
        /// Steps that are done.
        done: usize,
        /// Steps there are.
        total: usize,
    },
    /// A line for people.
    Line(String),
}

/// One crate target that is built or was up to date.
#[derive(Clone, Debug, Deserialize)]
pub struct Artifact {
    /// cargo's name for the crate, see [`Artifact::package`].
    pub package_id: String,
    /// The crate's `Cargo.toml`.
    #[serde(default)]
    pub manifest_path: PathBuf,
    /// Which of the crate's targets.
    pub target: Target,
    /// How it was compiled.
    #[serde(default)]
    pub profile: Profile,
    /// The program, if it is one.
    pub executable: Option<PathBuf>,
    /// Nothing had to be done.
    pub fresh: bool,
}

/// A crate's target.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its kinds, as in `["bin"]`.
    pub kind: Vec<String>,
}

/// The part of a profile that matters here.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Profile {
    /// It contains tests and a runner for them.
    pub test: bool,
}

/// How cargo ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it and the compiler said, progress left out; when it failed, only why.
    pub output: String,
}

#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact(Artifact),
    #[serde(other)]
    Other,
}

/// Runs a cargo command that has `--message-format=json-render-diagnostics` to its end, on this thread: when the thread ends before, as
/// it does when its process dies, so does cargo.
pub fn run(mut command: Command, on: &(dyn Fn(Said) + Sync)) -> io::Result<Ended> {
    adapt(&mut command);
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe; nothing is allocated.
    unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from)) };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let said = std::thread::scope(|scope| {
        let listener = scope.spawn(move || {
            let mut said = String::new();
            each_line(stderr, |line| match progress(line) {
                Some((done, total)) => on(Said::Progress { done, total }),
                None => {
                    said.push_str(line);
                    said.push('\n');
                    on(Said::Line(line.to_string()));
                }
            });
            said
        });
        each_line(stdout, |line| {
            if let Ok(Message::CompilerArtifact(artifact)) = serde_json::from_str(line) {
                on(Said::Artifact(artifact));
            }
        });
        listener.join().unwrap_or_default()
    });
    let (status, said) = (child.wait()?, without_progress(&said));
    Ok(Ended { status, output: if status.success() { said } else { only_errors(&said) } })
}

/// Sets what cargo finds around it.
fn adapt(command: &mut Command) {
    // Asked for explicitly: without a terminal cargo would not say how far it is.
    command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "60");
    command.env("CARGO_TERM_COLOR", "never");
    // `cargo run` tells a program about its own crate; passed on, that would look like a change to build scripts which watch it.
    for (name, _) in std::env::vars_os() {
        let about_caller = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if about_caller.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}

impl Artifact {
    /// The crate's name out of `path+file:///w/crate#0.1.0` or `registry+https://…#crate@1.2.3`.
    pub fn package(&self) -> &str {
        let (url, fragment) = self.package_id.rsplit_once('#').unwrap_or((&self.package_id, ""));
        match fragment.split_once('@') {
            Some((name, _)) => name,
            None if fragment.starts_with(|c: char| c.is_ascii_digit()) => {
                url.rsplit('/').next().unwrap_or(url)
            }
            None => fragment,
        }
    }

    /// Whether the target is of this kind, as in `bin`.
    pub fn is(&self, kind: &str) -> bool {
        self.target.kind.iter().any(|each| each == kind)
    }
}

/// The crate in cargo's "error: could not compile `NAME` (…) due to …".
pub fn failed_crate(output: &str) -> Option<String> {
    let (_, rest) = output.split_once("could not compile `")?;
    rest.split('`').next().map(str::to_string)
}

/// A progress bar ends with a carriage return, everything else with a newline.
fn each_line(pipe: Option<impl Read>, mut on: impl FnMut(&str)) {
    let mut line = Vec::new();
    let mut give = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line);
        if !text.trim().is_empty() {
            on(text.trim_end());
        }
        line.clear();
    };
    for byte in pipe.into_iter().flat_map(|pipe| BufReader::new(pipe).bytes()).map_while(Result::ok) {
        match byte {
            b'\r' | b'\n' => give(&mut line),
            byte => line.push(byte),
        }
    }
    give(&mut line);
}

/// `    Building [==>   ] 12/345: crate, crate`
fn progress(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.trim_start().strip_prefix("Building [")?.split_once("] ")?;
    let (done, total) = counts.split([':', ' ']).next()?.split_once('/')?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

/// What is left when cargo's progress is taken out: a verb that ends in column 12, then a space.
fn without_progress(output: &str) -> String {
    let is_progress = |line: &str| {
        line.get(..12).is_some_and(|verb| {
            let word = verb.trim_start();
            !word.is_empty() && word.chars().all(char::is_alphabetic) && word.starts_with(char::is_uppercase)
        }) && line.get(12..13) == Some(" ")
    };
    let lines: Vec<&str> = output.lines().filter(|line| !is_progress(line)).collect();
    lines.join("\n").trim().to_string()
}

/// The paragraphs of the compiler that begin with `error`; everything, when there are none.
fn only_errors(output: &str) -> String {
    let mut paragraphs: Vec<Vec<&str>> = Vec::new();
    for line in output.lines() {
        let begins = line.starts_with("error") || line.starts_with("warning");
        match paragraphs.last_mut() {
            Some(paragraph) if !begins => paragraph.push(line),
            _ => paragraphs.push(vec![line]),
        }
    }
    let errors = paragraphs.iter().filter(|paragraph| paragraph[0].starts_with("error"));
    let errors: Vec<String> = errors.map(|paragraph| paragraph.join("\n").trim().to_string()).collect();
    if errors.is_empty() { output.to_string() } else { errors.join("\n\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_crate_is_named_and_progress_is_left_out() {
        let output = "   Compiling serde v1.0.0\n    Checking x v0.1.0 (/w/x)\n    Blocking waiting for file lock\n\
                      error[E0425]: cannot find value `x` in this scope\n --> x/src/lib.rs:1:1\n  |\n\n\
                      error: could not compile `x` (lib) due to 1 previous error\n";
        assert_eq!(failed_crate(output).unwrap(), "x");
        let text = without_progress(output);
        assert!(text.starts_with("error[E0425]"), "{text}");
        assert!(text.contains(" --> x/src/lib.rs:1:1"), "{text}");
    }

    #[test]
    fn warnings_do_not_hide_what_went_wrong() {
        let output = "warning: unused\n --> a.rs:1:1\n\nerror[E0425]: no `x`\n --> b.rs:1:1\n  = note: y\n\nwarning: 3 warnings\n\nerror: could not compile `b`\n";
        assert_eq!(
            only_errors(output),
            "error[E0425]: no `x`\n --> b.rs:1:1\n  = note: y\n\nerror: could not compile `b`"
        );
        assert_eq!(only_errors("no space left on device"), "no space left on device");
    }

    #[test]
    fn the_bar_is_told_from_lines_it_is_mixed_with() {
        let bytes = "   Compiling a v0.0.0\n    Building [==>  ] 3/10: a, b(bin)   \r    Building [=>  ] 4/10\rerror: x\n";
        let (mut bars, mut lines) = (Vec::new(), Vec::new());
        each_line(Some(bytes.as_bytes()), |line| match progress(line) {
            Some(bar) => bars.push(bar),
            None => lines.push(line.to_string()),
        });
        assert_eq!(bars, [(3, 10), (4, 10)]);
        assert_eq!(lines, ["   Compiling a v0.0.0", "error: x"]);
    }
}
