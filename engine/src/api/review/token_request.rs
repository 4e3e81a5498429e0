//! TokenRequest: a token for a service account, for audiences and a time, dying with the pod or secret it is bound to.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::texts;
use crate::api::token::{Bound, Claims, ISSUER, Reference};
use crate::api::{Api, Call};
use crate::status::{Cause, Status};
use crate::store::GroupResource;

const DEFAULT_SECONDS: i64 = 3600;
const LEAST_SECONDS: i64 = 600;
const MOST_SECONDS: i64 = 1 << 32;

/// The moment, in the whole seconds of `metav1.Time`.
pub fn now() -> String {
    seconds(Timestamp::now().as_second())
}

fn seconds(second: i64) -> String {
    Timestamp::from_second(second).unwrap_or_default().to_string()
}

/// The completed spec and the status.
pub fn answer(api: &Api, call: &Call, spec: &Value) -> Result<(Value, Value), Status> {
    let (namespace, name) = (&call.info.namespace, &call.info.name);
    let lifetime = lifetime(spec, name)?;
    let account = object(api, namespace, "serviceaccounts", name)?;
    let audiences: Vec<String> = texts(&spec["audiences"]).map(String::from).collect();
    let audiences = if audiences.is_empty() { vec![ISSUER.to_owned()] } else { audiences };
    let kubernetes = bound(api, namespace, &account, &spec["boundObjectRef"])?;
    let issued = Timestamp::now().as_second();
    let claims = Claims {
        aud: audiences.clone(),
        exp: issued + lifetime,
        iat: issued,
        iss: ISSUER.to_owned(),
        jti: Uuid::new_v4().to_string(),
        kubernetes,
        nbf: issued,
        sub: format!("system:serviceaccount:{namespace}:{name}"),
    };
    let token = api.authenticator.tokens.sign(&claims);
    let token = token.map_err(|why| Status::internal(format!("failed to create token: {why}")))?;
    let spec = json!({
        "audiences": audiences,
        "expirationSeconds": lifetime,
        "boundObjectRef": spec["boundObjectRef"],
    });
    Ok((spec, json!({"token": token, "expirationTimestamp": seconds(issued + lifetime)})))
}

fn lifetime(spec: &Value, name: &str) -> Result<i64, Status> {
    let asked = &spec["expirationSeconds"];
    let lifetime = if asked.is_null() { Some(DEFAULT_SECONDS) } else { asked.as_i64() };
    let why = match lifetime {
        Some(lifetime) if lifetime < LEAST_SECONDS => "may not specify a duration less than 10 minutes",
        Some(lifetime) if lifetime > MOST_SECONDS => "may not specify a duration larger than 2^32 seconds",
        Some(lifetime) => return Ok(lifetime),
        None => "must be a number",
    };
    let cause =
        Cause::new("FieldValueInvalid", "spec.expirationSeconds", format!("Invalid value: {asked}: {why}"));
    Err(Status::invalid("authentication.k8s.io", "TokenRequest", name, &[cause]))
}

/// What the token dies with: the account, and the pod or secret that was asked for.
fn bound(api: &Api, namespace: &str, account: &Value, wanted: &Value) -> Result<Bound, Status> {
    let serviceaccount = reference(account);
    let mut bound = Bound { namespace: namespace.to_owned(), pod: None, secret: None, serviceaccount };
    if !wanted.is_object() {
        return Ok(bound);
    }
    let text = |field: &str| wanted[field].as_str().unwrap_or_default();
    let (api_version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
    let (plural, place) = match (api_version, kind) {
        ("v1" | "", "Pod") => ("pods", &mut bound.pod),
        ("v1" | "", "Secret") => ("secrets", &mut bound.secret),
        _ => {
            let why = format!("cannot bind token to object of type {api_version}, Kind={kind}");
            return Err(Status::bad_request(why));
        }
    };
    let found = object(api, namespace, plural, name)?;
    let account = &bound.serviceaccount.name;
    if plural == "pods" && found["spec"]["serviceAccountName"] != account.as_str() {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    let found = reference(&found);
    let uid = text("uid");
    if !uid.is_empty() && uid != found.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
            been deleted and then recreated"
        );
        return Err(Status::conflict("", plural, name, why));
    }
    *place = Some(found);
    Ok(bound)
}

fn object(api: &Api, namespace: &str, plural: &str, name: &str) -> Result<Value, Status> {
    let key = (namespace.to_owned(), name.to_owned());
    let found = api.store.get(&GroupResource::new("", plural), &key);
    found.map(|found| found.value()).ok_or_else(|| Status::not_found("", plural, name))
}

fn reference(object: &Value) -> Reference {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    Reference { name: text("name"), uid: text("uid") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: Value, expected: Result<i64, &str>) {
        let outcome = lifetime(&json!({"expirationSeconds": asked}), "bot");
        let outcome = outcome.map_err(|status| status.message().to_owned());
        assert_eq!(outcome, expected.map_err(String::from));
    }

    #[test]
    fn a_token_lives_an_hour_unless_asked_otherwise() {
        check(Value::Null, Ok(3600));
        check(json!(3607), Ok(3607));
        check(
            json!(60),
            Err(
                r#"TokenRequest.authentication.k8s.io "bot" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes"#,
            ),
        );
    }
}
