//! The harness does not name the product: what is built and deployed is data to it. The product's names are those it declares: its
//! images and its custom resources.

use std::collections::BTreeSet;

use super::Finding;
use super::sources::{Source, committed};
use crate::exit::Failure;

/// Code of the harness. What is declared beside it, as data, names the product.
const HARNESS: &[&str] = &["images/src", "engine", "kind/src", "manifests/src", "ci/src", "xtask/src"];

/// Describes this workspace, so it names all of it.
const EXEMPT: &str = "xtask/src/check/layers.rs";

/// Looks for the product's names in the harness.
pub fn check() -> Result<Vec<Finding>, Failure> {
    let declarations = committed(&["images/images.toml", "manifests/crds"])?;
    let names = declared(&declarations);
    let mut findings = Vec::new();
    for source in committed(HARNESS)? {
        if source.path != EXEMPT {
            findings.extend(mentions(&source, &names));
        }
    }
    Ok(findings)
}

/// `[image.NAME]` gives NAME, and a definition in `KINDS.GROUP.yaml` gives KIND.
fn declared(declarations: &[Source]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for Source { path, text } in declarations {
        let tables = text.lines().filter_map(|line| line.strip_prefix("[image.")?.strip_suffix(']'));
        names.extend(tables.map(str::to_lowercase));
        let file = path.rsplit('/').next().unwrap_or(path);
        if let Some((kinds, _group)) = file.strip_suffix(".yaml").and_then(|stem| stem.split_once('.')) {
            names.insert(kinds.strip_suffix('s').unwrap_or(kinds).to_lowercase());
        }
    }
    names
}

fn mentions(source: &Source, names: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        let line = line.to_lowercase();
        for name in names.iter().filter(|name| line.contains(name.as_str())) {
            findings.push(Finding {
                message: format!("{}:{}: the harness names `{name}`", source.path, number + 1),
                hint: "let it come from a declaration, or use a made-up name in a test".to_string(),
            });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_string(), text: text.to_string() }
    }

    #[test]
    fn the_harness_does_not_name_the_product() {
        assert_eq!(check().unwrap(), []);
    }

    #[test]
    fn names_come_from_the_declarations_and_are_found_in_any_case() {
        let names = declared(&[
            source("images/images.toml", "[defaults]\n[image.tea-kettle]\npackage = \"kettle\"\n"),
            source("manifests/crds/teapots.example.io.yaml", "kind: CustomResourceDefinition\n"),
            source("manifests/crds/kustomization.yaml", "resources: []\n"),
        ]);
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["tea-kettle", "teapot"]);
        let findings = mentions(&source("ci/src/a.rs", "fine\n// a TeaPot\n"), &names);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].message, "ci/src/a.rs:2: the harness names `teapot`");
    }
}
