//! From declared YAML to the exact objects that are applied: final image references, labels, no reference left dangling.
//!
//! Pure: what goes in is the declaration and the images' digests, what comes out can be printed, tested and compared.

mod images;
pub mod pod;
mod references;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use mistake::did_you_mean;
use serde_json::{Map, Value, json};

use crate::components::{Component, Components, Readiness};
use crate::object::{Object, ObjectId};
use crate::{COMPONENT_LABEL, FIELD_MANAGER, MANAGED_BY_LABEL, order};

/// A component whose objects are final.
#[derive(Debug, Clone)]
pub struct RenderedComponent {
    /// Its name.
    pub name: String,
    /// Components that come before it, those left out removed.
    pub needs: Vec<String>,
    /// How long it may take from applied to ready.
    pub deadline: Duration,
    /// What ready means for it.
    pub readiness: Readiness,
    /// Objects it creates at run time, as `Kind/name`.
    pub provides: Vec<String>,
    /// Restarts of one container that are still taken for a normal start.
    pub restarts: u32,
    /// The objects in the order they are applied.
    pub objects: Vec<Object>,
    /// Only sent as a dry run.
    pub admission_probe: Option<Object>,
}

/// Every component that will be deployed, in dependency order, ready to be applied.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// In dependency order.
    pub components: Vec<RenderedComponent>,
    /// Components left out on request.
    pub without: Vec<String>,
}

/// Why the declaration cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A container names an image nobody builds.
    #[error("{file}:{line}: {object}: container `{container}` wants image `{image}`, which nothing builds{}", hint_line(.hint), file = file.display())]
    UnknownImage {
        /// Where the object is declared.
        file: PathBuf,
        /// And at which line.
        line: usize,
        /// The object.
        object: Box<ObjectId>,
        /// The container.
        container: String,
        /// What it wrote.
        image: String,
        /// The likely fix.
        hint: Option<String>,
    },
    /// An object refers to another that will not exist.
    #[error("{file}:{line}: {object}: {reference}{}", hint_line(.hint), file = file.display())]
    Dangling {
        /// Where the object is declared.
        file: PathBuf,
        /// And at which line.
        line: usize,
        /// The object.
        object: Box<ObjectId>,
        /// Who refers to what, as a sentence fragment.
        reference: String,
        /// The likely fix.
        hint: Option<String>,
    },
    /// A component to leave out is not declared.
    #[error("no component is called `{name}`{}", hint_line(.hint))]
    UnknownComponent {
        /// The name given.
        name: String,
        /// The likely fix.
        hint: Option<String>,
    },
}

fn hint_line(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!("\n  = hint: {hint}")).unwrap_or_default()
}

/// Renders every component except those named in `without`.
///
/// A container image that is the name of a key of `images` becomes its reference, in every pod template including init
/// containers and CronJobs. References between objects that can be proven to lead nowhere are refused here, before there is a
/// cluster.
pub fn render(
    components: &Components,
    images: &BTreeMap<String, String>,
    without: &[String],
) -> Result<Rendered, RenderError> {
    for name in without {
        if components.get(name).is_none() {
            let hint = did_you_mean(name, components.names());
            return Err(RenderError::UnknownComponent { name: name.clone(), hint });
        }
    }
    let kept: Vec<&Component> =
        components.iter().filter(|component| !without.contains(&component.name)).collect();
    references::check(&kept, components)?;
    let rendered = kept.iter().map(|component| render_component(component, images, without));
    Ok(Rendered { components: rendered.collect::<Result<_, _>>()?, without: without.to_vec() })
}

/// Every image the components name as it is written, each once.
pub fn images(components: &Components) -> BTreeSet<String> {
    let objects = components.iter().flat_map(|component| &component.objects);
    objects.flat_map(|object| pod::containers(&object.value)).map(|(_, _, image)| image.to_owned()).collect()
}

fn render_component(
    component: &Component,
    images: &BTreeMap<String, String>,
    without: &[String],
) -> Result<RenderedComponent, RenderError> {
    let mut objects = component.objects.clone();
    for object in &mut objects {
        images::resolve(object, images)?;
        label(&mut object.value, &component.name);
    }
    order::objects(&mut objects);
    Ok(RenderedComponent {
        name: component.name.clone(),
        needs: component.needs.iter().filter(|need| !without.contains(need)).cloned().collect(),
        deadline: component.deadline,
        readiness: component.readiness,
        provides: component.provides.clone(),
        restarts: component.restarts,
        objects,
        admission_probe: component.admission_probe.clone(),
    })
}

/// Marks an object as ours. Pod templates are left alone, so that a label never causes a rollout.
fn label(value: &mut Value, component: &str) {
    let labels = [(MANAGED_BY_LABEL, FIELD_MANAGER), (COMPONENT_LABEL, component)];
    let metadata =
        value.as_object_mut().and_then(|object| object.get_mut("metadata")).and_then(Value::as_object_mut);
    let Some(metadata) = metadata else { return };
    let existing = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
    if existing.is_null() {
        *existing = json!({});
    }
    if let Some(existing) = existing.as_object_mut() {
        for (key, value) in labels {
            existing.insert(key.to_owned(), Value::String(value.to_owned()));
        }
    }
}

impl Rendered {
    /// Every object, in the order it is applied.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.components.iter().flat_map(|component| &component.objects)
    }

    /// The component of that name.
    pub fn get(&self, name: &str) -> Option<&RenderedComponent> {
        self.components.iter().find(|component| component.name == name)
    }

    /// Every image reference in use, each once, sorted.
    pub fn images(&self) -> BTreeSet<String> {
        self.objects()
            .flat_map(|object| pod::containers(&object.value))
            .map(|(_, _, image)| image.to_owned())
            .collect()
    }
}

impl RenderedComponent {
    /// The objects as one YAML stream, as `kubectl apply -f` would take it.
    pub fn to_yaml(&self) -> String {
        let documents =
            self.objects.iter().map(|object| serde_saphyr::to_string(&object.value).unwrap_or_default());
        documents.collect::<Vec<_>>().join("---\n")
    }
}

#[cfg(test)]
mod tests;
