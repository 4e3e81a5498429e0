//! Whether the API server would trust a webhook: the judgement it makes at every call, made once before anything depends on it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::{CertificateError, Error, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Why a client that trusts only `bundle` refuses a server called `name` that shows `chain` (both PEM); nothing if it does not.
pub(super) fn distrust(bundle: &[u8], chain: &[u8], name: &str, now: Timestamp) -> Option<String> {
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle).flatten());
    if trusted == 0 {
        return Some("the CA bundle holds no certificate".to_owned());
    }
    let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(chain).flatten().collect();
    let Some((shown, between)) = chain.split_first() else {
        return Some("it holds no certificate".to_owned());
    };
    let Ok(server) = ServerName::try_from(name) else {
        return Some(format!("`{name}` is no name of a server"));
    };
    let provider = Arc::new(ring::default_provider());
    let verifier = match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() {
        Ok(verifier) => verifier,
        Err(error) => return Some(error.to_string()),
    };
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    match verifier.verify_server_cert(shown, between, &server, &[], now) {
        Ok(_) => None,
        Err(Error::InvalidCertificate(reason)) => Some(match reason {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the CA bundle did not sign it".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("it is not for {name}")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet".to_owned()
            }
            other => format!("it is not accepted: {other}"),
        }),
        Err(error) => Some(format!("it is not accepted: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    use super::*;

    const NAME: &str = "web.shop.svc";

    type Authority = (String, Issuer<'static, KeyPair>);

    fn authority() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
    }

    fn certificate((_, authority): &Authority) -> String {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2026, 12, 31);
        params.signed_by(&KeyPair::generate().unwrap(), authority).unwrap().pem()
    }

    #[test]
    fn a_certificate_is_trusted_only_by_its_own_authority_for_its_name_and_its_time() {
        let (own, other) = (authority(), authority());
        let shown = certificate(&own);
        let both = format!("{}{}", other.0, own.0);
        for (bundle, chain, name, day, expected) in [
            (own.0.clone(), shown.as_str(), NAME, "2026-06-01", None),
            (both, shown.as_str(), NAME, "2026-06-01", None),
            (other.0.clone(), shown.as_str(), NAME, "2026-06-01", Some("the CA bundle did not sign it")),
            (own.0.clone(), shown.as_str(), "api.shop.svc", "2026-06-01", Some("it is not for api.shop.svc")),
            (own.0.clone(), shown.as_str(), NAME, "2027-06-01", Some("it has expired")),
            (own.0.clone(), shown.as_str(), NAME, "2025-06-01", Some("it is not valid yet")),
            (own.0.clone(), "", NAME, "2026-06-01", Some("it holds no certificate")),
            (
                "torn".to_owned(),
                shown.as_str(),
                NAME,
                "2026-06-01",
                Some("the CA bundle holds no certificate"),
            ),
        ] {
            let now: Timestamp = format!("{day}T00:00:00Z").parse().unwrap();
            assert_eq!(distrust(bundle.as_bytes(), chain.as_bytes(), name, now).as_deref(), expected);
        }
    }
}
