//! Whether rules grant no more than other rules do: nobody gives away rights they do not have.

use std::fmt;

use super::policy::Rule;

/// What of `wanted` is not granted by `held`; empty when everything is. Each missing rule names one verb, group, resource
/// and name.
pub fn missing<'a>(held: &[&'a Rule], wanted: impl IntoIterator<Item = &'a Rule>) -> Vec<Rule> {
    let parts = wanted.into_iter().flat_map(parts);
    parts.filter(|part| !held.iter().any(|rule| covers(rule, part))).collect()
}

/// The rule as rules with one element in each list.
fn parts(rule: &Rule) -> Vec<Rule> {
    let Rule { verbs, groups, resources, names, paths } = rule;
    let one = |text: &String| vec![text.clone()];
    let mut parts = Vec::new();
    for verb in verbs {
        for path in paths {
            parts.push(Rule { verbs: one(verb), paths: one(path), ..Rule::default() });
        }
        for group in groups {
            for resource in resources {
                let part = Rule {
                    verbs: one(verb),
                    groups: one(group),
                    resources: one(resource),
                    ..Rule::default()
                };
                if names.is_empty() {
                    parts.push(part);
                } else {
                    parts.extend(names.iter().map(|name| Rule { names: one(name), ..part.clone() }));
                }
            }
        }
    }
    parts
}

/// Whether `rule` grants all that `part` does.
fn covers(rule: &Rule, part: &Rule) -> bool {
    let all = |list: &[String], wanted: &[String]| {
        wanted.iter().all(|wanted| list.iter().any(|item| item == "*" || item == wanted))
    };
    if !all(&rule.verbs, &part.verbs) {
        return false;
    }
    if let [path] = part.paths.as_slice() {
        return rule.paths.iter().any(|held| match held.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => held == path,
        });
    }
    let resource = part.resources.iter().all(|wanted| {
        let any = wanted.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
        all(&rule.resources, std::slice::from_ref(wanted))
            || any.is_some_and(|any| rule.resources.contains(&any))
    });
    let names = rule.names.is_empty()
        || (!part.names.is_empty() && part.names.iter().all(|name| rule.names.contains(name)));
    resource && names && all(&rule.groups, &part.groups)
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.names),
            ("NonResourceURLs", &self.paths),
            ("Verbs", &self.verbs),
        ];
        let shown = fields.iter().filter(|(_, list)| !list.is_empty());
        let shown: Vec<String> = shown.map(|(name, list)| format!("{name}:{list:?}")).collect();
        write!(formatter, "{{{}}}", shown.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::policy::rules;
    use super::*;

    #[track_caller]
    fn check(held: Value, wanted: Value, expected: &[&str]) {
        let (held, wanted) = (rules(&held), rules(&wanted));
        let held: Vec<&Rule> = held.iter().collect();
        let missing: Vec<String> = missing(&held, &wanted).iter().map(ToString::to_string).collect();
        assert_eq!(missing, expected);
    }

    fn rule(verbs: &[&str], resources: &[&str], names: &[&str]) -> Value {
        json!({"verbs": verbs, "apiGroups": [""], "resources": resources, "resourceNames": names})
    }

    #[test]
    fn rights_may_come_from_several_rules() {
        let held = json!([rule(&["get"], &["pods"], &[]), rule(&["list", "watch"], &["pods"], &[])]);
        check(held, json!([rule(&["get", "watch"], &["pods"], &[])]), &[]);
        check(json!([rule(&["*"], &["*"], &[])]), json!([rule(&["get"], &["pods/log"], &["p"])]), &[]);
    }

    #[test]
    fn each_missing_right_is_named() {
        let held = json!([rule(&["get"], &["pods"], &["p"]), {"verbs": ["get"], "nonResourceURLs": ["/m*"]}]);
        check(held.clone(), json!([rule(&["get"], &["pods"], &["p"])]), &[]);
        check(
            held.clone(),
            json!([rule(&["get", "list"], &["pods"], &[])]),
            &[
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#,
                r#"{APIGroups:[""], Resources:["pods"], Verbs:["list"]}"#,
            ],
        );
        check(held.clone(), json!([{"verbs": ["get"], "nonResourceURLs": ["/metrics"]}]), &[]);
        check(
            held,
            json!([{"verbs": ["get"], "nonResourceURLs": ["/*"]}]),
            &[r#"{NonResourceURLs:["/*"], Verbs:["get"]}"#],
        );
    }
}
