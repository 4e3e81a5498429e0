//! A mistake in a file somebody wrote: where it is, what it says there, and the edit that fixes it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

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

    /// A mistake at a byte range of `input`.
    pub fn at_bytes(file: &Path, input: &str, span: Range<usize>, message: impl Into<String>) -> Mistake {
        let start = floor_boundary(input, span.start);
        let before = input.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        let marked = input.get(start..floor_boundary(input, span.end)).unwrap_or_default();
        let width = marked.lines().next().unwrap_or_default().chars().count().max(1);
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
        let message = error.message().trim().to_owned();
        let hint = suggestion_in(&message);
        match error.span() {
            Some(span) => Mistake::at_bytes(file, input, span, first_line(&message)),
            None => Mistake::whole_file(file, first_line(&message)),
        }
        .maybe_hint(hint)
    }

    /// A YAML reader's complaint.
    pub(crate) fn from_yaml(file: &Path, input: &str, error: &serde_saphyr::Error) -> Mistake {
        let formatter = serde_saphyr::UserMessageFormatter;
        let message = error.without_snippet().render_with_formatter(&formatter);
        let message = first_line(&message);
        // The reader repeats the place at the end of its sentence; it is printed before it here.
        let message = message.split(" at line ").next().unwrap_or(&message).to_owned();
        let hint = suggestion_in(&message);
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

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake { file, line, column, width, text, message, hint } = self;
        if *line == 0 {
            write!(out, "{}: {message}", file.display())?;
            return match hint {
                Some(hint) => write!(out, "\n  = hint: {hint}"),
                None => Ok(()),
            };
        }
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(out, "{}:{line}:{column}: {message}", file.display())?;
        writeln!(out, "{gutter} |")?;
        writeln!(out, "{number} | {text}")?;
        write!(out, "{gutter} | {}{}", " ".repeat(column - 1), "^".repeat(*width))?;
        match hint {
            Some(hint) => write!(out, "\n{gutter} = hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Mistake {}

/// The candidate closest to what was written, when it is close enough to be a slip of the hand.
pub fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (distance(written, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count().max(written.len()) / 4)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// "unknown field `need`, expected one of `needs`, `deadline`" → "did you mean `needs`?"
fn suggestion_in(message: &str) -> Option<String> {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let is_unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    if !is_unknown {
        return None;
    }
    let written = quoted.next()?;
    // TOML's reader quotes what it expected, YAML's lists it bare.
    let bare = message.split_once("expected one of ").or_else(|| message.split_once("expected "));
    let candidates: Vec<&str> = match quoted.collect::<Vec<_>>() {
        quoted if quoted.is_empty() => bare.into_iter().flat_map(|(_, list)| list.split(", ")).collect(),
        quoted => quoted,
    };
    did_you_mean(written, candidates.iter().copied())
        .or_else(|| Some(format!("known here: {}", candidates.join(", "))).filter(|_| !candidates.is_empty()))
}

/// Optimal string alignment: insertions, deletions, substitutions and neighbours swapped each cost 1.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (row, from) in left.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, to) in right.iter().enumerate() {
            let substituted = rows[row][column] + usize::from(from != to);
            let mut best = substituted.min(rows[row][column + 1] + 1).min(next[column] + 1);
            let swapped = row > 0 && column > 0 && *from == right[column - 1] && left[row - 1] == *to;
            if swapped {
                best = best.min(rows[row - 1][column - 1] + 1);
            }
            next.push(best);
        }
        rows.push(next);
    }
    rows[left.len()][right.len()]
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swapped_pair_costs_one_and_far_words_are_not_suggested() {
        assert_eq!(distance("naems", "names"), 1);
        assert_eq!(did_you_mean("need", ["needs", "deadline"]), Some("did you mean `needs`?".into()));
        assert_eq!(did_you_mean("colour", ["needs", "deadline"]), None);
    }

    #[test]
    fn the_caret_counts_characters_not_bytes() {
        let mistake = Mistake::at_bytes(Path::new("a.toml"), "x = 1\né = \"ü\" z\n", 16..17, "stray `z`");
        assert_eq!(mistake.to_string(), "a.toml:2:9: stray `z`\n  |\n2 | é = \"ü\" z\n  |         ^");
    }
}
