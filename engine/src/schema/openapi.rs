//! OpenAPI v3 documents, as far as clients read them: types with their patch extensions, and operations with their kinds.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::builtin;
use super::registry::Registry;
use super::resource::Resource;
use super::types::{Field, ListKind, Scalar, Shape, Type, TypeRef};

const META: &str = "meta.v1.ObjectMeta";

/// The document of one group version.
pub fn document(registry: &Registry, group: &str, version: &str) -> Value {
    let mut paths = Map::new();
    let mut schemas = Schemas::default();
    for resource in registry.of_version(group, version) {
        add_paths(resource, &mut paths);
        schemas.add_resource(resource);
    }
    schemas.add_reachable();
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.33.0"}, "paths": paths,
        "components": {"schemas": schemas.done}})
}

fn gvk(resource: &Resource) -> Value {
    json!({"group": resource.group, "kind": resource.kind, "version": resource.version})
}

/// Name of the resource's type in the document.
fn type_name(resource: &Resource) -> String {
    if resource.custom {
        let group: Vec<&str> = resource.group.split('.').rev().collect();
        return format!("{}.{}.{}", group.join("."), resource.version, resource.kind);
    }
    builtin::full_name(&resource.schema.ty().name)
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn query(name: &str, kind: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
}

fn in_path(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}})
}

fn add_paths(resource: &Resource, paths: &mut Map<String, Value>) {
    let root = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let place = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{root}{place}/{}", resource.plural);
    let has = |verb: &str| resource.verbs.iter().any(|known| known == verb);
    let own = reference(&type_name(resource));
    let list = reference(&format!("{}List", type_name(resource)));
    let operation = |action: &str, body: Option<&str>, answer: &Value, queries: &[&str]| {
        let parameters: Vec<Value> = queries.iter().map(|name| query(name, "string")).collect();
        let mut operation = json!({
            "operationId": format!("{action}{}{}{}", capital(&resource.group), capital(&resource.version), resource.kind),
            "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk(resource),
        });
        if let Some(types) = body {
            let schema = if action == "patch" { json!({"type": "object"}) } else { own.clone() };
            let content: Map<String, Value> =
                types.split(',').map(|name| (name.to_owned(), json!({"schema": schema}))).collect();
            operation["requestBody"] = json!({"content": content, "required": true});
        }
        operation
    };
    let write = ["dryRun", "fieldManager", "fieldValidation", "pretty"];
    let patch_types = "application/json-patch+json,application/merge-patch+json,application/apply-patch+yaml";
    let strategic = format!("{patch_types},application/strategic-merge-patch+json");
    let mut item = Map::new();
    let mut all = Map::new();
    if has("list") {
        let queries = [
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "watch",
        ];
        all.insert("get".into(), operation("list", None, &list, &queries));
    }
    if has("create") {
        all.insert("post".into(), operation("post", Some("*/*"), &own, &write));
    }
    if has("deletecollection") {
        all.insert(
            "delete".into(),
            operation("deletecollection", None, &json!({"type": "object"}), &["dryRun", "labelSelector"]),
        );
    }
    if has("get") {
        item.insert("get".into(), operation("get", None, &own, &["pretty"]));
    }
    if has("update") {
        item.insert("put".into(), operation("put", Some("*/*"), &own, &write));
    }
    if has("patch") {
        let types = if resource.custom { patch_types } else { strategic.as_str() };
        let queries = ["dryRun", "fieldManager", "fieldValidation", "force", "pretty"];
        item.insert("patch".into(), operation("patch", Some(types), &own, &queries));
    }
    if has("delete") {
        let queries = ["dryRun", "gracePeriodSeconds", "propagationPolicy"];
        item.insert("delete".into(), operation("delete", None, &json!({"type": "object"}), &queries));
    }
    let namespace = if resource.namespaced { vec![in_path("namespace")] } else { Vec::new() };
    all.insert("parameters".into(), Value::Array(namespace.clone()));
    paths.insert(collection.clone(), Value::Object(all));
    if !item.is_empty() {
        let parameters = std::iter::once(in_path("name")).chain(namespace).collect();
        item.insert("parameters".into(), Value::Array(parameters));
        paths.insert(format!("{collection}/{{name}}"), Value::Object(item));
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars().filter(char::is_ascii_alphanumeric);
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// Types of a document: those written, and the names of those still to be.
#[derive(Default)]
struct Schemas {
    done: Map<String, Value>,
    needed: BTreeSet<String>,
}

impl Schemas {
    fn add_resource(&mut self, resource: &Resource) {
        let name = type_name(resource);
        let mut schema = match &resource.published {
            Some(published) => self.custom(published),
            None => self.of_type(&resource.schema.ty()),
        };
        schema["x-kubernetes-group-version-kind"] = json!([gvk(resource)]);
        self.done.insert(name.clone(), schema);
        self.needed.insert("meta.v1.ListMeta".into());
        let meta = reference(&builtin::full_name("meta.v1.ListMeta"));
        let list = json!({
            "type": "object", "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                "metadata": {"allOf": [meta], "default": {}},
                "items": {"type": "array", "items": {"allOf": [reference(&name)], "default": {}}},
            },
            "x-kubernetes-group-version-kind": [{"group": resource.group, "kind": resource.list_kind, "version": resource.version}],
        });
        self.done.insert(format!("{name}List"), list);
    }

    /// The schema of a custom resource as it was declared, with what every object has.
    fn custom(&mut self, published: &Value) -> Value {
        let mut schema = published.clone();
        if !schema["properties"].is_object() {
            schema["properties"] = json!({});
        }
        self.needed.insert(META.into());
        schema["properties"]["apiVersion"] = json!({"type": "string"});
        schema["properties"]["kind"] = json!({"type": "string"});
        schema["properties"]["metadata"] = json!({"allOf": [reference(&builtin::full_name(META))]});
        schema
    }

    fn add_reachable(&mut self) {
        while let Some(name) = self.needed.pop_first() {
            let full = builtin::full_name(&name);
            if !self.done.contains_key(&full)
                && let Some(ty) = builtin::named(&name)
            {
                let schema = self.of_type(&ty);
                self.done.insert(full, schema);
            }
        }
        self.done.sort_keys();
    }

    fn of_type(&mut self, ty: &Type) -> Value {
        let mut schema = match &ty.shape {
            Shape::Any => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
            Shape::Scalar(scalar) => of_scalar(*scalar),
            Shape::Map(values) => {
                json!({"type": "object", "additionalProperties": self.of_reference(values)})
            }
            Shape::List(list) => {
                let mut schema = json!({"type": "array", "items": self.of_reference(&list.item)});
                schema["x-kubernetes-list-type"] = json!(match &list.kind {
                    ListKind::Atomic => "atomic",
                    ListKind::Set => "set",
                    ListKind::Map(_) => "map",
                });
                if let ListKind::Map(keys) = &list.kind {
                    schema["x-kubernetes-list-map-keys"] = json!(keys);
                }
                schema
            }
            Shape::Struct(declared) => {
                let properties: Map<String, Value> = declared
                    .fields
                    .iter()
                    .map(|(name, field)| (name.clone(), self.of_field(field)))
                    .collect();
                let required: Vec<&String> = declared
                    .fields
                    .iter()
                    .filter(|(_, field)| field.required)
                    .map(|(name, _)| name)
                    .collect();
                let mut schema = json!({"type": "object", "properties": properties});
                if !required.is_empty() {
                    schema["required"] = json!(required);
                }
                schema
            }
        };
        if ty.atomic {
            schema["x-kubernetes-map-type"] = json!("atomic");
        }
        schema
    }

    fn of_reference(&mut self, ty: &TypeRef) -> Value {
        match ty {
            TypeRef::Inline(ty) => self.of_type(ty),
            TypeRef::Named(name) => {
                self.needed.insert(name.clone());
                json!({"allOf": [reference(&builtin::full_name(name))], "default": {}})
            }
        }
    }

    fn of_field(&mut self, field: &Field) -> Value {
        let mut schema = self.of_reference(&field.ty);
        if let Some(default) = &field.default {
            schema["default"] = default.clone();
        }
        let strategy: Vec<&str> = [(field.merge, "merge"), (field.retain_keys, "retainKeys")]
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name)
            .collect();
        if !strategy.is_empty() {
            schema["x-kubernetes-patch-strategy"] = json!(strategy.join(","));
        }
        if let Some(key) = &field.merge_key {
            schema["x-kubernetes-patch-merge-key"] = json!(key);
        }
        schema
    }
}

fn of_scalar(scalar: Scalar) -> Value {
    match scalar {
        Scalar::String => json!({"type": "string"}),
        Scalar::Bytes => json!({"type": "string", "format": "byte"}),
        Scalar::Boolean => json!({"type": "boolean"}),
        Scalar::Int32 => json!({"type": "integer", "format": "int32"}),
        Scalar::Int64 => json!({"type": "integer", "format": "int64"}),
        Scalar::Number => json!({"type": "number", "format": "double"}),
        Scalar::IntOrString => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        Scalar::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        Scalar::Time | Scalar::MicroTime => json!({"type": "string", "format": "date-time"}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_what_kubectl_apply_reads() {
        let document = Registry::builtin().openapi_v3("apps", "v1");
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "apps", "kind": "Deployment", "version": "v1"})
        );
        let parameters = patch["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation"));
        let schemas = &document["components"]["schemas"];
        assert_eq!(
            schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"][0]["kind"],
            "Deployment"
        );
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        let strategy = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
        assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
    }

    #[test]
    fn every_reference_in_every_document_resolves() {
        fn check(value: &Value, schemas: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
                        let name = name.trim_start_matches("#/components/schemas/");
                        assert!(schemas.get(name).is_some(), "{name}");
                    }
                    fields.values().for_each(|value| check(value, schemas));
                }
                Value::Array(items) => items.iter().for_each(|item| check(item, schemas)),
                _ => {}
            }
        }
        let registry = Registry::builtin();
        for resource in registry.resources() {
            let document = registry.openapi_v3(&resource.group, &resource.version);
            check(&document, &document["components"]["schemas"]);
        }
    }
}
