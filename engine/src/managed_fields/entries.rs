//! `metadata.managedFields`: one entry for each manager, operation, version and subresource.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::ApplyContext;
use super::set::Set;

/// How a manager came to its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Anything else.
    Update,
}

/// What tells entries apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    manager: String,
    operation: Operation,
    /// Empty for [`Operation::Apply`]: a manager applies in one version after the other.
    api_version: String,
    subresource: String,
}

impl Entry {
    /// The entry of a request.
    pub fn new(context: &ApplyContext, operation: Operation) -> Self {
        let manager = if context.manager.is_empty() { "unknown" } else { &context.manager };
        let api_version = match operation {
            Operation::Apply => String::new(),
            Operation::Update => context.api_version.clone(),
        };
        Self { manager: manager.to_owned(), operation, api_version, subresource: context.subresource.clone() }
    }
}

/// As conflicts name it: `"m"`, `"m" using v1`, `"m" with subresource "status" using v1`.
impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.manager)?;
        if !self.subresource.is_empty() {
            write!(formatter, " with subresource {:?}", self.subresource)?;
        }
        match self.operation {
            Operation::Apply => Ok(()),
            Operation::Update => write!(formatter, " using {}", self.api_version),
        }
    }
}

/// What an entry says.
#[derive(Debug, Clone)]
pub struct Owned {
    /// The fields.
    pub set: Set,
    api_version: String,
    time: Option<String>,
}

/// All entries of an object.
#[derive(Debug, Clone, Default)]
pub struct Managers(BTreeMap<Entry, Owned>);

impl Managers {
    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an entry says.
    pub fn get(&self, entry: &Entry) -> Option<&Owned> {
        self.0.get(entry)
    }

    /// Everything that is owned.
    pub fn union(&self) -> Set {
        self.0.values().fold(Set::default(), |all, owned| all.union(&owned.set))
    }

    /// Sets the fields of an entry and leaves its time.
    pub fn insert(&mut self, entry: Entry, context: &ApplyContext, set: Set) {
        let time = self.0.get(&entry).and_then(|owned| owned.time.clone());
        self.0.insert(entry, Owned { set, api_version: context.api_version.clone(), time });
    }

    /// Sets the fields of the request's own entry; an empty one goes. `touched` moves its time.
    pub fn set_own(&mut self, entry: &Entry, context: &ApplyContext, set: Set, touched: bool) {
        if set.is_empty() {
            self.0.remove(entry);
            return;
        }
        self.insert(entry.clone(), context, set);
        if let Some(owned) = self.0.get_mut(entry).filter(|owned| touched || owned.time.is_none()) {
            owned.time = Some(context.now.clone());
        }
    }

    /// What others than `entry` own of `changed`.
    pub fn others_within(&self, entry: &Entry, changed: &Set) -> BTreeMap<Entry, Set> {
        let others = self.0.iter().filter(|(other, _)| *other != entry);
        let within = others.map(|(other, owned)| (other.clone(), owned.set.intersection(changed)));
        within.filter(|(_, set)| !set.is_empty()).collect()
    }

    /// Others than `entry` lose what changed and what is gone.
    pub fn take_from_others(&mut self, entry: &Entry, changed: &Set, removed: &Set) {
        for (other, owned) in &mut self.0 {
            if other != entry {
                owned.set = owned.set.difference(changed).difference(removed);
            }
        }
        self.0.retain(|_, owned| !owned.set.is_empty());
    }

    /// Everybody loses what changed and what is gone.
    pub fn take_from_all(&mut self, changed: &Set, removed: &Set) {
        for owned in self.0.values_mut() {
            owned.set = owned.set.difference(changed).difference(removed);
        }
        self.0.retain(|_, owned| !owned.set.is_empty());
    }

    /// Folds the oldest updaters of each version into one, so that at most `limit` remain.
    pub fn cap(&mut self, limit: usize) {
        let mut updaters: Vec<(Option<String>, Entry)> = self
            .0
            .iter()
            .filter(|(entry, _)| entry.operation == Operation::Update)
            .map(|(entry, owned)| (owned.time.clone(), entry.clone()))
            .collect();
        updaters.sort();
        let mut excess = updaters.len().saturating_sub(limit);
        let mut first: BTreeMap<String, Entry> = BTreeMap::new();
        for (_, entry) in updaters {
            if excess == 0 {
                break;
            }
            let version = entry.api_version.clone();
            let Some(earliest) = first.get(&version).cloned() else {
                first.insert(version, entry);
                continue;
            };
            let bucket = Entry {
                manager: "ancient-changes".into(),
                operation: Operation::Update,
                api_version: version,
                subresource: String::new(),
            };
            if !self.0.contains_key(&bucket)
                && let Some(owned) = self.0.remove(&earliest)
            {
                self.0.insert(bucket.clone(), owned);
            }
            if entry != bucket
                && let Some(owned) = self.0.remove(&entry)
                && let Some(ancient) = self.0.get_mut(&bucket)
            {
                ancient.set = ancient.set.union(&owned.set);
                ancient.time = owned.time;
                excess -= 1;
            }
        }
    }
}

/// Reads the entries of an object; the error says what is malformed.
pub fn decode(object: &Value) -> Result<Managers, String> {
    let mut managers = BTreeMap::new();
    let list = object["metadata"]["managedFields"].as_array();
    for (index, entry) in list.into_iter().flatten().enumerate() {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".into()),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err("apiVersion must not be empty".into());
        }
        if text("fieldsType") != "FieldsV1" {
            return Err(format!(
                "invalid fieldsType {:?} in managed fields entry {index}",
                text("fieldsType")
            ));
        }
        let empty = Value::Object(Map::new());
        let Some(set) = Set::from_json(entry.get("fieldsV1").unwrap_or(&empty)) else {
            return Err(format!("error decoding set in managed fields entry {index}"));
        };
        let identity = Entry {
            manager: text("manager"),
            operation,
            api_version: if operation == Operation::Apply { String::new() } else { api_version.clone() },
            subresource: text("subresource"),
        };
        managers.insert(identity, Owned { set, api_version, time: entry["time"].as_str().map(String::from) });
    }
    Ok(Managers(managers))
}

/// Writes the entries into an object: by operation, time, manager, version, subresource.
pub fn encode(object: &mut Value, managers: &Managers) {
    let mut entries: Vec<(&Entry, &Owned)> = managers.0.iter().collect();
    entries.sort_by_key(|(entry, owned)| (entry.operation, owned.time.clone(), (*entry).clone()));
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|(entry, owned)| {
            let mut fields = Map::new();
            fields.insert("manager".into(), json!(entry.manager));
            fields.insert("operation".into(), json!(format!("{:?}", entry.operation)));
            fields.insert("apiVersion".into(), json!(owned.api_version));
            if let Some(time) = &owned.time {
                fields.insert("time".into(), json!(time));
            }
            fields.insert("fieldsType".into(), json!("FieldsV1"));
            fields.insert("fieldsV1".into(), owned.set.to_json());
            if !entry.subresource.is_empty() {
                fields.insert("subresource".into(), json!(entry.subresource));
            }
            Value::Object(fields)
        })
        .collect();
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if let Some(metadata) = metadata.as_object_mut() {
        if entries.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".into(), Value::Array(entries));
        }
    }
}
