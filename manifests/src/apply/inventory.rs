//! What earlier runs applied: one ConfigMap per component, so that objects which left the declaration can be found again.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, Error};
use serde_json::json;

use super::ApplyError;
use crate::object::ObjectId;
use crate::{COMPONENT_LABEL, FIELD_MANAGER, MANAGED_BY_LABEL};

/// Where inventories live: a namespace every cluster has and no component owns.
const NAMESPACE: &str = "kube-system";
const INVENTORY_LABEL: &str = "slipway.localhost/inventory";

/// What a component makes at run time, as `Kind/name`, separated by commas.
const PROVIDES_ANNOTATION: &str = "slipway.localhost/provides";

/// What is remembered of a component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inventory {
    /// The objects that were applied.
    pub objects: BTreeSet<ObjectId>,
    /// What it makes at run time, as `Kind/name`: left behind when the component goes, so it is deleted with it.
    pub provides: Vec<String>,
}

/// Adds to a component's inventory; what it held before stays until [`replace`].
pub(super) async fn remember(
    client: &Client,
    component: &str,
    inventory: &Inventory,
) -> Result<(), ApplyError> {
    let before = read(client, component).await?;
    let is_known = before.as_ref().is_some_and(|before| {
        inventory.objects.is_subset(&before.objects) && inventory.provides == before.provides
    });
    if is_known {
        return Ok(());
    }
    let objects = before.unwrap_or_default().objects.union(&inventory.objects).cloned().collect();
    replace(client, component, &Inventory { objects, provides: inventory.provides.clone() }).await
}

/// Writes a component's inventory.
pub(super) async fn replace(
    client: &Client,
    component: &str,
    inventory: &Inventory,
) -> Result<(), ApplyError> {
    let data: BTreeMap<String, String> =
        inventory.objects.iter().map(|id| (key(id), id.to_string())).collect();
    let name = name(component);
    let labels =
        json!({ MANAGED_BY_LABEL: FIELD_MANAGER, COMPONENT_LABEL: component, INVENTORY_LABEL: "true" });
    let annotations = json!({ PROVIDES_ANNOTATION: inventory.provides.join(",") });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": NAMESPACE, "labels": labels, "annotations": annotations },
        "data": data,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    api(client).patch(&name, &params, &Patch::Apply(&map)).await.map_err(failed("write", component))?;
    Ok(())
}

/// Removes a component's inventory.
pub(super) async fn forget(client: &Client, component: &str) -> Result<(), ApplyError> {
    match api(client).delete(&name(component), &DeleteParams::default()).await {
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(failed("delete", component)(error)),
        Ok(_) => Ok(()),
    }
}

/// A component's inventory; `None` when it was never applied here.
pub async fn read(client: &Client, component: &str) -> Result<Option<Inventory>, ApplyError> {
    let map = api(client).get_opt(&name(component)).await.map_err(failed("read", component))?;
    Ok(map.map(|map| inventory(&map)))
}

/// Every component's inventory.
pub async fn read_all(client: &Client) -> Result<Vec<(String, Inventory)>, ApplyError> {
    let params = ListParams::default().labels(&format!("{INVENTORY_LABEL}=true"));
    let maps = api(client).list(&params).await.map_err(failed("read", "*"))?;
    let component = |map: &ConfigMap| map.metadata.labels.as_ref()?.get(COMPONENT_LABEL).cloned();
    Ok(maps.items.iter().filter_map(|map| Some((component(map)?, inventory(map)))).collect())
}

fn api(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), NAMESPACE)
}

fn name(component: &str) -> String {
    format!("slipway-inventory-{component}")
}

fn failed(doing: &'static str, component: &str) -> impl FnOnce(Error) -> ApplyError {
    let component = component.to_owned();
    move |source| ApplyError::Inventory { doing, component, source: Box::new(source) }
}

fn inventory(map: &ConfigMap) -> Inventory {
    let provides =
        map.metadata.annotations.as_ref().and_then(|annotations| annotations.get(PROVIDES_ANNOTATION));
    let provides = provides.into_iter().flat_map(|list| list.split(',')).filter(|each| !each.is_empty());
    Inventory {
        objects: map.data.iter().flatten().filter_map(|(key, _)| parse(key)).collect(),
        provides: provides.map(str::to_owned).collect(),
    }
}

/// ConfigMap keys allow letters, digits, `-`, `_` and `.`; no part of an identity contains `_`, but RBAC names may contain `:`.
fn key(id: &ObjectId) -> String {
    let namespace = id.namespace.as_deref().unwrap_or_default();
    format!("{}_{}_{namespace}_{}", id.group, id.kind, id.name.replace(':', "__"))
}

fn parse(key: &str) -> Option<ObjectId> {
    let mut parts = key.splitn(4, '_');
    let (group, kind, namespace, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let namespace = Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty());
    Some(ObjectId {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace,
        name: name.replace("__", ":"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_as_written() {
        let ids = [
            ("", "ConfigMap", Some("shop"), "web.config"),
            ("apps", "Deployment", Some("shop"), "web"),
            ("rbac.authorization.k8s.io", "ClusterRole", None, "shop:web:reader"),
            ("", "Namespace", None, "shop"),
        ];
        for (group, kind, namespace, name) in ids {
            let namespace = namespace.map(str::to_owned);
            let id = ObjectId { group: group.into(), kind: kind.into(), namespace, name: name.into() };
            assert_eq!(parse(&key(&id)).as_ref(), Some(&id), "{}", key(&id));
        }
    }
}
