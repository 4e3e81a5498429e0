//! Who may depend on whom. The table is the architecture; `cargo tree` says what is.

use xshell::cmd;

use super::Finding;
use crate::exit::{Failure, UNFORESEEN};
use crate::workspace;

const FILE: &str = "xtask/src/check/layers.rs";

/// Each crate and those it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("telemetry", &[]),
    ("controller", &["api", "datastorage-client", "telemetry"]),
    ("datastorage", &["api", "telemetry"]),
    ("datastorage-client", &["api", "telemetry"]),
    ("authwebhook", &["api", "datastorage-client", "telemetry"]),
    ("e2e", &["api"]),
    ("engine", &[]),
    ("deflate", &[]),
    ("mistake", &[]),
    ("images", &["deflate", "mistake"]),
    ("kind", &["engine", "mistake"]),
    ("manifests", &["mistake"]),
    ("ci", &["images", "kind", "manifests", "mistake"]),
    ("xtask", &[]),
];

/// What tests of any crate may use besides.
const IN_TESTS: &[&str] = &["engine"];

/// Compares the workspace with the table.
pub fn check() -> Result<Vec<Finding>, Failure> {
    let normal = judge(&edges("normal,build")?, |_| false);
    let tests = judge(&edges("dev")?, |dependency| IN_TESTS.contains(&dependency));
    Ok(normal.into_iter().chain(tests).collect())
}

/// What `cargo tree` says about the direct dependencies of every member.
fn edges(kinds: &str) -> Result<Vec<(String, String)>, Failure> {
    let shell = workspace::shell()?;
    let command = cmd!(shell, "cargo tree --workspace --depth 1 --edges {kinds} --prefix depth");
    let tree = command.quiet().read().map_err(|error| Failure {
        code: UNFORESEEN,
        message: format!("failed to read the dependencies: {error}"),
        hint: None,
    })?;
    Ok(parse(&tree))
}

/// Reads `0ci v0.0.0 (/path)` followed by `1kind v0.0.0 (/path)`; only crates of the workspace have a path.
fn parse(tree: &str) -> Vec<(String, String)> {
    let mut member = None;
    let mut edges = Vec::new();
    for line in tree.lines().filter(|line| line.contains(" (/")) {
        let name = line[1..].split(' ').next().unwrap_or_default().to_string();
        match (line.as_bytes()[0], &member) {
            (b'0', _) => member = Some(name),
            (_, Some(member)) => edges.push((String::clone(member), name)),
            (_, None) => {}
        }
    }
    edges
}

fn judge(edges: &[(String, String)], permitted: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (member, dependency) in edges {
        let row = LAYERS.iter().find(|(name, _)| name == member);
        if row.is_some_and(|(_, may)| may.contains(&dependency.as_str())) || permitted(dependency) {
            continue;
        }
        findings.push(Finding {
            message: format!("`{member}` may not depend on `{dependency}`"),
            hint: match row {
                Some(_) => format!("{FILE} says who may depend on whom"),
                None => format!("give `{member}` a row in {FILE}"),
            },
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "\
0kind v0.0.0 (/w/kind)
1engine v0.0.0 (/w/engine)
1serde v1.0.0

0manifests v0.0.0 (/w/manifests)
1kind v0.0.0 (/w/kind)
1engine v0.0.0 (/w/engine)

0stranger v0.0.0 (/w/stranger)
1api v0.0.0 (/w/api)
";

    #[test]
    fn the_workspace_keeps_to_the_table() {
        assert_eq!(check().unwrap(), []);
    }

    #[test]
    fn a_dependency_without_permission_is_named() {
        let messages = |findings: Vec<Finding>| -> Vec<String> {
            findings.into_iter().map(|finding| finding.message).collect()
        };
        assert_eq!(
            messages(judge(&parse(TREE), |_| false)),
            [
                "`manifests` may not depend on `kind`",
                "`manifests` may not depend on `engine`",
                "`stranger` may not depend on `api`",
            ],
        );
        let in_tests = judge(&parse(TREE), |dependency| IN_TESTS.contains(&dependency));
        assert_eq!(messages(in_tests).len(), 2);
    }
}
