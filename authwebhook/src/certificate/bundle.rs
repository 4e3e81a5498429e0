//! The certificates that a registration trusts: those of now and those of before, until nobody shows one of the latter any more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::check::not_after;

/// Certificates in the order of their age, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle(Vec<CertificateDer<'static>>);

impl Bundle {
    /// The certificates in a PEM text; what is none is left out.
    pub fn parse(pem: &[u8]) -> Self {
        Self(CertificateDer::pem_slice_iter(pem).flatten().collect())
    }

    /// Whether every certificate of `other` is in it.
    pub fn contains(&self, other: &Bundle) -> bool {
        other.0.iter().all(|certificate| self.0.contains(certificate))
    }

    /// This bundle and, after it, what `older` has besides and has not ended at `now`.
    pub fn and(&self, older: &Bundle, now: Timestamp) -> Bundle {
        let mut all = self.0.clone();
        for certificate in &older.0 {
            let lasts = not_after("caBundle", certificate).is_ok_and(|end| end > now);
            if lasts && !all.contains(certificate) {
                all.push(certificate.clone());
            }
        }
        Bundle(all)
    }

    /// As PEM.
    pub fn pem(&self) -> String {
        let mut pem = String::new();
        for certificate in &self.0 {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            let text = STANDARD.encode(certificate);
            for line in text.as_bytes().chunks(64) {
                pem.push_str(&String::from_utf8_lossy(line));
                pem.push('\n');
            }
            pem.push_str("-----END CERTIFICATE-----\n");
        }
        pem
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::certificate::{Profile, issue};

    const DAY: Duration = Duration::from_secs(86_400);

    fn ca(now: &str) -> Bundle {
        let lifetime = DAY;
        let profile = Profile { service: "a".into(), namespace: "b".into(), lifetime, ca_lifetime: DAY * 10 };
        Bundle::parse(issue(&profile, now.parse().unwrap()).unwrap().ca_certificate.as_bytes())
    }

    #[test]
    fn a_bundle_survives_being_written_and_read() {
        let both = ca("2026-01-10T00:00:00Z").and(&ca("2026-01-09T00:00:00Z"), Timestamp::UNIX_EPOCH);
        assert_eq!(Bundle::parse(both.pem().as_bytes()), both);
        assert_eq!(Bundle::parse(b"nonsense"), Bundle::default());
    }

    #[test]
    fn the_new_come_first_and_what_has_ended_goes() {
        let (new, old) = (ca("2026-01-10T00:00:00Z"), ca("2026-01-01T00:00:00Z"));
        let now: Timestamp = "2026-01-10T12:00:00Z".parse().unwrap();
        let both = new.and(&old, now);
        assert!(both.contains(&new) && both.contains(&old) && !new.contains(&old));
        assert_eq!(both.and(&both, now), both);
        assert_eq!(new.and(&old, now + DAY * 2), new);
    }
}
