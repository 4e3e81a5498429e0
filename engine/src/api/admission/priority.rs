//! Priority: the number behind a pod's priority class.

use serde_json::{Map, Value, json};

use crate::status::Status;

/// Classes every cluster has.
const SYSTEM: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// Sets `priority` and `preemptionPolicy`; `class` looks a PriorityClass up and `default` is the one for pods without.
pub fn resolve(
    pod: &mut Value,
    class: impl FnOnce(&str) -> Option<Value>,
    default: Option<Value>,
) -> Result<(), Status> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let refuse = |why: String| Err(Status::forbidden("", "pods", &name, why));
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
    let named = spec.get("priorityClassName").and_then(Value::as_str).filter(|named| !named.is_empty());
    let chosen = match named {
        None => default,
        Some(named) => {
            let system = SYSTEM.iter().find(|(system, _)| *system == named);
            let system = system.map(|(name, value)| json!({"metadata": {"name": name}, "value": value}));
            match class(named).or(system) {
                None => return refuse(format!("no PriorityClass with name {named} was found")),
                found => found,
            }
        }
    };
    let priority = chosen.as_ref().and_then(|class| class["value"].as_i64()).unwrap_or(0);
    if let Some(given) = spec.get("priority").and_then(Value::as_i64).filter(|given| *given != priority) {
        return refuse(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
            computed {priority} from the given PriorityClass name"
        ));
    }
    apply(spec, chosen.as_ref(), priority);
    Ok(())
}

fn apply(spec: &mut Map<String, Value>, class: Option<&Value>, priority: i64) {
    if let Some(class) = class {
        spec.insert("priorityClassName".into(), class["metadata"]["name"].clone());
    }
    spec.insert("priority".into(), json!(priority));
    if !spec.get("preemptionPolicy").is_some_and(Value::is_string) {
        let policy = class.and_then(|class| class["preemptionPolicy"].as_str());
        spec.insert("preemptionPolicy".into(), json!(policy.unwrap_or("PreemptLowerPriority")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: Value, default: Option<Value>, expected: &str) {
        let class = |name: &str| {
            (name == "mine")
                .then(|| json!({"metadata": {"name": "mine"}, "value": 7, "preemptionPolicy": "Never"}))
        };
        let mut pod = json!({"metadata": {"name": "p"}, "spec": spec});
        let outcome = match resolve(&mut pod, class, default) {
            Ok(()) => {
                let spec = &pod["spec"];
                format!("{} {} {}", spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"])
            }
            Err(status) => status.message().to_owned(),
        };
        assert_eq!(outcome, expected);
    }

    #[test]
    fn the_class_gives_the_number() {
        check(json!({}), None, r#"null 0 "PreemptLowerPriority""#);
        check(json!({"priorityClassName": "mine"}), None, r#""mine" 7 "Never""#);
        check(
            json!({"priorityClassName": "system-node-critical"}),
            None,
            r#""system-node-critical" 2000001000 "PreemptLowerPriority""#,
        );
        let default = json!({"metadata": {"name": "usual"}, "value": 3});
        check(json!({}), Some(default), r#""usual" 3 "PreemptLowerPriority""#);
    }

    #[test]
    fn unknown_classes_and_made_up_numbers_are_refused() {
        check(
            json!({"priorityClassName": "gone"}),
            None,
            r#"pods "p" is forbidden: no PriorityClass with name gone was found"#,
        );
        check(
            json!({"priority": 9}),
            None,
            r#"pods "p" is forbidden: the integer value of priority (9) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name"#,
        );
    }
}
