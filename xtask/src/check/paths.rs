//! No committed text mentions somebody's machine: a path into a home directory or into cargo's cache is of use to nobody else.

use super::Finding;
use super::sources::{Source, committed};
use crate::exit::Failure;

/// Where homes are, and who may live there in an example.
const HOMES: [&str; 2] = [concat!("/ho", "me/"), concat!("/Us", "ers/")];
const EXAMPLES: [&str; 3] = ["me", "user", "you"];
/// Parts of paths that only exist on a machine.
const CACHES: [&str; 2] = [concat!("/ro", "ot/."), concat!(".cargo/reg", "istry/src")];

/// Looks for such paths.
pub fn check() -> Result<Vec<Finding>, Failure> {
    Ok(committed(&[])?.iter().flat_map(mentions).collect())
}

fn mentions(source: &Source) -> Vec<Finding> {
    let of_a_machine =
        |(_, line): &(usize, &str)| names_a_home(line) || CACHES.iter().any(|part| line.contains(part));
    let finding = |(number, _): (usize, &str)| Finding {
        message: format!("{}:{}: a path of somebody's machine", source.path, number + 1),
        hint: "write it relative to the workspace".to_string(),
    };
    source.text.lines().enumerate().filter(of_a_machine).map(finding).collect()
}

fn names_a_home(line: &str) -> bool {
    HOMES.iter().flat_map(|home| line.split(home).skip(1)).any(|rest| {
        let name: String =
            rest.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
        !name.is_empty() && !EXAMPLES.contains(&name.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_committed_text_mentions_a_machine() {
        assert_eq!(check().unwrap(), []);
    }

    #[test]
    fn homes_and_caches_are_found_and_examples_are_not() {
        let found =
            |line: &str| !mentions(&Source { path: "a.md".to_string(), text: line.to_string() }).is_empty();
        assert!(found(&format!("see {}ada/slipway", HOMES[0])));
        assert!(found(&format!("{}ada", HOMES[1])));
        assert!(found(&format!("file://{}cargo", CACHES[0])));
        assert!(!found(&format!("{}me/.kube/config", HOMES[0])));
        assert!(!found("/etc/passwd and root:x:0:0:root:/root:/sbin/nologin"));
    }
}
