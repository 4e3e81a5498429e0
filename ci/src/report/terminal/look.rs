//! What the terminal can show.

use std::env;
use std::io::{self, IsTerminal};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// It can redraw a line.
    pub live: bool,
    /// It can show colours, and they are wanted.
    pub colour: bool,
}

impl Look {
    /// Lines without colour, as for a log file.
    pub const PLAIN: Look = Look { live: false, colour: false };

    /// That of stderr. `NO_COLOR` takes colour away, `CLICOLOR_FORCE` gives it, as everywhere.
    pub fn of_stderr() -> Look {
        let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let able = io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
        Look { live: able, colour: !set("NO_COLOR") && (able || set("CLICOLOR_FORCE")) }
    }
}

/// What a word stands for; colour only repeats what the word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
    Attention,
    Quiet,
}

/// The text in the colour of its tone.
pub(super) fn paint(tone: Tone, text: &str, colour: bool) -> String {
    let code = match tone {
        Tone::Plain => "1;36",
        Tone::Good => "1;32",
        Tone::Bad => "1;31",
        Tone::Attention => "1;33",
        Tone::Quiet => "2",
    };
    match colour {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_string(),
    }
}
