//! TokenReview: whose token it is, and for which audiences it holds.

use serde_json::{Value, json};

use super::texts;
use crate::api::Api;
use crate::api::token::ISSUER;
use crate::api::user::User;
use crate::status::Status;

/// The status of a TokenReview.
pub fn review(api: &Api, spec: &Value) -> Result<Value, Status> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let asked: Vec<&str> = texts(&spec["audiences"]).collect();
    Ok(match identify(api, token, &asked) {
        Some((user, audiences)) => {
            json!({"authenticated": true, "user": user.to_json(), "audiences": audiences})
        }
        None => {
            json!({"user": {}, "error": "[invalid bearer token, the token is none of this cluster's, has expired, or is for another audience]"})
        }
    })
}

fn identify(api: &Api, token: &str, asked: &[&str]) -> Option<(User, Vec<String>)> {
    if let Some(user) = api.authenticator.fixed.get(token) {
        // Fixed tokens say nothing about audiences: they are for the API server.
        let here = asked.is_empty() || asked.contains(&ISSUER);
        return here.then(|| (user.clone(), vec![ISSUER.to_owned()]));
    }
    api.authenticator.tokens.verify(&api.store, token, asked).ok()
}
