//! Whether key and certificates fit together, name the service and last long enough. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};
use thiserror::Error;
use x509_parser::parse_x509_certificate;

use super::{Material, PemError, Profile, Usable};

/// Why material cannot be served with.
#[derive(Debug, Error)]
pub enum Unusable {
    /// A text is not what it should be.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The private key is not the certificate's.
    #[error("`tls.key` is not the key of `tls.crt`: {0}")]
    Key(rustls::Error),
    /// The CA is no CA.
    #[error("`ca.crt` cannot sign: {0}")]
    Ca(String),
    /// The certificate is not signed by the CA, or not for the service, or not valid now.
    #[error("`tls.crt` is not accepted by a client that trusts `ca.crt`: {0}")]
    Chain(rustls::Error),
    /// It is valid, but not for long.
    #[error("`tls.crt` ends at {not_after}")]
    EndsSoon {
        /// When it ends.
        not_after: Timestamp,
    },
}

impl Unusable {
    /// Whether a new serving certificate of the same CA mends it.
    pub fn ca_is_good(&self) -> bool {
        match self {
            Self::EndsSoon { .. } => true,
            Self::Chain(rustls::Error::InvalidCertificate(error)) => matches!(
                error,
                CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. }
            ),
            _ => false,
        }
    }
}

/// The material as the listener needs it, if it is good for `profile` at `now`.
pub fn check(material: &Material, profile: &Profile, now: Timestamp) -> Result<Usable, Unusable> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates("tls.crt", &material.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(material.key.as_bytes())
        .map_err(|_| PemError { field: "tls.key", expected: "private key" })?;
    let certified_key = CertifiedKey::from_der(chain, key, &provider).map_err(Unusable::Key)?;
    verify(&certified_key, &material.ca_certificate, profile, now, provider)?;

    // Unlike the API server's, this library's trust in a root does not end with the root.
    let ca_not_after = ca_not_after(&material.ca_certificate)?;
    if ca_not_after <= now {
        return Err(Unusable::Ca(format!("it ended at {ca_not_after}")));
    }
    let leaf = certified_key.cert.first().ok_or(PemError { field: "tls.crt", expected: "certificate" })?;
    let not_after = not_after("tls.crt", leaf)?;
    let left = not_after.duration_since(now).unsigned_abs();
    if not_after <= now || left < profile.renew_before() {
        return Err(Unusable::EndsSoon { not_after });
    }
    Ok(Usable { material: material.clone(), certified_key: Arc::new(certified_key), not_after })
}

/// As the API server will verify it.
fn verify(
    key: &CertifiedKey,
    ca: &str,
    profile: &Profile,
    now: Timestamp,
    provider: Arc<CryptoProvider>,
) -> Result<(), Unusable> {
    let roots = roots(ca)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| Unusable::Ca(error.to_string()))?;
    let Some((leaf, intermediates)) = key.cert.split_first() else {
        return Err(PemError { field: "tls.crt", expected: "certificate" }.into());
    };
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.as_second().unsigned_abs()));
    for name in profile.names() {
        let name = ServerName::try_from(name).map_err(|error| Unusable::Ca(error.to_string()))?;
        verifier.verify_server_cert(leaf, intermediates, &name, &[], now).map_err(Unusable::Chain)?;
    }
    Ok(())
}

/// A store that trusts the certificates in `ca`.
pub(crate) fn roots(ca: &str) -> Result<RootCertStore, Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca.crt", ca)? {
        roots.add(certificate).map_err(|error| Unusable::Ca(error.to_string()))?;
    }
    Ok(roots)
}

fn certificates(field: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let missing = || PemError { field, expected: "certificate" };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    certificates.ok().filter(|certificates| !certificates.is_empty()).ok_or_else(missing)
}

/// When the last of the CA's certificates ends.
pub(super) fn ca_not_after(ca: &str) -> Result<Timestamp, PemError> {
    let ends: Result<Vec<_>, _> =
        certificates("ca.crt", ca)?.iter().map(|certificate| not_after("ca.crt", certificate)).collect();
    ends?.into_iter().max().ok_or(PemError { field: "ca.crt", expected: "certificate" })
}

/// When a certificate ends.
pub(super) fn not_after(
    field: &'static str,
    certificate: &CertificateDer<'_>,
) -> Result<Timestamp, PemError> {
    let missing = || PemError { field, expected: "certificate" };
    let (_, parsed) = parse_x509_certificate(certificate).map_err(|_| missing())?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).map_err(|_| missing())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::certificate::{issue, reissue};

    const DAY: Duration = Duration::from_secs(86_400);

    fn profile() -> Profile {
        Profile {
            service: "authwebhook".into(),
            namespace: "kubernaut-system".into(),
            lifetime: DAY * 90,
            ca_lifetime: DAY * 900,
        }
    }

    fn now() -> Timestamp {
        "2026-01-10T12:00:00Z".parse().unwrap()
    }

    fn checked(material: &Material, now: Timestamp) -> Result<Usable, Unusable> {
        check(material, &profile(), now)
    }

    #[test]
    fn what_is_issued_is_usable_until_a_third_is_left() {
        let material = issue(&profile(), now()).unwrap();
        assert_eq!(checked(&material, now()).unwrap().not_after, now() + DAY * 90);
        assert!(checked(&material, now() + DAY * 59).is_ok());
        let error = checked(&material, now() + DAY * 61).unwrap_err();
        assert!(matches!(error, Unusable::EndsSoon { .. }) && error.ca_is_good(), "{error}");
        let error = checked(&material, now() + DAY * 91).unwrap_err();
        assert!(error.ca_is_good(), "{error}");
    }

    #[test]
    fn a_renewed_certificate_keeps_the_ca() {
        let old = issue(&profile(), now()).unwrap();
        let new = reissue(&profile(), &old, now() + DAY * 61).unwrap().unwrap();
        assert_eq!((&new.ca_certificate, &new.ca_key), (&old.ca_certificate, &old.ca_key));
        assert_ne!(new.certificate, old.certificate);
        assert!(checked(&new, now() + DAY * 61).is_ok());
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let good = issue(&profile(), now()).unwrap();
        let other = issue(&profile(), now()).unwrap();
        let elsewhere = issue(&Profile { namespace: "other".into(), ..profile() }, now()).unwrap();
        for (material, text, ca_is_good) in [
            (Material { key: other.key.clone(), ..good.clone() }, "`tls.key` is not the key", false),
            (Material { ca_certificate: other.ca_certificate, ..good.clone() }, "trusts `ca.crt`", false),
            (
                Material { certificate: "nonsense".into(), ..good.clone() },
                "`tls.crt` holds no certificate",
                false,
            ),
            (
                Material { ca_certificate: String::new(), ..good.clone() },
                "`ca.crt` holds no certificate",
                false,
            ),
            (Material { key: String::new(), ..good }, "`tls.key` holds no private key", false),
            (elsewhere, "trusts `ca.crt`", true),
        ] {
            let error = checked(&material, now()).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert_eq!(error.ca_is_good(), ca_is_good, "{error}");
        }
    }
}
