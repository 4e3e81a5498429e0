//! The bounds of a query, `since` and `until`, in the forms people write: a duration ago, a time, a day.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const FORMS: &str = "a duration ago such as `90m`, `24h`, `1h30m` or `7d`, a time such as `2026-01-10T12:00:00Z`, or a day such as \
     `2026-01-10`";

/// The moment `text` means at `now`. The error says which forms there are.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let unknown = || format!("`{text}` is not {FORMS}");
    if let Some(ago) = duration(text) {
        return now.checked_sub(ago).map_err(|_| format!("`{text}` ago is before time began"));
    }
    // A `+` that was not percent-encoded arrives as a blank.
    let zoned = text.replace(' ', "+");
    if let Ok(timestamp) = zoned.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    let civil = match text.len() {
        10 => text.parse::<Date>().map(|date| date.to_datetime(jiff::civil::Time::midnight())),
        _ => text.parse::<DateTime>(),
    };
    let civil = civil.map_err(|_| unknown())?;
    civil.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| unknown())
}

/// A duration as Go writes it, `1h30m`, or whole days, `7d`.
fn duration(text: &str) -> Option<SignedDuration> {
    const UNITS: [(&str, f64); 8] = [
        ("d", 86_400.0),
        ("h", 3_600.0),
        ("ms", 1e-3),
        ("m", 60.0),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ns", 1e-9),
        ("s", 1.0),
    ];
    let mut seconds = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let amount: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        seconds += amount * factor;
        rest = rest.get(unit.len()..)?;
    }
    SignedDuration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_in_every_form() {
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("24h", "2026-01-09T12:00:00Z"),
            ("30m", "2026-01-10T11:30:00Z"),
            ("1h30m", "2026-01-10T10:30:00Z"),
            ("1.5h", "2026-01-10T10:30:00Z"),
            ("7d", "2026-01-03T12:00:00Z"),
            ("500ms", "2026-01-10T11:59:59.5Z"),
            ("0s", "2026-01-10T12:00:00Z"),
            ("2026-01-10T12:00:00Z", "2026-01-10T12:00:00Z"),
            ("2026-01-10T12:00:00.25+01:00", "2026-01-10T11:00:00.25Z"),
            ("2026-01-10T12:00:00 01:00", "2026-01-10T11:00:00Z"),
            ("2026-01-10T12:00:00", "2026-01-10T12:00:00Z"),
            ("2026-01-10", "2026-01-10T00:00:00Z"),
        ] {
            assert_eq!(parse(text, now).map(|time| time.to_string()), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_named_with_the_forms_there_are() {
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        for text in [
            "",
            "h",
            "5",
            "5x",
            "-5m",
            "1h30",
            "yesterday",
            "2026-13-01",
            "2026-01-10T25:00:00",
            "d",
            "1..5h",
            "µ",
        ] {
            let error = parse(text, now).unwrap_err();
            assert!(error.contains(&format!("`{text}`")) && error.contains("24h"), "{error}");
        }
        assert!(parse("99999999999d", now).unwrap_err().contains("before time began"));
    }
}
