//! Keys and certificates of one cluster: its authority, the API server's certificate, client certificates, kubeconfigs, and
//! the key that signs service account tokens. All of it is ECDSA P-256 (made in under a millisecond) and lives in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};

/// Group whose members may do everything; the admin certificate carries it.
pub const MASTERS: &str = "system:masters";

/// Names by which pods reach the API server.
const SERVICE_NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// What went wrong while making keys or certificates.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate could not be made.
    #[error("make the {what} certificate")]
    Certificate {
        /// Which one.
        what: &'static str,
        /// Why.
        source: rcgen::Error,
    },
    /// The TLS configuration was refused.
    #[error("configure TLS of the API server")]
    Tls(#[from] rustls::Error),
    /// The verifier of client certificates was refused.
    #[error("configure client certificate verification")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A client certificate with its key, both PEM.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Certificate, PEM.
    pub certificate: String,
    /// Private key, PKCS#8 PEM.
    pub key: String,
}

/// The cluster's certificate authority and token key.
pub struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
    token_key: KeyPair,
}

impl Pki {
    /// A fresh authority and token key.
    pub fn generate() -> Result<Self, PkiError> {
        let what = "authority";
        let authority = || {
            let mut params = CertificateParams::default();
            params.distinguished_name = subject("kubernetes-ca", None);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
            lifetime(&mut params);
            CertifiedIssuer::self_signed(params, KeyPair::generate()?)
        };
        let authority = authority().map_err(|source| PkiError::Certificate { what, source })?;
        let token_key =
            KeyPair::generate().map_err(|source| PkiError::Certificate { what: "token key", source })?;
        Ok(Self { authority, token_key })
    }

    /// The authority's certificate, PEM: what clients must trust.
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// The token key: PKCS#8 private key and raw public point.
    pub fn token_key(&self) -> (&[u8], &[u8]) {
        (self.token_key.serialized_der(), self.token_key.public_key_raw())
    }

    /// TLS of the API server: its own certificate; client certificates of this authority accepted, none required.
    pub fn server_config(&self) -> Result<Arc<rustls::ServerConfig>, PkiError> {
        let what = "API server";
        let leaf = || {
            let mut params = CertificateParams::new(SERVICE_NAMES.map(String::from))?;
            for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 96, 0, 1)] {
                params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(address)));
            }
            params.distinguished_name = subject("kube-apiserver", None);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            lifetime(&mut params);
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.authority)?;
            Ok((certificate, key))
        };
        let (certificate, key) = leaf().map_err(|source| PkiError::Certificate { what, source })?;
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone())?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build()?;
        let chain: Vec<CertificateDer<'static>> =
            vec![certificate.der().clone(), self.authority.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A client certificate for `user`, a member of `group`.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Credential, PkiError> {
        let leaf = || {
            let mut params = CertificateParams::default();
            params.distinguished_name = subject(user, group);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            lifetime(&mut params);
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &self.authority)?;
            Ok(Credential { certificate: certificate.pem(), key: key.serialize_pem() })
        };
        leaf().map_err(|source| PkiError::Certificate { what: "client", source })
    }

    /// A kubeconfig (as a JSON value, which is YAML too) for `credential` against `server`, a URL.
    pub fn kubeconfig(&self, server: &str, context: &str, credential: &Credential) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": context, "cluster": {
                "server": server,
                "certificate-authority-data": BASE64.encode(self.ca_pem()),
            }}],
            "users": [{"name": context, "user": {
                "client-certificate-data": BASE64.encode(&credential.certificate),
                "client-key-data": BASE64.encode(&credential.key),
            }}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "current-context": context,
        })
    }
}

fn subject(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, user);
    name
}

/// Fixed years: longer than any cluster of this kind lives, and valid on a machine whose clock is wrong.
fn lifetime(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2049, 1, 1);
}
