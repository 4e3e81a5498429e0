//! Patterns of registries and of files.

use std::fmt;

use serde::Serialize;

/// A registry (`registry.example`) or everything below a path of one (`registry.example/team/*`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pattern(String);

impl Pattern {
    /// Reads a pattern; the error says what it should look like.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let (host, path) = text.split_once('/').unwrap_or((text, "*"));
        let is_host = !host.is_empty() && !host.contains(['*', ' ', '@']);
        let is_path = path == "*" || crate::reference::is_repository(path.strip_suffix("/*").unwrap_or(path));
        if is_host && is_path {
            Ok(Pattern(text.to_owned()))
        } else {
            Err(format!("`{text}` is neither `<host>`, `<host>/<path>/*` nor `<host>/<repository>`"))
        }
    }

    /// The path of a registry everything below is meant of.
    pub fn folder(&self) -> Option<&str> {
        self.0.strip_suffix("/*").filter(|folder| folder.contains('/'))
    }

    /// How specific the match with `registry/repository` is; `None` when there is none.
    pub fn matches(&self, repository: &str) -> Option<usize> {
        let prefix = match self.0.strip_suffix("/*") {
            Some(prefix) => format!("{prefix}/"),
            None if self.0.contains('/') => return (self.0 == repository).then_some(self.0.len() + 1),
            None => format!("{}/", self.0),
        };
        repository.starts_with(&prefix).then_some(prefix.len())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a path is meant by a scope: `*` stands for anything within a name, `**` for any number of folders.
pub(super) fn in_scope(scope: &str, path: &str) -> bool {
    fn folders(scope: &[&str], path: &[&str]) -> bool {
        match (scope.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => {
                folders(rest, path) || path.split_first().is_some_and(|(_, below)| folders(scope, below))
            }
            (Some((pattern, scope)), Some((name, path))) => word(pattern, name) && folders(scope, path),
            _ => false,
        }
    }
    fn word(pattern: &str, name: &str) -> bool {
        match pattern.split_once('*') {
            None => pattern == name,
            Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
                (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| word(after, &rest[at..]))
            }),
        }
    }
    folders(&scope.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_match_is_the_more_specific_one() {
        let specific = |pattern: &str| Pattern::parse(pattern).unwrap().matches("quay.io/team/app");
        assert!(specific("quay.io/team/app") > specific("quay.io/team/*"));
        assert!(specific("quay.io/team/*") > specific("quay.io"));
        for other in ["quay.io/tea/*", "quay", "quay.io/team", "docker.io"] {
            assert_eq!(specific(other), None, "{other}");
        }
        assert!(Pattern::parse("*.io").is_err() && Pattern::parse("").is_err());
    }

    #[test]
    fn scopes_are_paths_with_stars() {
        for (scope, path, inside) in [
            ("docker/*.Containerfile", "docker/app.Containerfile", true),
            ("docker/*.Containerfile", "docker/deep/app.Containerfile", false),
            ("**/Containerfile", "a/b/Containerfile", true),
            ("**/Containerfile", "Containerfile", true),
            ("images/**", "images/a/b", true),
            ("images/**", "other/a", false),
        ] {
            assert_eq!(in_scope(scope, path), inside, "{scope} {path}");
        }
    }
}
