//! `Link: <url>; rel="next"`. Pure.

use reqwest::header::{HeaderMap, LINK};

/// The target of the next page, as it is written.
pub(super) fn next(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(links).find(|(_, parameters)| is_next(parameters)).map(|(target, _)| target.to_string())
}

/// Targets with their parameters; commas inside `<…>` belong to the target.
fn links(value: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut rest = value;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else { break };
        let (parameters, after) = after.split_once(",").unwrap_or((after, ""));
        found.push((target, parameters));
        rest = after;
    }
    found
}

fn is_next(parameters: &str) -> bool {
    parameters.split(';').filter_map(|parameter| parameter.split_once('=')).any(|(name, value)| {
        let words = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("rel")
            && words.split(' ').any(|word| word.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        let check = |value: &str, expected: Option<&str>| {
            let headers = HeaderMap::from_iter([(LINK, value.parse().unwrap())]);
            assert_eq!(next(&headers).as_deref(), expected, "{value}");
        };
        check("</v2/a/tags/list?last=b&n=2>; rel=\"next\"", Some("/v2/a/tags/list?last=b&n=2"));
        check("</first>; rel=first, </next,with,commas>; title=x; rel=next", Some("/next,with,commas"));
        check("<https://r.example/x>; REL=\"prev next\"", Some("https://r.example/x"));
        check("</x>; rel=\"prev\"", None);
        check("</x>", None);
        check("<broken", None);
        check("", None);
    }
}
