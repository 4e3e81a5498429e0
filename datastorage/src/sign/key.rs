//! The key that signs, with its certificate: a directory shaped like a Kubernetes TLS Secret.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use thiserror::Error;

const KEY: &str = "tls.key";
const CERTIFICATE: &str = "tls.crt";
/// What can be signed with, and what the contract calls it.
pub(super) const ALGORITHMS: [(SignatureScheme, &str); 3] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, "SHA256withECDSA"),
    (SignatureScheme::RSA_PKCS1_SHA256, "SHA256withRSA"),
    (SignatureScheme::ED25519, "Ed25519"),
];

/// There is no key to sign with.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A file cannot be read or made.
    #[error("cannot {attempt} `{}`", path.display())]
    File {
        /// `read` or `create`.
        attempt: &'static str,
        /// Of the key or the certificate.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{}` holds no {expected}", path.display())]
    Pem {
        /// Of the key or the certificate.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The key cannot be made.
    #[error("cannot make a signing key")]
    Make(#[from] rcgen::Error),
    /// The key cannot sign.
    #[error("the signing key cannot be used")]
    Use(#[from] rustls::Error),
    /// The key is of a kind that no auditor would expect.
    #[error("the signing key is neither ECDSA P-256, RSA nor Ed25519")]
    Algorithm,
}

/// A key that signs, and the certificate that belongs to it.
#[derive(Clone, Debug)]
pub struct SigningKey {
    key: Arc<dyn rustls::sign::SigningKey>,
    scheme: SignatureScheme,
    /// As PEM.
    pub certificate: String,
    /// SHA-256 of the certificate's DER, in hexadecimal with colons.
    pub fingerprint: String,
    /// What the contract calls the algorithm.
    pub algorithm: &'static str,
}

impl SigningKey {
    /// The key in `directory`; made there if there is none.
    pub fn open(directory: &Path) -> Result<Self, KeyError> {
        let (key, certificate) = (directory.join(KEY), directory.join(CERTIFICATE));
        if !key.exists() && !certificate.exists() {
            make(directory, &key, &certificate)?;
        }
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| KeyError::File {
                attempt: "read",
                path: path.to_owned(),
                source,
            })
        };
        let pem = |path: &Path, expected| KeyError::Pem { path: path.to_owned(), expected };
        let (key_text, certificate_text) = (read(&key)?, read(&certificate)?);
        let key = PrivateKeyDer::from_pem_slice(key_text.as_bytes()).map_err(|_| pem(&key, "private key"))?;
        let der = CertificateDer::from_pem_slice(certificate_text.as_bytes())
            .map_err(|_| pem(&certificate, "certificate"))?;
        let key = any_supported_type(&key)?;
        let (scheme, algorithm) = ALGORITHMS
            .into_iter()
            .find(|(scheme, _)| key.choose_scheme(&[*scheme]).is_some())
            .ok_or(KeyError::Algorithm)?;
        Ok(Self { key, scheme, fingerprint: fingerprint(&der), certificate: certificate_text, algorithm })
    }

    /// The signature of `message`, base64.
    pub fn sign(&self, message: &[u8]) -> Result<String, KeyError> {
        let signer = self.key.choose_scheme(&[self.scheme]).ok_or(KeyError::Algorithm)?;
        Ok(STANDARD.encode(signer.sign(message)?))
    }
}

/// SHA-256 of a certificate's DER, in hexadecimal with colons.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let bytes = Sha256::digest(certificate);
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// An ECDSA P-256 key and a certificate by itself. The key is written last: with it the pair is complete.
fn make(directory: &Path, key: &Path, certificate: &Path) -> Result<(), KeyError> {
    let created = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::File { attempt: "create", path, source }
    };
    fs::create_dir_all(directory).map_err(created(directory))?;
    let pair = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "datastorage audit export");
    let own = params.self_signed(&pair)?;
    fs::write(certificate, own.pem()).map_err(created(certificate))?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(key).map_err(created(key))?;
    file.write_all(pair.serialize_pem().as_bytes()).and_then(|()| file.sync_all()).map_err(created(key))
}
