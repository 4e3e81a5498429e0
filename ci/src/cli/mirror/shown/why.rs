//! Why tags are mirrored or not, in sentences.

use std::fmt::Write as _;

use images::mirror::{Action, Why};

/// Why tags are taken or skipped, rule by rule, and what that comes to.
pub(in crate::cli::mirror) fn why(all: &[Why]) -> String {
    let mut text = String::new();
    let mut rule = None;
    for Why { source, destination, line, tag, taken, why, action, since, objections } in all {
        if rule.replace(*line) != Some(*line) {
            let _ = writeln!(text, "{source} → {destination} (images/mirror.toml:{line})");
        }
        let mut sentence = format!("  {} {tag}: {why}", if *taken { "taken  " } else { "skipped" });
        sentence += &action.as_ref().map(|action| format!("; {}", becomes(action))).unwrap_or_default();
        sentence +=
            &since.map(|since| format!("; copied on {}", since.strftime("%Y-%m-%d"))).unwrap_or_default();
        let _ = writeln!(text, "{sentence}");
        for objection in objections {
            let _ =
                writeln!(text, "    but `sync` refuses it: {objection}\n      = hint: {}", objection.hint());
        }
    }
    text
}

/// What a run would make of a tag.
fn becomes(action: &Action) -> String {
    match action {
        Action::Keep => "the copy is what the source has".to_owned(),
        Action::Add { to } => format!("`sync` brings {to}"),
        Action::Update { from, to } | Action::Moved { from, to } => {
            format!("it moved from {from} to {to}, which `sync --update` brings")
        }
        Action::Restore { to, .. } => format!("the destination lost it; `sync` brings {to} again"),
        Action::Absent => "the source does not have it".to_owned(),
        Action::Vanished => "the source does not have it any more; the copy stays".to_owned(),
        Action::Unselected => "the copy stays".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use images::Digest;
    use images::mirror::Objection;

    use super::*;

    #[test]
    fn why_a_tag_is_mirrored_is_told_rule_by_rule() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        let explained = |line, tag: &str, taken, why: &str, action: Option<Action>| Why {
            source: "docker.io/library/rust".into(),
            destination: format!("quay.io/own/rust{line}"),
            line,
            tag: tag.into(),
            taken,
            why: why.into(),
            since: action
                .as_ref()
                .filter(|action| **action == Action::Keep)
                .map(|_| jiff::Timestamp::UNIX_EPOCH),
            action,
            objections: Vec::new(),
        };
        let age = Objection::Age { created: Some("yesterday".into()), from: Some("tomorrow".into()) };
        let all = [
            explained(3, "1.95", true, "it is named in `tags`", Some(Action::Keep)),
            explained(3, "1.96", false, "nothing in the rule names it", None),
            Why {
                objections: vec![age],
                ..explained(9, "1.96", true, "`globs` has `1.*`", Some(Action::Add { to: digest }))
            },
        ];
        insta::assert_snapshot!(why(&all), @r"
        docker.io/library/rust → quay.io/own/rust3 (images/mirror.toml:3)
          taken   1.95: it is named in `tags`; the copy is what the source has; copied on 1970-01-01
          skipped 1.96: nothing in the rule names it
        docker.io/library/rust → quay.io/own/rust9 (images/mirror.toml:9)
          taken   1.96: `globs` has `1.*`; `sync` brings sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
            but `sync` refuses it: it was made on yesterday and may be taken from tomorrow
              = hint: wait, or lower `minimum-age` of its rule in images/mirror.toml
        ");
    }
}
