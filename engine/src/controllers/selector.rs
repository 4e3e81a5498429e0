//! Label selectors as objects carry them.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Whether `labels` satisfy `selector`. An empty selector matches everything, as in upstream's `LabelSelectorAsSelector`.
pub(crate) fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = matches_all(selector.match_labels.as_ref(), labels);
    equal
        && selector.match_expressions.iter().flatten().all(|requirement| {
            let value = labels.get(&requirement.key);
            let listed =
                |value: &String| requirement.values.iter().flatten().any(|candidate| candidate == value);
            match requirement.operator.as_str() {
                "In" => value.is_some_and(listed),
                "NotIn" => !value.is_some_and(listed),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// Whether `labels` contain every pair of `wanted`.
pub(crate) fn matches_all(
    wanted: Option<&BTreeMap<String, String>>,
    labels: &BTreeMap<String, String>,
) -> bool {
    wanted.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(selector: serde_json::Value, expected: bool) {
        let selector: LabelSelector = serde_json::from_value(selector).unwrap();
        let labels =
            BTreeMap::from([("app".to_owned(), "web".to_owned()), ("tier".to_owned(), "front".to_owned())]);
        assert_eq!(matches(&selector, &labels), expected, "{selector:?}");
    }

    #[test]
    fn selectors_match_as_upstream() {
        check(json!({}), true);
        check(json!({"matchLabels": {"app": "web"}}), true);
        check(json!({"matchLabels": {"app": "db"}}), false);
        check(json!({"matchLabels": {"app": "web", "x": "y"}}), false);
        check(json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}), true);
        check(json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}), false);
        check(json!({"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["web"]}]}), true);
        check(json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), true);
        check(json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), false);
    }
}
