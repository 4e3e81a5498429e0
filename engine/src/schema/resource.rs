//! Resources: what is served under which path, and how `kubectl` may call it.

use std::sync::Arc;

use serde_json::Value;

use super::SchemaRef;

/// The definitions of the built-in resources.
const BUILTIN: &str = include_str!("../../schema/resources.txt");

/// Verbs of resources whose objects are stored.
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// One resource in one version.
#[derive(Debug, Clone)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Name in paths.
    pub plural: String,
    /// Name people may use for one object.
    pub singular: String,
    /// `kind` of the objects.
    pub kind: String,
    /// `kind` of lists.
    pub list_kind: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories, e.g. `all`.
    pub categories: Vec<String>,
    /// Subresources that come from the definition.
    pub subresources: Subresources,
    /// Verbs, without those of subresources.
    pub verbs: Vec<String>,
    /// Columns that `kubectl get` prints after the name; built-in resources have none here.
    pub columns: Vec<Column>,
    /// Fields that field selectors may name besides `metadata.name` and `metadata.namespace` (custom resources).
    pub selectable_fields: Vec<String>,
    /// Type of the objects.
    pub schema: SchemaRef,
    /// Whether a CustomResourceDefinition made it.
    pub custom: bool,
    /// Whether objects are stored in this version.
    pub storage: bool,
    /// Warning for every use of the version, when it is deprecated.
    pub deprecation: Option<String>,
    /// The published schema of a custom resource.
    pub published: Option<Arc<Value>>,
    /// Number that is different after every change of the definition.
    pub revision: u64,
}

impl Resource {
    /// `apiVersion` of the objects.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// Which subresources a resource has.
#[derive(Debug, Clone, Default)]
pub struct Subresources {
    /// The status is written through `/status` only.
    pub status: bool,
    /// Where the number of replicas is.
    pub scale: Option<Scale>,
}

/// Paths (`.spec.replicas`) of what `/scale` shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// The number wanted.
    pub spec_replicas: String,
    /// The number there.
    pub status_replicas: String,
    /// The selector in its text form; without it the selector is the label selector `.spec.selector`.
    pub label_selector: Option<String>,
}

/// A column of the table form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub r#type: String,
    /// OpenAPI format, often empty.
    pub format: String,
    /// Help text.
    pub description: String,
    /// 0 is always shown, higher numbers with `-o wide`.
    pub priority: i32,
    /// Where the value is, e.g. `.status.phase`.
    pub json_path: String,
}

/// All built-in resources.
pub fn builtin() -> Vec<Resource> {
    BUILTIN.lines().filter(|line| !line.starts_with('#')).filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Resource> {
    let mut words = line.split(' ');
    let group = words.next()?;
    let (version, plural, singular) = (words.next()?, words.next()?, words.next()?);
    let ty = words.next()?;
    let scope = words.next()?;
    let kind = ty.rsplit('.').next()?;
    let mut resource = Resource {
        group: if group == "core" { String::new() } else { group.to_owned() },
        version: version.to_owned(),
        plural: plural.to_owned(),
        singular: singular.to_owned(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        namespaced: scope == "namespaced",
        short_names: Vec::new(),
        categories: Vec::new(),
        subresources: Subresources::default(),
        verbs: VERBS.map(String::from).to_vec(),
        columns: Vec::new(),
        selectable_fields: Vec::new(),
        schema: SchemaRef::named(ty),
        custom: false,
        storage: true,
        deprecation: None,
        published: None,
        revision: 0,
    };
    let list = |text: &str| text.split(',').map(String::from).collect();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("short", names) => resource.short_names = list(names),
            ("categories", names) => resource.categories = list(names),
            ("verbs", names) => resource.verbs = list(names),
            ("status", _) => {
                resource.subresources.status = true;
                resource.schema = resource.schema.with_status(true);
            }
            ("scale", _) => {
                resource.subresources.scale = Some(Scale {
                    spec_replicas: ".spec.replicas".into(),
                    status_replicas: ".status.replicas".into(),
                    label_selector: None,
                });
            }
            _ => {}
        }
    }
    Some(resource)
}

/// Verbs of a resource whose objects are stored.
pub fn stored_verbs() -> Vec<String> {
    VERBS.map(String::from).to_vec()
}
