//! Rules of webhook registrations.

use serde_json::{Map, Value};

use super::{fields, list, text};
use crate::expression::Expression;
use crate::schema::{FieldError, at_field, at_index, format};

/// Name, review versions, and conditions that compile.
pub fn webhook(webhook: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let name = text(webhook, "name");
    let at = at_field(path, "name");
    if name.is_empty() {
        errors.push(FieldError::required(at, ""));
    } else if !format::is_dns_subdomain(name) || name.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(at, &Value::from(name), detail));
    }
    let versions = list(webhook, "admissionReviewVersions");
    if !versions.is_empty() && !versions.iter().any(|version| version == "v1") {
        let detail = "must include at least one of v1";
        errors.push(FieldError::invalid(
            at_field(path, "admissionReviewVersions"),
            &Value::from(versions.to_vec()),
            detail,
        ));
    }
    if fields(webhook, "clientConfig").is_none() {
        errors.push(FieldError::required(
            at_field(path, "clientConfig"),
            "exactly one of url or service is required",
        ));
    }
    for (index, condition) in list(webhook, "matchConditions").iter().enumerate() {
        let path = at_index(&at_field(path, "matchConditions"), index);
        if condition["name"].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(at_field(&path, "name"), ""));
        }
        if let Err(fault) = Expression::compile(condition["expression"].as_str().unwrap_or_default()) {
            let detail = format!("compilation failed: {fault}");
            errors.push(FieldError::invalid(at_field(&path, "expression"), &condition["expression"], detail));
        }
    }
}

/// Where the webhook is, and whom to trust there.
pub fn client(config: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let (url, service) = (text(config, "url"), fields(config, "service"));
    if url.is_empty() == service.is_none() {
        errors.push(FieldError::required(path, "exactly one of url or service is required"));
    }
    if !url.is_empty() && !url.starts_with("https://") {
        let detail = "'https' is the only allowed URL scheme";
        errors.push(FieldError::invalid(at_field(path, "url"), &Value::from(url), detail));
    }
    let service_path = service.map(|service| text(service, "path")).unwrap_or_default();
    if !service_path.is_empty() && !service_path.starts_with('/') {
        let detail = "must start with a '/'";
        errors.push(FieldError::invalid(at_field(path, "service.path"), &Value::from(service_path), detail));
    }
}
