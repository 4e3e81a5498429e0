//! Who makes a request.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// An authenticated (or anonymous) identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// Name, e.g. `system:serviceaccount:default:default`.
    pub name: String,
    /// Unique id; empty when the authenticator knows none.
    pub uid: String,
    /// Groups, including `system:authenticated` or `system:unauthenticated`.
    pub groups: Vec<String>,
    /// What else the authenticator knows, e.g. the pod a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Group of every identity that was authenticated.
pub const AUTHENTICATED: &str = "system:authenticated";

impl User {
    /// The identity of a request without credentials.
    pub fn anonymous() -> Self {
        let groups = vec!["system:unauthenticated".to_owned()];
        Self { name: "system:anonymous".to_owned(), groups, ..Self::default() }
    }

    /// An authenticated identity with these groups.
    pub fn authenticated(name: impl Into<String>, mut groups: Vec<String>) -> Self {
        groups.push(AUTHENTICATED.to_owned());
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// The identity of a service account.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        let mut user = Self::authenticated(format!("system:serviceaccount:{namespace}:{name}"), groups);
        user.uid = uid.to_owned();
        user
    }

    /// The `UserInfo` of reviews and of admission.
    pub fn to_json(&self) -> Value {
        let mut info = Map::new();
        info.insert("username".into(), json!(self.name));
        if !self.uid.is_empty() {
            info.insert("uid".into(), json!(self.uid));
        }
        info.insert("groups".into(), json!(self.groups));
        if !self.extra.is_empty() {
            info.insert("extra".into(), json!(self.extra));
        }
        Value::Object(info)
    }
}
