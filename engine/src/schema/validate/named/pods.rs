//! Rules of pods and their containers.

use serde_json::{Map, Value};

use super::{fields, list, text};
use crate::schema::quantity;
use crate::schema::{FieldError, at_field, at_index, at_key};

/// Every mount names a volume, and no two mount at the same path.
pub fn volume_mounts(spec: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let volumes: Vec<&str> =
        list(spec, "volumes").iter().filter_map(|volume| volume["name"].as_str()).collect();
    for field in ["initContainers", "containers"] {
        for (index, container) in list(spec, field).iter().enumerate() {
            let path = at_field(&at_index(&at_field(path, field), index), "volumeMounts");
            let Some(mounts) = container["volumeMounts"].as_array() else { continue };
            for (index, mount) in mounts.iter().enumerate() {
                let path = at_index(&path, index);
                let name = mount["name"].as_str().unwrap_or_default();
                if !name.is_empty() && !volumes.contains(&name) {
                    errors.push(FieldError::not_found(at_field(&path, "name"), &mount["name"]));
                }
                if mounts.iter().take(index).any(|earlier| earlier["mountPath"] == mount["mountPath"]) {
                    let detail = "must be unique";
                    errors.push(FieldError::invalid(
                        at_field(&path, "mountPath"),
                        &mount["mountPath"],
                        detail,
                    ));
                }
            }
        }
    }
}

/// Init containers share their names with no other container.
pub fn container_names(spec: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let (init, main) = (list(spec, "initContainers"), list(spec, "containers"));
    for (index, container) in init.iter().enumerate() {
        let name = &container["name"];
        let others = init.iter().take(index).chain(main);
        if name.is_string() && others.into_iter().any(|other| other["name"] == *name) {
            let path = at_index(&at_field(path, "initContainers"), index);
            errors.push(FieldError::duplicate(at_field(&path, "name"), name));
        }
    }
}

/// Names of ports are unique and short.
pub fn port_names(container: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let ports = list(container, "ports");
    for (index, port) in ports.iter().enumerate() {
        let name = port["name"].as_str().unwrap_or_default();
        let path = at_field(&at_index(&at_field(path, "ports"), index), "name");
        if !name.is_empty() && ports.iter().take(index).any(|earlier| earlier["name"] == name) {
            errors.push(FieldError::duplicate(path, &port["name"]));
        } else if !name.is_empty() && !is_port_name(name) {
            errors.push(FieldError::invalid(path, &port["name"], "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-), and no more than 15 characters"));
        }
    }
}

fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && name.contains(|c: char| c.is_ascii_lowercase())
        && !name.contains("--")
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// A port by number or name.
pub fn check_port(port: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match port {
        Value::String(name) if !is_port_name(name) => errors.push(FieldError::invalid(
            path,
            port,
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        )),
        Value::Number(number) if number.as_i64().is_none_or(|number| !(1..=65535).contains(&number)) => {
            errors.push(FieldError::invalid(path, port, "must be between 1 and 65535, inclusive"));
        }
        _ => {}
    }
}

/// The port of a probe or hook.
pub fn handler_port(handler: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let path = at_field(path, "port");
    match handler.get("port") {
        None | Some(Value::Null) => {
            errors.push(FieldError::invalid(path, &Value::from(0), "must be between 1 and 65535, inclusive"));
        }
        Some(port) => check_port(port, &path, errors),
    }
}

/// Names of environment variables, and one origin of their values.
pub fn env_var(variable: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let name = text(variable, "name");
    if !name.is_empty() && (name.contains('=') || !name.chars().all(|c| c.is_ascii_graphic() || c == ' ')) {
        let detail = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        errors.push(FieldError::invalid(at_field(path, "name"), &variable["name"], detail));
    }
    if !text(variable, "value").is_empty() && fields(variable, "valueFrom").is_some() {
        let detail = "may not be specified when `value` is not empty";
        errors.push(FieldError::invalid(at_field(path, "valueFrom"), &Value::from(""), detail));
    }
}

fn set(object: &Map<String, Value>, except: &[&str]) -> Vec<String> {
    let given = object.iter().filter(|(field, value)| !value.is_null() && !except.contains(&field.as_str()));
    given.map(|(field, _)| field.clone()).collect()
}

/// A value comes from one place.
pub fn one_source(source: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    match set(source, &[]).len() {
        0 => errors.push(FieldError::invalid(
            path,
            &Value::from(""),
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        )),
        1 => {}
        _ => errors.push(FieldError::invalid(
            path,
            &Value::from(""),
            "may not have more than one field specified at a time",
        )),
    }
}

/// A volume is of one type.
pub fn one_volume_source(volume: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let sources = set(volume, &["name"]);
    if sources.is_empty() {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
    for source in sources.iter().skip(1) {
        errors.push(FieldError::forbidden(at_field(path, source), "may not specify more than 1 volume type"));
    }
}

/// A probe asks in one way.
pub fn one_handler(probe: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let handlers = ["exec", "httpGet", "tcpSocket", "grpc"];
    let mut given = handlers.iter().filter(|handler| fields(probe, handler).is_some());
    if given.next().is_none() {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for handler in given {
        errors
            .push(FieldError::forbidden(at_field(path, handler), "may not specify more than 1 handler type"));
    }
}

/// Nothing is requested beyond its limit, or below nothing.
pub fn requests_within_limits(resources: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let nanos =
        |value: &Value| quantity::nanos(&value.as_str().map_or_else(|| value.to_string(), String::from));
    for field in ["limits", "requests"] {
        for (name, value) in fields(resources, field).into_iter().flatten() {
            if nanos(value).is_some_and(|nanos| nanos < 0) {
                let path = at_key(&at_field(path, field), name);
                errors.push(FieldError::invalid(path, value, "must be greater than or equal to 0"));
            }
        }
    }
    let Some(limits) = fields(resources, "limits") else { return };
    for (name, request) in fields(resources, "requests").into_iter().flatten() {
        let Some(limit) = limits.get(name) else { continue };
        if let (Some(asked), Some(most)) = (nanos(request), nanos(limit))
            && asked > most
        {
            let limit = limit.as_str().map_or_else(|| limit.to_string(), String::from);
            let detail = format!("must be less than or equal to {name} limit of {limit}");
            errors.push(FieldError::invalid(at_field(path, "requests"), request, detail));
        }
    }
}
