//! Impersonation: whoever may, acts as somebody else (`kubectl --as`).

use http::HeaderMap;

use super::Api;
use super::rbac::Attributes;
use super::request::percent_decode;
use super::user::{AUTHENTICATED, User};
use crate::status::Status;

const EXTRA: &str = "impersonate-extra-";

/// Who a request says it is made for.
#[derive(Debug, Default, PartialEq)]
struct Wanted {
    user: Option<String>,
    groups: Vec<String>,
    uid: Option<String>,
    extra: Vec<(String, String)>,
}

impl Wanted {
    fn of(headers: &HeaderMap) -> Self {
        let one = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(String::from);
        let groups = headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok());
        let extra = headers.iter().filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix(EXTRA)?;
            Some((percent_decode(key), value.to_str().ok()?.to_owned()))
        });
        Self {
            user: one("impersonate-user"),
            groups: groups.map(String::from).collect(),
            uid: one("impersonate-uid"),
            extra: extra.collect(),
        }
    }
}

/// The identity the request is made for: `user`, or whom it impersonates when it may.
pub fn impersonate(api: &Api, user: User, headers: &HeaderMap) -> Result<User, Status> {
    let wanted = Wanted::of(headers);
    if wanted == Wanted::default() {
        return Ok(user);
    }
    let Some(name) = wanted.user else {
        return Err(Status::internal("groups, uid or extra requested without impersonating a user"));
    };
    let check = |group: &str, resource: &str, namespace: &str, name: &str| {
        let resource = resource.to_owned();
        let attributes = Attributes { verb: "impersonate", group, resource, namespace, name, path: None };
        api.authorizer.authorize(&api.store, &user, &attributes)
    };
    let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, account)) => check("", "serviceaccounts", namespace, account)?,
        None => check("", "users", "", &name)?,
    }
    for group in &wanted.groups {
        check("", "groups", "", group)?;
    }
    if let Some(uid) = &wanted.uid {
        check("authentication.k8s.io", "uids", "", uid)?;
    }
    for (key, value) in &wanted.extra {
        check("authentication.k8s.io", &format!("userextras/{key}"), "", value)?;
    }
    let mut groups = wanted.groups;
    if let (true, Some((namespace, _))) = (groups.is_empty(), account) {
        groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let everyone = if name == "system:anonymous" { "system:unauthenticated" } else { AUTHENTICATED };
    if !groups.iter().any(|group| group == everyone) {
        groups.push(everyone.to_owned());
    }
    let mut impersonated = User { name, uid: wanted.uid.unwrap_or_default(), groups, ..User::default() };
    for (key, value) in wanted.extra {
        impersonated.extra.entry(key).or_default().push(value);
    }
    Ok(impersonated)
}
