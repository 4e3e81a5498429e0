//! Making a CA and serving certificates. ECDSA P-256; nothing here reads a clock.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use thiserror::Error;

use super::{Material, Profile};

/// The clocks of the cluster may differ by this much.
const SKEW: Duration = Duration::from_secs(3600);

/// A certificate could not be made.
#[derive(Debug, Error)]
#[error("make the {what}")]
pub struct IssueError {
    what: &'static str,
    source: rcgen::Error,
}

fn failed(what: &'static str) -> impl Fn(rcgen::Error) -> IssueError {
    move |source| IssueError { what, source }
}

/// A new CA and a serving certificate signed by it.
pub fn issue(profile: &Profile, now: Timestamp) -> Result<Material, IssueError> {
    let key = KeyPair::generate().map_err(failed("CA key"))?;
    let name = format!("{} CA", profile.server_name());
    let mut params = params(&name, Vec::new(), now, profile.ca_lifetime).map_err(failed("CA"))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).map_err(failed("CA certificate"))?;
    serving(profile, now, certificate.pem(), key.serialize_pem(), &Issuer::new(params, key))
}

/// A new serving certificate signed by the CA of `material`; `None` if its key is not here.
pub fn reissue(
    profile: &Profile,
    material: &Material,
    now: Timestamp,
) -> Option<Result<Material, IssueError>> {
    let ca_key = material.ca_key.clone()?;
    let key = match KeyPair::from_pem(&ca_key) {
        Ok(key) => key,
        Err(error) => return Some(Err(failed("CA key")(error))),
    };
    let issuer = match Issuer::from_ca_cert_pem(&material.ca_certificate, key) {
        Ok(issuer) => issuer,
        Err(error) => return Some(Err(failed("CA certificate")(error))),
    };
    Some(serving(profile, now, material.ca_certificate.clone(), ca_key, &issuer))
}

fn serving(
    profile: &Profile,
    now: Timestamp,
    ca_certificate: String,
    ca_key: String,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<Material, IssueError> {
    let key = KeyPair::generate().map_err(failed("serving key"))?;
    let mut params = params(&profile.server_name(), profile.names(), now, profile.lifetime)
        .map_err(failed("serving certificate"))?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, issuer).map_err(failed("serving certificate"))?;
    Ok(Material {
        ca_certificate,
        ca_key: Some(ca_key),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn params(
    name: &str,
    names: Vec<String>,
    now: Timestamp,
    lifetime: Duration,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    // A common name has at most 64 characters; the names that count are the alternative ones.
    params.distinguished_name.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    let now = SystemTime::from(now);
    params.not_before = (now - SKEW).into();
    params.not_after = (now + lifetime).into();
    Ok(params)
}
