//! Image placeholders in pod templates become references by digest.

use std::collections::BTreeMap;

use mistake::did_you_mean;
use serde_json::Value;

use super::{RenderError, pod};
use crate::object::{Object, text};

/// Replaces every placeholder of one object.
///
/// A placeholder is the name of an image that is built here. Anything with a `/` is somebody else's image and stays as it is, unless
/// `images` says where its approved copy is; anything else is a slip.
pub(super) fn resolve(object: &mut Object, images: &BTreeMap<String, String>) -> Result<(), RenderError> {
    let (file, line, id) = (object.file.clone(), object.line, object.id());
    let Some(spec) = pod::spec_mut(&mut object.value) else { return Ok(()) };
    for list in pod::LISTS {
        let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) else { continue };
        for container in containers {
            let written = text(container, "/image").to_owned();
            let is_foreign = written.contains('/');
            let Some(reference) = images.get(&written) else {
                if is_foreign {
                    continue;
                }
                let known = images.keys().map(String::as_str).filter(|name| !name.contains('/'));
                let hint = did_you_mean(&written, known.clone()).or_else(|| {
                    let known: Vec<&str> = known.collect();
                    Some(format!("built here: {}; anything else needs its registry, as in `registry.example.com/{written}`", known.join(", ")))
                });
                let container = text(container, "/name").to_owned();
                return Err(RenderError::UnknownImage {
                    file,
                    line,
                    object: Box::new(id),
                    container,
                    image: written,
                    hint,
                });
            };
            if let Some(container) = container.as_object_mut() {
                container.insert("image".to_owned(), Value::String(reference.clone()));
            }
        }
    }
    Ok(())
}
