//! A mistake as it is read: place and problem, the line with a caret under it, the hint.

use std::fmt;

use super::Mistake;

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
        let margin = " ".repeat(number.len());
        writeln!(out, "{}:{line}:{column}: {message}", file.display())?;
        writeln!(out, "{margin} |")?;
        writeln!(out, "{number} | {text}")?;
        write!(out, "{margin} | {}{}", indent(text, column - 1), "^".repeat(*width))?;
        match hint {
            Some(hint) => write!(out, "\n{margin} = hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Tabs stay tabs, so the caret stands under its character whatever the terminal makes of them.
fn indent(text: &str, width: usize) -> String {
    let before = text.chars().chain(std::iter::repeat(' ')).take(width);
    before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect()
}

impl std::error::Error for Mistake {}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Slip;

    #[test]
    fn the_caret_counts_characters_not_bytes() {
        let mistake = Mistake::at_bytes(Path::new("a.toml"), "x = 1\né = \"ü\" z\n", 16..17, "stray `z`");
        assert_eq!(mistake.to_string(), "a.toml:2:9: stray `z`\n  |\n2 | é = \"ü\" z\n  |         ^");
    }

    #[test]
    fn tabs_stay_tabs_and_what_is_marked_ends_with_its_line() {
        let slip = Slip::new(3..9, "odd", Some("change it".to_owned()));
        let mistake = slip.in_file(Path::new("a.toml"), "\t\t= xy\r\nz = 1\n");
        assert_eq!(
            mistake.to_string(),
            "a.toml:1:4: odd\n  |\n1 | \t\t= xy\n  | \t\t ^^^\n  = hint: change it"
        );
    }

    #[test]
    fn a_mistake_of_a_whole_file_shows_no_line() {
        let mistake = Mistake::whole_file(Path::new("a.yaml"), "it is not UTF-8").hint("save it as UTF-8");
        assert_eq!(mistake.to_string(), "a.yaml: it is not UTF-8\n  = hint: save it as UTF-8");
    }
}
