//! Types of the built-in kinds, read from the data files when first used.

mod parse;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, OnceLock};

use sha2::{Digest, Sha256};

use super::types::Type;

/// The data files: one package of types each.
const FILES: [&str; 17] = [
    include_str!("../../schema/types/admissionregistration.v1.txt"),
    include_str!("../../schema/types/apiextensions.v1.txt"),
    include_str!("../../schema/types/apps.v1.txt"),
    include_str!("../../schema/types/authentication.v1.txt"),
    include_str!("../../schema/types/authorization.v1.txt"),
    include_str!("../../schema/types/autoscaling.v1.txt"),
    include_str!("../../schema/types/batch.v1.txt"),
    include_str!("../../schema/types/coordination.v1.txt"),
    include_str!("../../schema/types/core.v1.txt"),
    include_str!("../../schema/types/discovery.v1.txt"),
    include_str!("../../schema/types/events.v1.txt"),
    include_str!("../../schema/types/meta.v1.txt"),
    include_str!("../../schema/types/networking.v1.txt"),
    include_str!("../../schema/types/policy.v1.txt"),
    include_str!("../../schema/types/rbac.v1.txt"),
    include_str!("../../schema/types/scheduling.v1.txt"),
    include_str!("../../schema/types/storage.v1.txt"),
];

/// Where the text of a type is, and the type once it was needed.
struct Entry {
    package: &'static str,
    text: &'static str,
    parsed: OnceLock<Arc<Type>>,
}

struct Package {
    short: &'static str,
    full: &'static str,
}

static PACKAGES: LazyLock<Vec<Package>> = LazyLock::new(|| {
    FILES
        .iter()
        .filter_map(|file| parse::package(file))
        .map(|(short, full)| Package { short, full })
        .collect()
});

/// Every type by its short name. Only the headings are read here.
static TYPES: LazyLock<HashMap<String, Entry>> = LazyLock::new(|| {
    let mut types = HashMap::new();
    for file in FILES {
        let Some((package, _)) = parse::package(file) else { continue };
        for text in file.split("\n\n").skip(1) {
            let name = text.split([' ', '\n']).next().unwrap_or_default();
            let entry = Entry { package, text, parsed: OnceLock::new() };
            types.insert(format!("{package}.{name}"), entry);
        }
    }
    types
});

static FINGERPRINT: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = Sha256::new();
    FILES.iter().for_each(|file| hasher.update(file));
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
});

/// Tells the built-in types of this build from those of another.
pub fn fingerprint() -> &'static str {
    &FINGERPRINT
}

static ANY: LazyLock<Arc<Type>> = LazyLock::new(Arc::default);

/// The type that takes anything.
pub fn any() -> Arc<Type> {
    Arc::clone(&ANY)
}

/// A type by its short name, e.g. `core.v1.PodSpec`.
pub fn named(name: &str) -> Option<Arc<Type>> {
    let entry = TYPES.get(name)?;
    Some(Arc::clone(
        entry.parsed.get_or_init(|| Arc::new(parse::parse_type(entry.package, name, entry.text))),
    ))
}

/// The name of a type in OpenAPI documents, e.g. `io.k8s.api.core.v1.PodSpec`.
pub fn full_name(short: &str) -> String {
    let (package, name) = short.rsplit_once('.').unwrap_or(("", short));
    match PACKAGES.iter().find(|known| known.short == package) {
        Some(known) => format!("{}.{name}", known.full),
        None => short.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::types::{ListKind, Shape, TypeRef};

    #[test]
    fn every_type_parses_and_names_only_types_that_exist() {
        fn check(reference: &TypeRef, within: &str) {
            match reference {
                TypeRef::Named(name) => assert!(named(name).is_some(), "{name} in {within}"),
                TypeRef::Inline(ty) => walk(ty, within),
            }
        }
        fn walk(ty: &Type, within: &str) {
            match &ty.shape {
                Shape::Struct(fields) => fields.fields.values().for_each(|field| check(&field.ty, within)),
                Shape::Map(values) => check(values, within),
                Shape::List(list) => check(&list.item, within),
                Shape::Any | Shape::Scalar(_) => {}
            }
        }
        assert!(TYPES.len() > 300);
        for name in TYPES.keys() {
            let ty = named(name).unwrap();
            assert!(matches!(ty.shape, Shape::Struct(_)), "{name}");
            walk(&ty, name);
        }
    }

    #[test]
    fn lists_know_what_identifies_their_elements() {
        let kind = |name: &str, field: &str| match &named(name).unwrap().field(field).unwrap().ty.get().shape
        {
            Shape::List(list) => list.kind.clone(),
            other => panic!("{name}.{field} is {other:?}"),
        };
        let keys = |keys: &[&str]| ListKind::Map(keys.iter().map(|key| (*key).to_owned()).collect());
        assert_eq!(kind("core.v1.PodSpec", "containers"), keys(&["name"]));
        assert_eq!(kind("core.v1.Container", "ports"), keys(&["containerPort", "protocol"]));
        assert_eq!(kind("core.v1.ServiceSpec", "ports"), keys(&["port", "protocol"]));
        assert_eq!(kind("core.v1.Container", "args"), ListKind::Atomic);
        assert_eq!(kind("meta.v1.ObjectMeta", "finalizers"), ListKind::Set);
        assert_eq!(kind("meta.v1.ObjectMeta", "ownerReferences"), keys(&["uid"]));
        assert!(named("meta.v1.LabelSelector").unwrap().atomic);
        assert!(named("core.v1.PodSpec").unwrap().field("nodeSelector").unwrap().ty.get().atomic);
        assert_eq!(full_name("core.v1.Pod"), "io.k8s.api.core.v1.Pod");
    }
}
