//! DefaultStorageClass: a claim that names no class gets the one marked as default.

use serde_json::{Value, json};

const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
/// How classes were named before there was a field.
const ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// Fills in `spec.storageClassName`; an empty name asks for no class and stays.
pub fn default(claim: &mut Value, classes: &[Value]) {
    if claim["spec"]["storageClassName"].is_string()
        || claim["metadata"]["annotations"][ANNOTATION].is_string()
    {
        return;
    }
    let marked = classes.iter().filter(|class| {
        DEFAULT.iter().any(|annotation| class["metadata"]["annotations"][annotation] == "true")
    });
    let text = |class: &Value, field: &str| class["metadata"][field].as_str().unwrap_or_default().to_owned();
    // Of several, the newest; of equally old ones, the first by name.
    let newest = marked.min_by(|a, b| {
        let older = text(b, "creationTimestamp").cmp(&text(a, "creationTimestamp"));
        older.then_with(|| text(a, "name").cmp(&text(b, "name")))
    });
    if let (Some(class), Some(spec)) = (newest, claim.get_mut("spec").and_then(Value::as_object_mut)) {
        spec.insert("storageClassName".into(), json!(text(class, "name")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(claim: Value, expected: Value) {
        let class = |name: &str, default: &str, created: &str| json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": {DEFAULT[0]: default}}});
        let classes = [
            class("old", "true", "2026-01-01T00:00:00Z"),
            class("standard", "true", "2026-02-01T00:00:00Z"),
            class("other", "false", "2026-03-01T00:00:00Z"),
        ];
        let mut claim = claim;
        default(&mut claim, &classes);
        assert_eq!(claim["spec"]["storageClassName"], expected);
    }

    #[test]
    fn the_newest_default_is_taken_when_none_is_named() {
        check(json!({"spec": {}}), json!("standard"));
        check(json!({"spec": {"storageClassName": ""}}), json!(""));
        check(json!({"spec": {"storageClassName": "mine"}}), json!("mine"));
        check(json!({"metadata": {"annotations": {ANNOTATION: "mine"}}, "spec": {}}), Value::Null);
    }
}
