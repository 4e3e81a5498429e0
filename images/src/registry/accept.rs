//! Whether a client accepts a manifest's media type. Pure.

use axum::http::{HeaderMap, header};

/// A client that says nothing accepts everything.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let mut ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .peekable();
    ranges.peek().is_none() || ranges.any(|range| covers(range, media_type))
}

fn covers(range: &str, media_type: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let range = parts.next().unwrap_or_default();
    let refused = parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
    let covered = match range.strip_suffix("/*") {
        Some("*") => true,
        Some(kind) => media_type.split_once('/').is_some_and(|(own, _)| own.eq_ignore_ascii_case(kind)),
        None => range.eq_ignore_ascii_case(media_type),
    };
    covered && !refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{INDEX, MANIFEST};

    #[test]
    fn one_of_the_ranges_must_cover_the_type() {
        let check = |accept: &[&str], expected: bool| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(header::ACCEPT, value.parse().unwrap());
            }
            assert_eq!(accepts(&headers, INDEX), expected, "{accept:?}");
        };
        check(&[], true);
        check(&["*/*"], true);
        check(&["application/*;q=0.5"], true);
        check(&[MANIFEST, INDEX], true);
        check(&[&format!("{MANIFEST}, {INDEX}; q=0.1")], true);
        check(&[MANIFEST], false);
        check(&["text/*"], false);
        check(&[&format!("{INDEX};q=0")], false);
    }
}
