//! A mistake in a file somebody wrote: where it is, what it says there, and the edit that fixes it. Every declaration of Slipway (TOML
//! or YAML) is refused with one of these, so all of them read alike.
//!
//! What this crate is not: it reads no file, and it knows nothing of what a declaration means.

mod show;
mod words;

use std::ops::Range;
use std::path::{Path, PathBuf};

pub use words::did_you_mean;

/// A mistake at one place of one file. Prints as
///
/// ```text
/// manifests/components.toml:4:1: unknown field `need`
///   |
/// 4 | need = ["namespaces"]
///   | ^^^^
///   = hint: did you mean `needs`?
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was given to the reader.
    pub file: PathBuf,
    /// Line, from 1; 0 when the mistake is the file as a whole.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters are marked, at least 1.
    pub width: usize,
    /// The text of that line.
    pub text: String,
    /// What is wrong, as a fragment without full stop.
    pub message: String,
    /// The edit or command that fixes it.
    pub hint: Option<String>,
}

/// A mistake at some bytes of a text, before file and text are at hand to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slip {
    /// Which bytes.
    pub span: Range<usize>,
    /// What is wrong, as a fragment without full stop.
    pub message: String,
    /// The edit or command that fixes it.
    pub hint: Option<String>,
}

impl Slip {
    /// A slip, with what helps against it.
    pub fn new(span: Range<usize>, message: impl Into<String>, hint: Option<String>) -> Slip {
        Slip { span, message: message.into(), hint }
    }

    /// A TOML reader's complaint, with a "did you mean" when it is an unknown key.
    pub fn from_toml(error: &toml::de::Error) -> Slip {
        let message = error.message().trim_end();
        let hint = words::suggestion_in(message);
        Slip { span: error.span().unwrap_or(0..0), message: message.replace('\n', ", "), hint }
    }

    /// Where that is in a file.
    pub fn in_file(self, file: &Path, input: &str) -> Mistake {
        let Slip { span, message, hint } = self;
        Mistake::at_bytes(file, input, span, message).maybe_hint(hint)
    }
}

impl Mistake {
    /// A mistake that belongs to a whole file (it is missing, it is not UTF-8).
    pub fn whole_file(file: &Path, message: impl Into<String>) -> Mistake {
        Mistake {
            file: file.to_path_buf(),
            line: 0,
            column: 0,
            width: 0,
            text: String::new(),
            message: message.into(),
            hint: None,
        }
    }

    /// A mistake at a byte range of `input`; what is marked ends with its line.
    pub fn at_bytes(file: &Path, input: &str, span: Range<usize>, message: impl Into<String>) -> Mistake {
        let start = floor_boundary(input, span.start);
        let before = input.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let marked = input.get(start..floor_boundary(input, span.end)).unwrap_or_default();
        let width = marked.lines().next().unwrap_or_default().trim_end().chars().count();
        Mistake::at(file, input, line, column, width, message)
    }

    /// A mistake at a line and column (both from 1) of `input`.
    pub fn at(
        file: &Path,
        input: &str,
        line: usize,
        column: usize,
        width: usize,
        message: impl Into<String>,
    ) -> Mistake {
        let text = input.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned();
        let message = message.into();
        Mistake {
            file: file.to_path_buf(),
            line,
            column: column.max(1),
            width: width.max(1),
            text,
            message,
            hint: None,
        }
    }

    /// The same mistake with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Mistake {
        self.hint = Some(hint.into());
        self
    }

    /// The same mistake with a hint when there is one.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Mistake {
        self.hint = hint;
        self
    }

    /// A TOML reader's complaint, with a "did you mean" when it is an unknown key.
    pub fn from_toml(file: &Path, input: &str, error: &toml::de::Error) -> Mistake {
        match error.span() {
            Some(_) => Slip::from_toml(error).in_file(file, input),
            None => Mistake::whole_file(file, Slip::from_toml(error).message),
        }
    }

    /// A YAML reader's complaint, with a "did you mean" when it is an unknown key.
    pub fn from_yaml(file: &Path, input: &str, error: &serde_saphyr::Error) -> Mistake {
        let formatter = serde_saphyr::UserMessageFormatter;
        let message = error.without_snippet().render_with_formatter(&formatter);
        let message = message.lines().next().unwrap_or_default();
        // The reader repeats the place at the end of its sentence; it is printed before it here.
        let message = message.split(" at line ").next().unwrap_or(message);
        let hint = words::suggestion_in(message);
        match error.location() {
            Some(at) => {
                let (line, column) = (as_index(at.line()), as_index(at.column()));
                let width = message.split('`').nth(1).map_or(1, |written| written.chars().count());
                let mut mistake = Mistake::at(file, input, line, column, width, message);
                let marked: String =
                    mistake.text.chars().skip(column.saturating_sub(1)).take(width).collect();
                if !mistake.message.contains(&format!("`{marked}`")) {
                    mistake.width = 1;
                }
                mistake
            }
            None => Mistake::whole_file(file, message),
        }
        .maybe_hint(hint)
    }
}

fn as_index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

fn floor_boundary(input: &str, mut at: usize) -> usize {
    at = at.min(input.len());
    while !input.is_char_boundary(at) {
        at -= 1;
    }
    at
}
