//! A mistake in a file, shown where it is: file, line, column, the line itself, a caret, and what was probably meant.

use std::fmt;
use std::ops::Range;

/// What is wrong and at which bytes, before the text is at hand to show it.
#[derive(Debug)]
pub(crate) struct Mistake {
    pub span: Range<usize>,
    pub message: String,
    pub hint: Option<String>,
}

/// A mistake with everything needed to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The file as the user calls it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line without its end.
    pub text: String,
    /// How many characters are wrong, at least 1.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake with a hint.
    pub fn new(span: Range<usize>, message: impl Into<String>, hint: Option<String>) -> Mistake {
        Mistake { span, message: message.into(), hint }
    }

    /// What the TOML reader found; a misspelt word gets the closest known one as hint.
    pub fn from_toml(error: &toml::de::Error) -> Mistake {
        let message = error.message().trim_end().replace('\n', ", ");
        let hint = unexpected(&message).and_then(|(word, known)| did_you_mean(word, known));
        Mistake { span: error.span().unwrap_or(0..0), message, hint }
    }
}

impl Located {
    pub(crate) fn new(file: &str, text: &str, mistake: Mistake) -> Located {
        let Mistake { span, message, hint } = mistake;
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line_text = text[line_start..line_end].trim_end_matches('\r');
        Located {
            file: file.to_string(),
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            text: line_text.to_string(),
            width: text[start..end.min(line_end)].trim_end().chars().count().max(1),
            message,
            hint,
        }
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Located { file, line, column, text, width, message, hint } = self;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs stay tabs, so the caret stands under its character whatever the terminal makes of them.
        let indent: String =
            text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(f, "{file}:{line}:{column}: {message}")?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {text}")?;
        write!(f, "{margin} | {indent}{}", "^".repeat(*width))?;
        match hint {
            Some(hint) => write!(f, "\n{margin} = hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Located {}

/// A hint with the known word closest to `word`, when one is close enough to be meant.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), letters(candidate) != letters(word), candidate))
        .filter(|(distance, _, _)| *distance <= limit)
        .min()
        .map(|(_, _, candidate)| format!("did you mean `{candidate}`?"))
}

/// Takes serde's "unknown field `a`, expected one of `b`, `c`" apart.
fn unexpected(message: &str) -> Option<(&str, Vec<&str>)> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let word = quoted.next()?;
    Some((word, quoted.collect()))
}

/// Edits (insert, delete, replace, swap neighbours) that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The letters in order: of two words equally close, the one with the same letters was probably meant.
fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

fn floor_boundary(text: &str, index: usize) -> usize {
    let mut index = index.min(text.len());
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}
