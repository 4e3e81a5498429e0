//! DefaultTolerationSeconds: pods stay five minutes on a node that is not ready or unreachable, unless they say otherwise.

use serde_json::{Value, json};

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: i64 = 300;

/// Adds what is missing of the two tolerations.
pub fn add(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    if tolerations.is_null() {
        *tolerations = json!([]);
    }
    let Some(tolerations) = tolerations.as_array_mut() else { return };
    for taint in TAINTS {
        let covers = |toleration: &Value| {
            let text = |field: &str| toleration[field].as_str().unwrap_or_default();
            ["", taint].contains(&text("key")) && ["", "NoExecute"].contains(&text("effect"))
        };
        if !tolerations.iter().any(covers) {
            tolerations.push(json!({
                "key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tolerations: Value, added: &[&str]) {
        let given = tolerations.as_array().map_or(0, Vec::len);
        let mut pod = json!({"spec": {"tolerations": tolerations}});
        add(&mut pod);
        let keys = pod["spec"]["tolerations"].as_array().unwrap().iter().skip(given);
        assert_eq!(keys.map(|each| each["key"].as_str().unwrap()).collect::<Vec<_>>(), added);
    }

    #[test]
    fn only_what_is_not_tolerated_is_added() {
        check(Value::Null, &TAINTS);
        check(json!([{"key": TAINTS[0], "operator": "Exists"}]), &[TAINTS[1]]);
        check(json!([{"operator": "Exists"}]), &[]);
        check(json!([{"key": TAINTS[0], "effect": "NoSchedule"}]), &TAINTS);
    }
}
