//! Durations as Kubernetes and Go write them: `2m30s`, `1h0m0s`, `500ms`.

use jiff::SignedDuration;

/// A duration that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a duration such as `90s`, `5m` or `1h30m`")]
pub struct ParseError {
    text: String,
    #[source]
    source: Option<jiff::Error>,
}

/// Reads a non-negative duration in Go's notation.
pub fn parse(text: &str) -> Result<SignedDuration, ParseError> {
    match text.trim().parse::<SignedDuration>() {
        Ok(duration) if !duration.is_negative() => Ok(duration),
        Ok(_) => Err(ParseError { text: text.to_owned(), source: None }),
        Err(source) => Err(ParseError { text: text.to_owned(), source: Some(source) }),
    }
}

/// `duration` in Go's notation, rounded to whole seconds; a negative one is `0s`.
pub fn format(duration: SignedDuration) -> String {
    let seconds = ((duration.as_millis() + 500) / 1000).max(0);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_like_go() {
        for (millis, expected) in
            [(0, "0s"), (499, "0s"), (1500, "2s"), (150_000, "2m30s"), (3_600_000, "1h0m0s"), (-5000, "0s")]
        {
            assert_eq!(format(SignedDuration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn reads_what_it_writes_and_names_what_it_cannot_read() {
        for text in ["0s", "5s", "2m30s", "1h0m5s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(parse("500ms").unwrap(), SignedDuration::from_millis(500));
        for text in ["", "soon", "-5s", "5"] {
            assert!(parse(text).unwrap_err().to_string().contains(&format!("`{text}`")));
        }
    }
}
