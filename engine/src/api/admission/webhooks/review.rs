//! The AdmissionReview: what a webhook is asked, and what its answer means. Pure.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use super::super::{Attributes, Operation};
use crate::status::Status;

const API_VERSION: &str = "admission.k8s.io/v1";

/// The request without the objects: also the variable `request` of match conditions. `version` is the one the webhook
/// wants to see.
pub fn request(attributes: &Attributes<'_>, object: &Value, version: &str, uid: &str) -> Value {
    let Attributes { operation, resource, subresource, namespace, name, user, options, dry_run, .. } =
        *attributes;
    let plural =
        |version: &str| json!({"group": resource.group, "version": version, "resource": resource.plural});
    let kind = |version: &str| kind(attributes, object, version);
    let mut request = Map::new();
    let mut set = |field: &str, value: Value| drop(request.insert(field.to_owned(), value));
    set("uid", json!(uid));
    set("kind", kind(version));
    set("resource", plural(version));
    if !subresource.is_empty() {
        set("subResource", json!(subresource));
    }
    set("requestKind", kind(&resource.version));
    set("requestResource", plural(&resource.version));
    if !subresource.is_empty() {
        set("requestSubResource", json!(subresource));
    }
    if !name.is_empty() {
        set("name", json!(name));
    }
    if !namespace.is_empty() {
        set("namespace", json!(namespace));
    }
    set("operation", json!(operation.name()));
    set("userInfo", user.to_json());
    set("dryRun", json!(dry_run));
    set("options", options.clone());
    Value::Object(request)
}

/// The kind of what is written: that of the resource, but `scale`, `eviction` and `binding` have kinds of their own.
fn kind(attributes: &Attributes<'_>, object: &Value, version: &str) -> Value {
    let Attributes { resource, subresource, .. } = attributes;
    let own = !["", "status", "finalize"].contains(subresource);
    let written = object["apiVersion"].as_str().zip(object["kind"].as_str()).filter(|_| own);
    match written {
        Some((api_version, kind)) => {
            let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
            json!({"group": group, "version": version, "kind": kind})
        }
        None => json!({"group": resource.group, "version": version, "kind": resource.kind}),
    }
}

/// The whole review, as it is sent.
pub fn review(request: &Value, attributes: &Attributes<'_>, object: &Value, version: &str) -> Value {
    let object = in_version(attributes, object, version);
    let old = attributes.old.map(|old| in_version(attributes, old, version));
    let mut request = request.clone();
    if let Some(request) = request.as_object_mut() {
        request.insert("object".into(), object.into_owned());
        request.insert("oldObject".into(), old.map_or(Value::Null, Cow::into_owned));
    }
    json!({"kind": "AdmissionReview", "apiVersion": API_VERSION, "request": request})
}

/// The object as the resource's other version has it. Versions of a custom resource differ in the name alone, because no
/// conversion webhooks are called.
pub fn in_version<'a>(attributes: &Attributes<'_>, object: &'a Value, version: &str) -> Cow<'a, Value> {
    let resource = attributes.resource;
    if version == resource.version || object["apiVersion"] != resource.api_version().as_str() {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    object["apiVersion"] = json!(format!("{}/{version}", resource.group));
    Cow::Owned(object)
}

/// What a webhook answered.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// `None` lets the write go on.
    pub denial: Option<Status>,
    /// JSON Patch to the object.
    pub patch: Option<Value>,
    /// For the client.
    pub warnings: Vec<String>,
}

/// Reads an answer. The error completes `received invalid webhook response:`.
pub fn verdict(name: &str, mutating: bool, uid: &str, answer: &Value) -> Result<Verdict, String> {
    let (api_version, kind) = (&answer["apiVersion"], &answer["kind"]);
    if api_version != API_VERSION || kind != "AdmissionReview" {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let got = text(api_version);
        let got = if got.is_empty() { "/".to_owned() } else { got };
        return Err(format!(
            "expected webhook response of {API_VERSION}, Kind=AdmissionReview, got {got}, Kind={}",
            text(kind)
        ));
    }
    let response = &answer["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    if response["uid"] != uid {
        let got = response["uid"].as_str().unwrap_or_default();
        return Err(format!("expected response.uid={uid:?}, got {got:?}"));
    }
    let warnings = response["warnings"].as_array().into_iter().flatten();
    let warnings = warnings.filter_map(Value::as_str).map(String::from).collect();
    let patch = patch(mutating, response)?;
    let denial = (response["allowed"] != true).then(|| denial(name, &response["status"]));
    Ok(Verdict { denial, patch, warnings })
}

fn patch(mutating: bool, response: &Value) -> Result<Option<Value>, String> {
    let patch = response["patch"].as_str().filter(|patch| !patch.is_empty());
    let ty = response["patchType"].as_str();
    match (mutating, patch, ty) {
        (false, Some(_), _) => Err("validating webhook may not return response.patch".to_owned()),
        (false, None, Some(_)) => Err("validating webhook may not return response.patchType".to_owned()),
        (_, None, None) => Ok(None),
        (true, Some(_), None) => Err("webhook returned response.patch but not response.patchType".to_owned()),
        (true, None, Some(_)) => Err("webhook returned response.patchType but not response.patch".to_owned()),
        (true, Some(patch), Some("JSONPatch")) => {
            let decoded = BASE64.decode(patch).map_err(|error| format!("undecodable patch: {error}"))?;
            let patch =
                serde_json::from_slice(&decoded).map_err(|error| format!("undecodable patch: {error}"))?;
            Ok(Some(patch))
        }
        (true, Some(_), Some(other)) => {
            Err(format!("webhook returned invalid response.patchType of {other:?}"))
        }
    }
}

/// The refusal a client sees.
fn denial(name: &str, status: &Value) -> Status {
    let text = |field: &str| status[field].as_str().filter(|text| !text.is_empty());
    let denied = format!("admission webhook {name:?} denied the request");
    let message = match text("message").or(text("reason")) {
        Some(why) => format!("{denied}: {why}"),
        None => format!("{denied} without explanation"),
    };
    // A refusal is an error, whatever code came with it.
    let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
    let details = status["details"].as_object().cloned().unwrap_or_default();
    Status::new(code, text("reason").unwrap_or_default().to_owned(), message).with_details(details)
}

/// Applies a patch a webhook returned; a write without an object cannot be changed.
pub fn apply(
    name: &str,
    attributes: &Attributes<'_>,
    object: &Value,
    version: &str,
    patch: &Value,
) -> Result<Value, Status> {
    if attributes.operation == Operation::Delete || !object.is_object() {
        return Err(Status::internal(format!(
            "admission webhook {name:?} attempted to modify the object, which is not supported for this operation"
        )));
    }
    let seen = in_version(attributes, object, version);
    let patched = crate::patch::json_patch(&seen, patch).map_err(Status::internal)?;
    let original = attributes.resource.api_version();
    let mut patched = patched;
    if matches!(seen, Cow::Owned(_)) && patched.is_object() {
        patched["apiVersion"] = json!(original);
    }
    Ok(patched)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::Write;
    use super::*;

    #[test]
    fn the_request_says_who_does_what_to_which_object() {
        let mut write = Write::new(Operation::Update, "deployments", "ns", "web");
        write.subresource = "status";
        write.old = Some(json!({"apiVersion": "apps/v1", "kind": "Deployment", "a": 1}));
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "a": 2});
        let attributes = write.attributes();
        let request = request(&attributes, &object, "v1", "u-1");
        let review = review(&request, &attributes, &object, "v1");
        let expected = json!({
            "uid": "u-1",
            "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "subResource": "status",
            "requestKind": {"group": "apps", "version": "v1", "kind": "Deployment"},
            "requestResource": {"group": "apps", "version": "v1", "resource": "deployments"},
            "requestSubResource": "status",
            "name": "web", "namespace": "ns", "operation": "UPDATE",
            "userInfo": {"username": "alice", "groups": ["devs", "system:authenticated"]},
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            "object": object, "oldObject": write.old,
        });
        assert_eq!(review["request"], expected);
    }

    #[test]
    fn subresources_with_kinds_of_their_own_and_other_versions() {
        let mut write = Write::new(Operation::Update, "deployments", "ns", "web");
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment"});
        let seen = request(&write.attributes(), &deployment, "v2", "u");
        assert_eq!((&seen["kind"]["version"], &seen["requestKind"]["version"]), (&json!("v2"), &json!("v1")));
        assert_eq!(in_version(&write.attributes(), &deployment, "v2")["apiVersion"], "apps/v2");
        let patch = json!([{"op": "add", "path": "/x", "value": 1}]);
        let patched = apply("w", &write.attributes(), &deployment, "v2", &patch).unwrap();
        assert_eq!(patched, json!({"apiVersion": "apps/v1", "kind": "Deployment", "x": 1}));
        write.subresource = "scale";
        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale"});
        let kind = &request(&write.attributes(), &scale, "v1", "u")["kind"];
        assert_eq!(*kind, json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    }

    fn answer(mutating: bool, response: Value) -> Result<Verdict, String> {
        let answer = json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response});
        verdict("w.example.com", mutating, "u-1", &answer)
    }

    #[track_caller]
    fn check_denial(status: Value, code: u16, message: &str) {
        let verdict = answer(false, json!({"uid": "u-1", "allowed": false, "status": status})).unwrap();
        let denial = verdict.denial.unwrap();
        assert_eq!((denial.code(), denial.message()), (code, message));
    }

    #[test]
    fn a_denial_has_the_webhooks_code_and_words() {
        let denied = r#"admission webhook "w.example.com" denied the request"#;
        check_denial(
            json!({"code": 403, "message": "no", "reason": "Forbidden"}),
            403,
            &format!("{denied}: no"),
        );
        check_denial(json!({"code": 200, "reason": "Never"}), 400, &format!("{denied}: Never"));
        check_denial(Value::Null, 400, &format!("{denied} without explanation"));
    }

    #[track_caller]
    fn check_invalid(mutating: bool, response: Value, expected: &str) {
        assert_eq!(answer(mutating, response).unwrap_err(), expected);
    }

    #[test]
    fn answers_that_are_none_are_told_apart() {
        check_invalid(true, Value::Null, "webhook response was absent");
        check_invalid(true, json!({"uid": "u-2"}), r#"expected response.uid="u-1", got "u-2""#);
        check_invalid(
            true,
            json!({"uid": "u-1", "allowed": true, "patch": "W10="}),
            "webhook returned response.patch but not response.patchType",
        );
        check_invalid(
            false,
            json!({"uid": "u-1", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"}),
            "validating webhook may not return response.patch",
        );
        assert_eq!(
            verdict("w", true, "u-1", &json!({})).unwrap_err(),
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="
        );
    }

    #[test]
    fn patch_and_warnings_are_read() {
        let response = json!({"uid": "u-1", "allowed": true, "patchType": "JSONPatch",
            "patch": BASE64.encode(r#"[{"op":"remove","path":"/a"}]"#), "warnings": ["careful"]});
        let verdict = answer(true, response).unwrap();
        assert_eq!(verdict.patch, Some(json!([{"op": "remove", "path": "/a"}])));
        assert_eq!((verdict.warnings, verdict.denial), (vec!["careful".to_owned()], None));
    }
}
