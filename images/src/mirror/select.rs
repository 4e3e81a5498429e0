//! Which tags of a repository a rule takes, and why. Pure.

use serde::{Serialize, Serializer};

/// How a rule chooses tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// Tags taken by name, whether or not anything else matches.
    pub exact: Vec<String>,
    /// Tags taken by pattern.
    pub globs: Vec<Glob>,
    /// Tags taken by version.
    pub versions: Option<Versions>,
    /// Of those taken by pattern or version only so many, the newest.
    pub newest: Option<usize>,
    /// Tags not taken by pattern or version.
    pub exclude: Vec<Glob>,
}

/// A pattern of tags: `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Glob(String);

/// Versions of a range, with one ending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// The range.
    #[serde(serialize_with = "as_text")]
    pub requirement: semver::VersionReq,
    /// What follows the version, as in `-bookworm`; nothing unless given.
    pub suffix: String,
}

fn as_text<S: Serializer>(requirement: &semver::VersionReq, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(requirement)
}

/// What becomes of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The tag.
    pub tag: String,
    /// Whether it is mirrored.
    pub taken: bool,
    /// Which part of the rule decided.
    pub why: String,
}

impl Selection {
    /// Whether the tags of the source have to be listed at all.
    pub fn needs_list(&self) -> bool {
        !self.globs.is_empty() || self.versions.is_some()
    }

    /// Decides about every tag the source has, and every exact one; sorted by tag.
    pub fn decide(&self, available: &[String]) -> Vec<Decision> {
        let mut decisions: Vec<Decision> = self
            .exact
            .iter()
            .map(|tag| Decision { tag: tag.clone(), taken: true, why: "it is named in `tags`".to_owned() })
            .collect();
        let mut chosen: Vec<(Age<'_>, Decision)> = Vec::new();
        for tag in available.iter().filter(|tag| !self.exact.contains(tag)) {
            let decision = self.by_pattern(tag);
            match decision.taken {
                true => chosen.push((self.age(tag), decision)),
                false => decisions.push(decision),
            }
        }
        if let Some(newest) = self.newest {
            chosen.sort_by(|a, b| b.0.cmp(&a.0));
            let older = "there are newer ones that `newest` prefers";
            for (_, decision) in chosen.iter_mut().skip(newest) {
                *decision = Decision { taken: false, why: format!("{older} ({newest})"), ..decision.clone() };
            }
        }
        decisions.extend(chosen.into_iter().map(|(_, decision)| decision));
        decisions.sort_by(|a, b| a.tag.cmp(&b.tag));
        decisions.dedup_by(|a, b| a.tag == b.tag);
        decisions
    }

    /// Decides about a tag that was not among those of the source.
    pub fn unseen(&self, tag: &str) -> Decision {
        let why = match self.needs_list() && self.by_pattern(tag).taken {
            true => "the source does not have it",
            false => "nothing in the rule names it",
        };
        Decision { tag: tag.to_owned(), taken: false, why: why.to_owned() }
    }

    fn by_pattern(&self, tag: &str) -> Decision {
        let decided = |taken, why: String| Decision { tag: tag.to_owned(), taken, why };
        let glob = self.globs.iter().find(|glob| glob.matches(tag));
        let version = self.versions.as_ref().filter(|versions| versions.matches(tag));
        if let (Some(exclude), true) =
            (self.exclude.iter().find(|glob| glob.matches(tag)), glob.is_some() || version.is_some())
        {
            return decided(false, format!("`exclude` has `{}`", exclude.0));
        }
        match (glob, version) {
            (Some(glob), _) => decided(true, format!("`globs` has `{}`", glob.0)),
            (None, Some(versions)) => {
                decided(true, format!("it is in `versions` `{}`", versions.requirement))
            }
            (None, None) => decided(false, "nothing in the rule names it".to_owned()),
        }
    }

    /// What `newest` compares: versions before anything else, then the text.
    fn age<'a>(&self, tag: &'a str) -> Age<'a> {
        let suffix = self.versions.as_ref().map_or("", |versions| versions.suffix.as_str());
        (version_of(tag, suffix).or_else(|| leading_version(tag)), tag)
    }
}

type Age<'a> = (Option<semver::Version>, &'a str);

impl Glob {
    /// A pattern.
    pub fn new(text: String) -> Glob {
        Glob(text)
    }

    /// Whether it matches the whole tag.
    pub fn matches(&self, tag: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| tag.strip_prefix(first)) else { return false };
        let parts: Vec<&str> = parts.collect();
        let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
        for part in middle {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl Versions {
    fn matches(&self, tag: &str) -> bool {
        version_of(tag, &self.suffix).is_some_and(|version| self.requirement.matches(&version))
    }
}

/// `v1.36.1`, `1.25`, `7` with the suffix taken off; missing numbers are 0. A tag with another ending is no version.
fn version_of(tag: &str, suffix: &str) -> Option<semver::Version> {
    let text = tag.strip_suffix(suffix)?;
    let text = text.strip_prefix('v').unwrap_or(text);
    let numbers = text.split('.').count();
    let padded = match (numbers, text.contains('-')) {
        (1, false) => format!("{text}.0.0"),
        (2, false) => format!("{text}.0"),
        _ => text.to_owned(),
    };
    semver::Version::parse(&padded).ok()
}

/// The version a tag begins with, whatever follows: `1.25-bookworm` is 1.25.0.
fn leading_version(tag: &str) -> Option<semver::Version> {
    let text = tag.strip_prefix('v').unwrap_or(tag);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    version_of(text[..end].trim_end_matches('.'), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection() -> Selection {
        Selection { exact: vec![], globs: vec![], versions: None, newest: None, exclude: vec![] }
    }

    fn versions(range: &str, suffix: &str) -> Option<Versions> {
        Some(Versions { requirement: range.parse().unwrap(), suffix: suffix.to_owned() })
    }

    #[track_caller]
    fn check(selection: &Selection, available: &[&str], taken: &[&str]) {
        let available: Vec<String> = available.iter().map(|tag| (*tag).to_owned()).collect();
        let decisions = selection.decide(&available);
        let found: Vec<&str> = decisions
            .iter()
            .filter(|decision| decision.taken)
            .map(|decision| decision.tag.as_str())
            .collect();
        assert_eq!(found, taken, "{decisions:#?}");
    }

    #[test]
    fn exact_tags_are_taken_even_if_excluded_or_absent() {
        let exact = Selection {
            exact: vec!["1.25-bookworm".into()],
            globs: vec![Glob::new("1.*".into())],
            exclude: vec![Glob::new("*-bookworm".into())],
            ..selection()
        };
        check(&exact, &["1.24", "1.24-bookworm", "latest"], &["1.24", "1.25-bookworm"]);
    }

    #[test]
    fn versions_are_compared_as_numbers_and_keep_their_flavour() {
        let tags = ["v1.9.0", "v1.10.0", "1.11", "2", "v2.1.0-rc.1", "1.10-alpine", "latest"];
        check(
            &Selection { versions: versions(">=1.9", ""), ..selection() },
            &tags,
            &["1.11", "2", "v1.10.0", "v1.9.0"],
        );
        check(&Selection { versions: versions("^1", "-alpine"), ..selection() }, &tags, &["1.10-alpine"]);
        let newest = Selection { versions: versions(">=1", ""), newest: Some(2), ..selection() };
        check(&newest, &tags, &["1.11", "2"]);
    }

    #[test]
    fn newest_orders_what_globs_took_by_version() {
        let newest =
            Selection { globs: vec![Glob::new("1.*-bookworm".into())], newest: Some(1), ..selection() };
        check(&newest, &["1.9-bookworm", "1.25-bookworm", "1.3-bookworm", "1.26"], &["1.25-bookworm"]);
    }

    #[test]
    fn stars_stand_for_anything() {
        for (glob, tag, matches) in [
            ("*", "", true),
            ("1.*", "1.2", true),
            ("1.*", "11", false),
            ("*-alpine", "3-alpine", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab", "abc", false),
        ] {
            assert_eq!(Glob::new(glob.into()).matches(tag), matches, "{glob} {tag}");
        }
    }

    #[test]
    fn every_tag_is_told_why() {
        let rule = Selection {
            exact: vec!["stable".into()],
            versions: versions("^1", ""),
            newest: Some(1),
            exclude: vec![Glob::new("1.1*".into())],
            ..selection()
        };
        let tags = ["1.0", "1.1.5", "1.2", "nightly", "stable"].map(str::to_owned);
        let told: Vec<String> = rule
            .decide(&tags)
            .iter()
            .map(|decision| {
                format!("{} {}: {}", if decision.taken { "+" } else { "-" }, decision.tag, decision.why)
            })
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        - 1.0: there are newer ones that `newest` prefers (1)
        - 1.1.5: `exclude` has `1.1*`
        + 1.2: it is in `versions` `^1`
        - nightly: nothing in the rule names it
        + stable: it is named in `tags`
        "#);
    }
}
