use std::os::unix::fs::PermissionsExt;

use api::audit::{ExportFilters, ExportMetadata, ExportedEvent, HashChainVerification};
use jiff::Timestamp;

use super::*;
use crate::chain::ChainedEvent;
use crate::event::tests::stored_event;

fn export(key: &SigningKey) -> AuditExport {
    let mut previous = String::new();
    let events = (1..=3).map(|id| {
        let link = ChainedEvent::after(previous.clone(), stored_event(id));
        previous.clone_from(&link.hash);
        ExportedEvent {
            event: link.event,
            event_hash: link.hash,
            previous_event_hash: link.previous_hash,
            hash_chain_valid: true,
            legal_hold: false,
        }
    });
    let mut export = AuditExport {
        events: events.collect(),
        export_metadata: ExportMetadata {
            export_timestamp: Timestamp::UNIX_EPOCH,
            export_format: "json".into(),
            query_filters: ExportFilters::default(),
            total_events: 3,
            matching_events: 3,
            exported_by: "auditor".into(),
            redacted: false,
            signature: None,
            signature_algorithm: key.algorithm.into(),
            certificate_fingerprint: key.fingerprint.clone(),
            certificate: key.certificate.clone(),
        },
        hash_chain_verification: HashChainVerification {
            total_events_verified: 3,
            valid_chain_events: 3,
            broken_chain_events: 0,
            chain_integrity_percentage: 100.0,
            verification_timestamp: Timestamp::UNIX_EPOCH,
            tampered_event_ids: Vec::new(),
        },
        detached_signature: None,
    };
    export.export_metadata.signature = Some(key.sign(&signed_bytes(&export)).unwrap());
    export
}

/// As it comes back from a file.
fn reread(export: &AuditExport) -> AuditExport {
    serde_json::from_str(&serde_json::to_string_pretty(export).unwrap()).unwrap()
}

#[test]
fn a_key_is_made_once_and_readable_by_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("signing");
    let made = SigningKey::open(&keys).unwrap();
    assert_eq!(made.algorithm, "SHA256withECDSA");
    assert_eq!(SigningKey::open(&keys).unwrap().fingerprint, made.fingerprint);
    let mode = std::fs::metadata(keys.join("tls.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    std::fs::write(keys.join("tls.crt"), "nonsense").unwrap();
    assert!(SigningKey::open(&keys).unwrap_err().to_string().contains("holds no certificate"));
}

#[test]
fn an_export_verifies_from_a_file_and_any_change_shows() {
    let directory = tempfile::tempdir().unwrap();
    let key = SigningKey::open(directory.path()).unwrap();
    let good = reread(&export(&key));
    assert_eq!(verify_export(&good, None), []);
    assert_eq!(verify_export(&good, Some(&key.certificate)), []);
    let subjects = |edit: fn(&mut AuditExport)| -> Vec<String> {
        let mut export = good.clone();
        edit(&mut export);
        verify_export(&export, None).into_iter().map(|finding| finding.subject).collect()
    };
    assert_eq!(subjects(|export| export.export_metadata.exported_by = "x".into()), ["signature"]);
    assert_eq!(subjects(|export| drop(export.events.remove(1))), ["signature"]);
    assert_eq!(subjects(|export| export.export_metadata.signature = None), ["signature"]);
    assert_eq!(subjects(|export| export.export_metadata.certificate = "x".into()), ["certificate"]);
    let id = good.events[1].event.event_id.to_string();
    assert_eq!(subjects(|export| export.events[1].event.actor_id = "x".into()), ["signature", id.as_str()]);
}

#[test]
fn an_export_signed_anew_by_somebody_else_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let ours = SigningKey::open(&directory.path().join("ours")).unwrap();
    let theirs = SigningKey::open(&directory.path().join("theirs")).unwrap();
    let forged = export(&theirs);
    assert_eq!(verify_export(&forged, None), []);
    assert_eq!(verify_export(&forged, Some(&ours.certificate))[0].subject, "certificate");
}

#[test]
fn two_events_in_one_place_of_a_chain_show_even_when_signed() {
    let directory = tempfile::tempdir().unwrap();
    let key = SigningKey::open(directory.path()).unwrap();
    let mut forked = export(&key);
    let twin = ChainedEvent::after(forked.events[1].previous_event_hash.clone(), stored_event(9));
    forked.events.push(ExportedEvent {
        event: twin.event,
        event_hash: twin.hash,
        previous_event_hash: twin.previous_hash,
        hash_chain_valid: true,
        legal_hold: false,
    });
    forked.export_metadata.signature = Some(key.sign(&signed_bytes(&forked)).unwrap());
    let findings = verify_export(&forked, Some(&key.certificate));
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].message.contains("same place"), "{findings:?}");
}
