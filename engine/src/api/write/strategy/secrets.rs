//! Secrets: `stringData` is another way to write `data`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Moves `stringData` into `data`.
pub fn merge_string_data(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else { return };
    let Some(Value::Object(texts)) = fields.remove("stringData") else { return };
    if texts.is_empty() {
        return;
    }
    let data = fields.entry("data").or_insert_with(|| json!({}));
    if data.is_null() {
        *data = json!({});
    }
    let Some(data) = data.as_object_mut() else { return };
    for (key, text) in texts {
        // Anything but a text is left for validation to refuse.
        let value = text.as_str().map_or_else(|| text.clone(), |text| json!(STANDARD.encode(text)));
        data.insert(key, value);
    }
}
