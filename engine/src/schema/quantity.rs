//! Quantities: `500m`, `1Gi`, `2`, `1e3`.

/// The value in billionths, or nothing for a text that is no quantity. Values beyond a hundred thousand exa are cut off.
pub fn nanos(text: &str) -> Option<i128> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let factor = factor(suffix)?;
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanos = whole.saturating_mul(factor);
    let mut unit = factor;
    for digit in fraction.chars() {
        unit /= 10;
        nanos = nanos.saturating_add(unit.saturating_mul(i128::from(digit.to_digit(10)?)));
    }
    Some(if negative { -nanos } else { nanos })
}

/// Billionths in one of the suffix.
fn factor(suffix: &str) -> Option<i128> {
    const ONE: i128 = 1_000_000_000;
    Some(match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => ONE,
        "k" => ONE * 1_000,
        "M" => ONE * 1_000_000,
        "G" => ONE * 1_000_000_000,
        "T" => ONE * 1_000_000_000_000,
        "P" => ONE * 1_000_000_000_000_000,
        "E" => ONE * 1_000_000_000_000_000_000,
        "Ki" => ONE << 10,
        "Mi" => ONE << 20,
        "Gi" => ONE << 30,
        "Ti" => ONE << 40,
        "Pi" => ONE << 50,
        "Ei" => ONE << 60,
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            match u32::try_from(exponent) {
                Ok(up) => ONE.checked_mul(10_i128.checked_pow(up)?)?,
                Err(_) => ONE / 10_i128.checked_pow(exponent.unsigned_abs())?,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::nanos;

    #[test]
    fn quantities_compare_by_value() {
        for (left, right) in [
            ("1", "1000m"),
            ("1Ki", "1024"),
            ("0.5", "500m"),
            ("1e3", "1k"),
            (".5", "500m"),
            ("1.5Gi", "1536Mi"),
        ] {
            assert_eq!(nanos(left), nanos(right), "{left} {right}");
            assert!(nanos(left).is_some());
        }
        assert!(nanos("100m") < nanos("0.2"));
        assert!(nanos("-1") < nanos("0"));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "Gi", "1 Gi", "1gb", "a", "1..2", "--1", "1e", "."] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}
