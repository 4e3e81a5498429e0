//! The options of a write: from query parameters and headers to what they mean.

use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::api::request::RequestInfo;
use crate::schema::FieldError;
use crate::status::{Cause, Status};

/// What happens to fields the type does not have, and to fields that are there twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// Nothing is said.
    Ignore,
    /// A warning for each.
    Warn,
    /// The write is refused.
    Strict,
}

/// How a write is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions`.
    pub kind: &'static str,
    /// Nothing is stored.
    pub dry_run: bool,
    /// Who owns the fields.
    pub manager: String,
    /// About unknown and duplicate fields.
    pub validation: FieldValidation,
    /// An apply takes fields that others own.
    pub force: bool,
    /// The manager as sent; empty when the client named none.
    named: String,
}

impl Options {
    /// The options of a write by the server itself.
    pub fn internal(kind: &'static str, manager: &str) -> Self {
        Self {
            kind,
            dry_run: false,
            manager: manager.to_owned(),
            validation: FieldValidation::Ignore,
            force: false,
            named: manager.to_owned(),
        }
    }

    /// Reads the options of a request. `apply` says whether it is a server-side apply.
    pub fn of_request(info: &RequestInfo, headers: &HeaderMap, apply: bool) -> Result<Self, Status> {
        let kind = match info.verb {
            "create" => "CreateOptions",
            "update" => "UpdateOptions",
            "patch" => "PatchOptions",
            _ => "DeleteOptions",
        };
        let mut faults = Vec::new();
        for value in info.params("dryRun").filter(|value| *value != "All") {
            faults.push(FieldError::not_supported("dryRun", &json!(value), &["All"]));
        }
        let validation = match info.param("fieldValidation") {
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            "Warn" | "" => FieldValidation::Warn,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                faults.push(FieldError::not_supported("fieldValidation", &json!(other), &supported));
                FieldValidation::Warn
            }
        };
        let named = info.param("fieldManager").to_owned();
        let force = info.flag("force");
        if named.len() > 128 {
            faults.push(FieldError::too_long("fieldManager", 128));
        }
        if apply && named.is_empty() {
            faults.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        if force && !apply {
            faults.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        if !faults.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", &causes(faults)));
        }
        let manager = if named.is_empty() { user_agent(headers) } else { named.clone() };
        let dry_run = info.params("dryRun").next().is_some();
        Ok(Self { kind, dry_run, manager, validation, force, named })
    }

    /// The options object, as admission sees it.
    pub fn to_json(&self) -> Value {
        let mut options = json!({"kind": self.kind, "apiVersion": "meta.k8s.io/v1"});
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        if self.kind == "DeleteOptions" {
            return options;
        }
        if self.force {
            options["force"] = json!(true);
        }
        if !self.named.is_empty() {
            options["fieldManager"] = json!(self.named);
        }
        options["fieldValidation"] = json!(format!("{:?}", self.validation));
        options
    }
}

/// What a client calls itself: the name before the version.
fn user_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    agent.split('/').next().unwrap_or_default().chars().take(128).collect()
}

/// Faults of fields as the causes of a status.
pub fn causes(faults: Vec<FieldError>) -> Vec<Cause> {
    faults.into_iter().map(|fault| Cause::new(fault.reason, fault.path, fault.message)).collect()
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn parse(method: Method, query: &str, apply: bool) -> Result<Options, Status> {
        let info = RequestInfo::parse(&method, "/api/v1/namespaces/default/configmaps/a", query);
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, "kubectl/v1.32.0 (linux/amd64)".parse().unwrap());
        Options::of_request(&info, &headers, apply)
    }

    #[test]
    fn the_manager_is_the_one_named_or_the_client() {
        assert_eq!(parse(Method::PUT, "", false).unwrap().manager, "kubectl");
        let named = parse(Method::PUT, "fieldManager=me&dryRun=All", false).unwrap();
        assert_eq!((named.manager.as_str(), named.dry_run), ("me", true));
        assert_eq!(
            named.to_json(),
            json!({"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"],
                "fieldManager": "me", "fieldValidation": "Warn"})
        );
    }

    #[test]
    fn options_that_make_no_sense_are_invalid() {
        let message =
            |query: &str, apply: bool| parse(Method::PATCH, query, apply).unwrap_err().message().to_owned();
        assert_eq!(
            message("dryRun=x", false),
            r#"PatchOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: "x": supported values: "All""#
        );
        assert_eq!(
            message("", true),
            r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#
        );
        assert_eq!(
            message("force=true", false),
            r#"PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch"#
        );
    }
}
