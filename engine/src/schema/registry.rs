//! The set of resources served at a moment. Immutable: a CustomResourceDefinition makes a new set that shares the rest.

use std::sync::{Arc, LazyLock};

use imbl::OrdMap;
use serde_json::Value;

use super::resource::{self, Resource};
use super::{custom, openapi};

/// All resources, by group, version and plural. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    resources: OrdMap<(String, String, String), Arc<Resource>>,
    /// Number of changes made so far.
    revision: u64,
}

static BUILTIN: LazyLock<Registry> = LazyLock::new(|| {
    let resources = resource::builtin().into_iter();
    Registry {
        resources: resources.map(|resource| (key(&resource), Arc::new(resource))).collect(),
        revision: 0,
    }
});

fn key(resource: &Resource) -> (String, String, String) {
    (resource.group.clone(), resource.version.clone(), resource.plural.clone())
}

impl Registry {
    /// The built-in resources.
    pub fn builtin() -> Self {
        BUILTIN.clone()
    }

    /// With every served version of a CustomResourceDefinition; versions it had before are gone. The error says what is
    /// wrong with its schemas, one text for each fault.
    pub fn with_crd(&self, crd: &Value) -> Result<Self, Vec<String>> {
        let name = crd["metadata"]["name"].as_str().unwrap_or_default();
        let mut registry = self.without_crd(name);
        registry.revision += 1;
        for mut resource in custom::resources(crd)? {
            resource.revision = registry.revision;
            registry.resources.insert(key(&resource), Arc::new(resource));
        }
        Ok(registry)
    }

    /// Without the resources of the CustomResourceDefinition `name` (`<plural>.<group>`).
    pub fn without_crd(&self, name: &str) -> Self {
        let mut registry = self.clone();
        let (plural, group) = name.split_once('.').unwrap_or((name, ""));
        let gone = |found: &Resource| found.custom && found.plural == plural && found.group == group;
        let gone: Vec<_> =
            self.resources().filter(|resource| gone(resource)).map(|resource| key(resource)).collect();
        for key in gone {
            registry.resources.remove(&key);
        }
        registry.revision += 1;
        registry
    }

    /// The resource at `/apis/<group>/<version>/<plural>`.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.resources.get(&key).cloned()
    }

    /// The resource whose objects have this `apiVersion` and `kind`.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let found = self.of_version(group, version).find(|resource| resource.kind == kind);
        found.cloned()
    }

    /// The resources of one group version, by plural.
    pub fn of_version<'a>(
        &'a self,
        group: &'a str,
        version: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.resources().filter(move |resource| resource.group == group && resource.version == version)
    }

    /// All resources, by group, version and plural.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.resources.values()
    }

    /// The OpenAPI v3 document of a group version.
    pub fn openapi_v3(&self, group: &str, version: &str) -> Value {
        openapi::document(self, group, version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_resources_are_found_by_path_and_by_kind() {
        let registry = Registry::builtin();
        let deployments = registry.resource("apps", "v1", "deployments").unwrap();
        assert_eq!(
            (deployments.kind.as_str(), deployments.list_kind.as_str()),
            ("Deployment", "DeploymentList")
        );
        assert!(deployments.namespaced && deployments.subresources.status);
        assert_eq!(deployments.short_names, ["deploy"]);
        assert_eq!(registry.by_kind("v1", "Pod").unwrap().plural, "pods");
        assert_eq!(registry.by_kind("rbac.authorization.k8s.io/v1", "Role").unwrap().plural, "roles");
        assert!(registry.by_kind("v1", "Deployment").is_none());
        let reviews = registry.resource("authorization.k8s.io", "v1", "subjectaccessreviews").unwrap();
        assert_eq!(reviews.verbs, ["create"]);
    }

    #[test]
    fn every_builtin_resource_has_a_type() {
        for resource in Registry::builtin().resources() {
            assert!(resource.schema.ty().field("apiVersion").is_some(), "{}", resource.plural);
        }
    }
}
