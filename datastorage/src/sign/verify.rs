//! Verifying an export with nothing but the export, and the certificate one trusts.

use std::collections::HashMap;

use api::audit::{AuditExport, ExportedEvent};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::parse_x509_certificate;

use super::key::{ALGORITHMS, fingerprint};
use super::signed_bytes;
use crate::chain::event_hash;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `signature`, `certificate` or an event's id.
    pub subject: String,
    /// What is wrong with it.
    pub message: String,
}

impl Finding {
    fn new(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { subject: subject.into(), message: message.into() }
    }
}

/// Everything that is wrong with `export`. With `trusted`, the signature has to be by that certificate (PEM); without, it
/// only proves that nothing was changed after somebody signed.
pub fn verify_export(export: &AuditExport, trusted: Option<&str>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = signature(export, trusted).err().into_iter().collect();
    for exported in &export.events {
        let id = exported.event.event_id.to_string();
        if !exported.hash_chain_valid {
            findings.push(Finding::new(&id, "the service itself found that it is not as it was accepted"));
        }
        // A redacted event is another text than the one that was hashed.
        if !export.export_metadata.redacted
            && event_hash(&exported.previous_event_hash, &exported.event) != exported.event_hash
        {
            findings.push(Finding::new(&id, "its content does not have the hash it came with"));
        }
    }
    findings.extend(twins(&export.events));
    findings
}

/// Two events that name the same predecessor: a chain does not fork.
fn twins(events: &[ExportedEvent]) -> Vec<Finding> {
    let mut successors: HashMap<(&str, &str), &ExportedEvent> = HashMap::new();
    let mut findings = Vec::new();
    for exported in events {
        let place = (exported.event.correlation_id.as_str(), exported.previous_event_hash.as_str());
        if let Some(other) = successors.insert(place, exported) {
            let message = format!("it and `{}` claim the same place in the chain", other.event.event_id);
            findings.push(Finding::new(exported.event.event_id.to_string(), message));
        }
    }
    findings
}

fn signature(export: &AuditExport, trusted: Option<&str>) -> Result<(), Finding> {
    let metadata = &export.export_metadata;
    let wrong = |message: &str| Finding::new("certificate", message);
    let certificate = trusted.unwrap_or(&metadata.certificate);
    let der = CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(|_| wrong("it is not a PEM certificate"))?;
    if fingerprint(&der) != metadata.certificate_fingerprint {
        return Err(wrong("the export was signed by another key than that of this certificate"));
    }
    let (_, parsed) = parse_x509_certificate(&der).map_err(|_| wrong("it is not an X.509 certificate"))?;
    let key = parsed.public_key().subject_public_key.data.as_ref();

    let wrong = |message: &str| Finding::new("signature", message);
    let sent = metadata.signature.as_deref().ok_or_else(|| wrong("there is none"))?;
    if export.detached_signature.as_deref().is_some_and(|detached| detached != sent) {
        return Err(wrong("the detached signature is another one"));
    }
    let sent = STANDARD.decode(sent).map_err(|_| wrong("it is not base64"))?;
    let (scheme, _) = ALGORITHMS
        .into_iter()
        .find(|(_, name)| *name == metadata.signature_algorithm)
        .ok_or_else(|| wrong("its algorithm is not known"))?;
    let provider = ring::default_provider();
    let algorithms = provider.signature_verification_algorithms.mapping;
    let algorithms = algorithms.iter().find(|(known, _)| *known == scheme).map(|(_, algorithms)| *algorithms);
    let message = signed_bytes(export);
    let fits = |algorithm: &&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
        algorithm.verify_signature(key, &message, &sent).is_ok()
    };
    match algorithms.unwrap_or_default().iter().any(fits) {
        true => Ok(()),
        false => Err(wrong("the export is not what was signed")),
    }
}
