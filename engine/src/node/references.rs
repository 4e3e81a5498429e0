//! The ConfigMaps and Secrets a pod refers to.
//!
//! They are read when they are needed, so that a pod never starts with what was there before the object it was created after; a
//! watch only tells when to read again.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret, Volume};
use kube::Api;

use super::pod::observed::specifications;

/// Kind of an object pods refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// `ConfigMap`
    ConfigMap,
    /// `Secret`
    Secret,
    /// `PersistentVolumeClaim`
    Claim,
}

/// Names of objects in the pod's namespace.
pub(crate) type Names = BTreeSet<(Kind, String)>;

/// What was found; a name that is not in it was not asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    config_maps: BTreeMap<String, Option<ConfigMap>>,
    secrets: BTreeMap<String, Option<Secret>>,
}

/// Everything a pod refers to.
pub(crate) fn of_pod(pod: &Pod) -> Names {
    let Some(spec) = &pod.spec else { return Names::new() };
    let mut names: Names = specifications(spec).flat_map(of_environment).collect();
    names.extend(spec.volumes.iter().flatten().flat_map(of_volume));
    names
}

/// What a container's environment refers to.
pub(crate) fn of_environment(container: &Container) -> Names {
    let mut names = Names::new();
    for source in container.env_from.iter().flatten() {
        names.extend(source.config_map_ref.iter().map(|source| (Kind::ConfigMap, source.name.clone())));
        names.extend(source.secret_ref.iter().map(|source| (Kind::Secret, source.name.clone())));
    }
    for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        names.extend(source.config_map_key_ref.iter().map(|key| (Kind::ConfigMap, key.name.clone())));
        names.extend(source.secret_key_ref.iter().map(|key| (Kind::Secret, key.name.clone())));
    }
    names
}

/// What a volume refers to.
pub(crate) fn of_volume(volume: &Volume) -> Names {
    let mut names = Names::new();
    names.extend(volume.config_map.iter().map(|source| (Kind::ConfigMap, source.name.clone())));
    let secret = volume.secret.as_ref().and_then(|source| source.secret_name.clone());
    names.extend(secret.map(|name| (Kind::Secret, name)));
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        names.extend(source.config_map.iter().map(|source| (Kind::ConfigMap, source.name.clone())));
        names.extend(source.secret.iter().map(|source| (Kind::Secret, source.name.clone())));
    }
    let claim = volume.persistent_volume_claim.iter().map(|source| (Kind::Claim, source.claim_name.clone()));
    names.extend(claim);
    names
}

/// Reads ConfigMaps and Secrets; that one is missing is no error yet.
pub(crate) async fn read(
    client: &kube::Client,
    namespace: &str,
    names: &Names,
) -> Result<Found, kube::Error> {
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut found = Found::default();
    for (kind, name) in names {
        match kind {
            Kind::ConfigMap => {
                found.config_maps.insert(name.clone(), config_maps.get_opt(name).await?);
            }
            Kind::Secret => {
                found.secrets.insert(name.clone(), secrets.get_opt(name).await?);
            }
            Kind::Claim => {}
        }
    }
    Ok(found)
}

impl Found {
    /// A ConfigMap; the error is upstream's text.
    pub(crate) fn config_map(&self, name: &str) -> Result<&ConfigMap, String> {
        let found = self.config_maps.get(name).and_then(Option::as_ref);
        found.ok_or_else(|| format!("configmap {name:?} not found"))
    }

    /// A Secret; the error is upstream's text.
    pub(crate) fn secret(&self, name: &str) -> Result<&Secret, String> {
        let found = self.secrets.get(name).and_then(Option::as_ref);
        found.ok_or_else(|| format!("secret {name:?} not found"))
    }

    /// Adds a ConfigMap, as if it had been read.
    #[cfg(test)]
    pub(crate) fn with_config_map(mut self, name: &str, data: serde_json::Value) -> Self {
        let object = serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "data": data}));
        self.config_maps.insert(name.to_owned(), Some(object.unwrap()));
        self
    }

    /// Adds a Secret, as if it had been read.
    #[cfg(test)]
    pub(crate) fn with_secret(mut self, name: &str, key: &str, value: &[u8]) -> Self {
        let data = BTreeMap::from([(key.to_owned(), k8s_openapi::ByteString(value.to_vec()))]);
        self.secrets.insert(name.to_owned(), Some(Secret { data: Some(data), ..Secret::default() }));
        self
    }
}

/// Bytes of each key of a ConfigMap.
pub(crate) fn content(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(key, text)| (key.clone(), text.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone()));
    text.chain(binary).collect()
}
