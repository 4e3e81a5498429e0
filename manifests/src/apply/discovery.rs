//! Which resource of the cluster a kind is, asked once per kind.

use std::collections::BTreeMap;
use std::sync::Mutex;

use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::discovery::{Scope, pinned_kind};
use kube::{Client, Error};

/// What discovery said, remembered.
pub struct Directory {
    client: Client,
    known: Mutex<BTreeMap<(String, String), (ApiResource, bool)>>,
}

impl Directory {
    /// An empty directory for the cluster behind `client`.
    pub fn new(client: Client) -> Directory {
        Directory { client, known: Mutex::default() }
    }

    /// The client it asks with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The resource of a kind and whether it is namespaced; `None` when the cluster does not serve it (yet).
    pub async fn resource(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<(ApiResource, bool)>, Error> {
        let key = (api_version.to_owned(), kind.to_owned());
        let known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&key).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let found = match pinned_kind(&self.client, &GroupVersionKind::gvk(group, version, kind)).await {
            Ok((resource, capabilities)) => (resource, capabilities.scope == Scope::Namespaced),
            Err(Error::Discovery(_)) => return Ok(None),
            Err(Error::Api(status)) if status.code == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key, found.clone());
        Ok(Some(found))
    }

    /// The API for an object known only by group, at the group's preferred version; `None` when the kind is not served.
    pub async fn api_of_group(
        &self,
        group: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Option<Api<DynamicObject>>, Error> {
        if group.is_empty() {
            return self.api("v1", kind, namespace).await;
        }
        let groups = self.client.list_api_groups().await?;
        let Some(served) = groups.groups.into_iter().find(|each| each.name == group) else { return Ok(None) };
        let preferred = served.preferred_version.or_else(|| served.versions.into_iter().next());
        let Some(preferred) = preferred else { return Ok(None) };
        self.api(&preferred.group_version, kind, namespace).await
    }

    /// The API for one object. A namespaced object without a namespace goes to `default`, as kubectl would have it.
    pub async fn api(
        &self,
        api_version: &str,
        kind: &str,
        namespace: Option<&str>,
    ) -> Result<Option<Api<DynamicObject>>, Error> {
        let Some((resource, namespaced)) = self.resource(api_version, kind).await? else { return Ok(None) };
        let client = self.client.clone();
        Ok(Some(match namespaced {
            true => Api::namespaced_with(client, namespace.unwrap_or("default"), &resource),
            false => Api::all_with(client, &resource),
        }))
    }
}
