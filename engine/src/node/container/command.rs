//! What is executed: command, arguments and working directory, from the container and its image.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Container;

use crate::node::image::manifest::Execution;

/// Program and arguments. A container's `command` replaces the entrypoint with its arguments; its `args` only those.
pub(crate) fn command(
    container: &Container,
    image: &Execution,
    value: &dyn Fn(&str) -> Option<String>,
) -> Vec<String> {
    let expanded = |list: &[String]| list.iter().map(|text| expand(text, value)).collect::<Vec<_>>();
    let command = expanded(container.command.as_deref().unwrap_or_default());
    let args = expanded(container.args.as_deref().unwrap_or_default());
    match (command.is_empty(), args.is_empty()) {
        (true, true) => {
            [image.entrypoint.clone(), image.cmd.clone()].into_iter().flatten().flatten().collect()
        }
        (true, false) => image.entrypoint.iter().flatten().cloned().chain(args).collect(),
        (false, _) => command.into_iter().chain(args).collect(),
    }
}

/// Where it starts.
pub(crate) fn directory(container: &Container, image: &Execution) -> PathBuf {
    let chosen = container.working_dir.as_deref().or(image.working_dir.as_deref());
    PathBuf::from(chosen.filter(|path| !path.is_empty()).unwrap_or("/"))
}

/// Replaces `$(NAME)` by the value of the variable; `$$` is a dollar sign, and what is not known stays as it is.
pub(crate) fn expand(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        expanded.push_str(before);
        let after = &after[1..];
        rest = match (after.strip_prefix('$'), after.strip_prefix('(').and_then(|name| name.split_once(')')))
        {
            (Some(escaped), _) => {
                expanded.push('$');
                escaped
            }
            (None, Some((name, remaining))) => {
                expanded.push_str(&value(name).unwrap_or_else(|| format!("$({name})")));
                remaining
            }
            (None, None) => {
                expanded.push('$');
                after
            }
        };
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn variables_are_expanded_and_dollars_escaped() {
        let value = |name: &str| (name == "A").then(|| "1".to_owned());
        for (text, expected) in [
            ("plain", "plain"),
            ("$(A)-$(A)", "1-1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A $(A", "$A $(A"),
            ("5$", "5$"),
        ] {
            assert_eq!(expand(text, &value), expected, "{text}");
        }
    }

    #[test]
    fn a_container_replaces_its_images_command_or_only_its_arguments() {
        let image = Execution {
            entrypoint: Some(vec!["/entry".to_owned(), "-e".to_owned()]),
            cmd: Some(vec!["default".to_owned()]),
            ..Execution::default()
        };
        for (container, expected) in [
            (json!({}), vec!["/entry", "-e", "default"]),
            (json!({"args": ["$(A)"]}), vec!["/entry", "-e", "1"]),
            (json!({"command": ["/other"]}), vec!["/other"]),
            (json!({"command": ["/other"], "args": ["x"]}), vec!["/other", "x"]),
        ] {
            let mut described = json!({"name": "c"});
            described.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
            let container: Container = serde_json::from_value(described).unwrap();
            assert_eq!(command(&container, &image, &|_| Some("1".to_owned())), expected);
        }
    }
}
