//! Kubernetes quantities as whole milli-units, enough to compare requests with what a node has.

/// Parses `500m`, `2`, `1.5`, `128Mi`, `1e3` into thousandths; `None` when it is no quantity.
pub(super) fn milli(text: &str) -> Option<i128> {
    let split = text.find(|letter: char| !letter.is_ascii_digit() && !matches!(letter, '.' | '-' | '+'));
    let (number, suffix) = text.split_at(split.unwrap_or(text.len()));
    let factor: i128 = match suffix {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "E" => 1_000_000_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        "Ei" => 1000 << 60,
        // Finer than a thousandth rounds up, as upstream does.
        "u" | "n" => {
            let divisor = if suffix == "u" { 1000 } else { 1_000_000 };
            let whole: i128 = number.parse().ok()?;
            return Some((whole + divisor - 1) / divisor);
        }
        exponent => {
            let power: u32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            10_i128.checked_pow(power)?.checked_mul(1000)?
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut value = whole.checked_mul(factor)?;
    if !fraction.is_empty() {
        let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = fraction.parse::<i128>().ok()?.checked_mul(factor)? / scale;
        value += if negative { -part } else { part };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        for (text, expected) in [
            ("500m", 500),
            ("2", 2000),
            ("1.5", 1500),
            ("0.25", 250),
            ("128Mi", 134_217_728_000),
            ("1Gi", 1_073_741_824_000),
            ("1.5Ki", 1_536_000),
            ("1M", 1_000_000_000),
            ("1e3", 1_000_000),
            ("100n", 1),
            ("-1", -1000),
        ] {
            assert_eq!(milli(text), Some(expected), "{text}");
        }
        assert_eq!(milli("many"), None);
        assert_eq!(milli("5Zi"), None);
    }
}
