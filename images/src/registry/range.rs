//! The two kinds of byte ranges: `Range` of a download and `Content-Range` of an uploaded piece. Pure.

/// Which part of a blob is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// From the first to the last byte, inclusive.
    Part { first: u64, last: u64 },
    /// Nothing that exists.
    Nothing,
}

/// Reads `Range` against a blob of `size` bytes. What is malformed or has several parts may be ignored, and is.
pub(super) fn wanted(range: &str, size: u64) -> Wanted {
    let Some(spec) = range.strip_prefix("bytes=") else { return Wanted::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let part = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Some(first), None) if last.trim().is_empty() => (first, size.saturating_sub(1)),
        (None, Some(0)) if first.trim().is_empty() => return Wanted::Nothing,
        (None, Some(count)) if first.trim().is_empty() => {
            (size.saturating_sub(count), size.saturating_sub(1))
        }
        _ => return Wanted::Whole,
    };
    match part {
        (first, last) if first < size => Wanted::Part { first, last },
        _ => Wanted::Nothing,
    }
}

/// Reads `Content-Range` of an uploaded piece: `<first>-<last>`, as this specification writes it, or the `bytes <first>-<last>/<size>`
/// of HTTP. Gives the first byte and the length.
pub(super) fn piece(range: &str) -> Option<(u64, u64)> {
    let range = range.trim();
    let range = range.strip_prefix("bytes ").unwrap_or(range);
    let (range, _) = range.split_once('/').unwrap_or((range, ""));
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    Some((first, last.checked_sub(first)?.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_a_blob_of_ten_bytes() {
        let check = |range: &str, expected: Wanted| assert_eq!(wanted(range, 10), expected, "{range}");
        let part = |first, last| Wanted::Part { first, last };
        check("bytes=0-", part(0, 9));
        check("bytes=3-5", part(3, 5));
        check("bytes=3-500", part(3, 9));
        check("bytes=-4", part(6, 9));
        check("bytes=-40", part(0, 9));
        check("bytes=9-9", part(9, 9));
        check("bytes=10-", Wanted::Nothing);
        check("bytes=-0", Wanted::Nothing);
        for ignored in ["", "bytes=", "bytes=5-3", "bytes=1-2,4-5", "items=0-1", "bytes=x-y", "bytes=--1"] {
            check(ignored, Wanted::Whole);
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Nothing);
    }

    #[test]
    fn pieces_are_written_in_two_ways() {
        assert_eq!(piece("0-99"), Some((0, 100)));
        assert_eq!(piece("bytes 100-199/200"), Some((100, 100)));
        for malformed in ["", "5", "5-3", "a-b", "0-18446744073709551615"] {
            assert_eq!(piece(malformed), None, "{malformed}");
        }
    }
}
