//! Signing exports, and verifying them without the service or its database.

mod key;
mod verify;

pub use key::{KeyError, SigningKey};
pub use verify::{Finding, verify_export};

use api::audit::AuditExport;

use crate::chain;

/// What the signature of an export covers: all of it but the signature, as JSON with sorted keys and no blanks.
pub fn signed_bytes(export: &AuditExport) -> Vec<u8> {
    let mut export = export.clone();
    export.export_metadata.signature = None;
    export.detached_signature = None;
    // An export is made of text, numbers and JSON: it always has a JSON form.
    chain::canonical(&serde_json::to_value(&export).unwrap_or_default()).into_bytes()
}

#[cfg(test)]
mod tests;
