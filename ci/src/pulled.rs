//! From where images of others are pulled: wherever `images/mirror.lock` has an approved copy, from there and by digest. Pure.

use std::collections::BTreeMap;

use images::mirror::Lock;
use images::policy::Name;
use kind::ClusterSpec;
use manifests::Components;

/// Image references as they are written → as they are pulled. Those the lock does not have are left out.
pub fn copies<'a>(lock: &Lock, written: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let copy = |written: &str| {
        let name = Name::parse(written).ok()?;
        let copy = lock.resolve(&name.reference)?;
        (copy != written).then(|| (written.to_owned(), copy))
    };
    written.into_iter().filter_map(copy).collect()
}

/// The images of nodes.
pub fn of_nodes(lock: &Lock, cluster: &ClusterSpec) -> BTreeMap<String, String> {
    copies(lock, cluster.nodes.iter().filter_map(|node| node.image.as_deref()))
}

/// The images of others that components run.
pub fn of_components(lock: &Lock, components: &Components) -> BTreeMap<String, String> {
    let written = manifests::render::images(components);
    copies(lock, written.iter().map(String::as_str).filter(|image| image.contains('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_lock_has_is_pulled_from_its_copy() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let lock = format!(
            "version = 1\n[[image]]\nsource = \"docker.io/library/postgres\"\ndestination = \"quay.io/own/postgres\"\ntag = \"16\"\ndigest = \"{digest}\"\nmedia-type = \"x\"\nsize = 1\nsince = \"2026-01-01T00:00:00Z\"\n"
        );
        let lock = Lock::parse(&lock).unwrap();
        let copy = format!("quay.io/own/postgres:16@{digest}");
        let written = [
            "postgres:16",
            "docker.io/library/postgres:16",
            "quay.io/own/postgres:16",
            "redis:7",
            &copy,
            "?",
        ];
        let expected = written[..3].iter().map(|written| ((*written).to_owned(), copy.clone())).collect();
        assert_eq!(copies(&lock, written), expected);
    }
}
