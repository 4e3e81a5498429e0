//! Jobs: unless the writer wants to choose, a Job selects its pods by its own uid.

use serde_json::{Value, json};

use crate::api::write::metadata;

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";

/// Sets the selector and the labels of the template.
pub fn generate_selector(job: &mut Value) {
    if job["spec"]["manualSelector"] == true || !job["spec"]["template"].is_object() {
        return;
    }
    let (uid, name) = (metadata::text(job, "uid").to_owned(), metadata::text(job, "name").to_owned());
    let template = &mut job["spec"]["template"];
    let Some(metadata) = metadata::of(template) else { return };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    for (label, value) in [
        (UID_LABEL, &uid),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("job-name", &name),
    ] {
        if labels.is_object() {
            labels[label] = json!(value);
        }
    }
    job["spec"]["selector"] = json!({"matchLabels": {UID_LABEL: uid}});
}
