//! Statements in an envelope with their signature (DSSE), and the other side: a public key that checks signatures.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{SignError, Signer};
use crate::digest::Digest;

/// Media type of an envelope.
pub const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// What comes before the point in the DER form of every P-256 key.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

impl Signer {
    /// A document in an envelope, signed; nothing if the machine gives no random numbers.
    pub fn envelope(&self, payload_type: &str, payload: &[u8]) -> Option<Value> {
        let signature = self.key.sign(&self.random, &encoded(payload_type, payload)).ok()?;
        Some(json!({
            "payloadType": payload_type,
            "payload": STANDARD.encode(payload),
            "signatures": [{"keyid": key_id(self.public_key()), "sig": STANDARD.encode(signature)}],
        }))
    }
}

/// A key that checks signatures.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// An uncompressed point.
    point: Vec<u8>,
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", key_id(&self.point))
    }
}

impl PublicKey {
    /// Reads a key in PEM, as `openssl pkey -pubout` and `cosign public-key` write it.
    pub fn read(path: &Path) -> Result<PublicKey, SignError> {
        let pem = fs::read(path).map_err(|source| SignError::Read { path: path.to_path_buf(), source })?;
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&pem).ok();
        let point = der.and_then(|der| der.strip_prefix(P256.as_slice()).map(<[u8]>::to_vec));
        match point.filter(|point| point.len() == 65) {
            Some(point) => Ok(PublicKey { point }),
            None => Err(SignError::PublicKey { path: path.to_path_buf() }),
        }
    }

    /// The key that belongs to a signer.
    pub fn of(signer: &Signer) -> PublicKey {
        PublicKey { point: signer.public_key().to_vec() }
    }

    /// Whether a signature is this key's for these bytes.
    pub fn signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(bytes, signature).is_ok()
    }

    /// What is in an envelope, if one of its signatures is this key's.
    pub fn open(&self, envelope: &[u8]) -> Option<Vec<u8>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Envelope {
            payload_type: String,
            payload: String,
            signatures: Vec<Signature>,
        }
        #[derive(Deserialize)]
        struct Signature {
            sig: String,
        }
        let Envelope { payload_type, payload, signatures } = serde_json::from_slice(envelope).ok()?;
        let payload = STANDARD.decode(payload).ok()?;
        let bytes = encoded(&payload_type, &payload);
        let is_ours = |signature: &Signature| {
            STANDARD.decode(&signature.sig).is_ok_and(|signature| self.signed(&bytes, &signature))
        };
        signatures.iter().any(is_ours).then_some(payload)
    }
}

/// What is signed: type and content with their lengths, so that neither can be taken for the other.
fn encoded(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn key_id(point: &[u8]) -> String {
    Digest::of(point).hex().to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

    use super::*;

    /// A signer and the files of its keys.
    fn keys() -> (tempfile::TempDir, Signer) {
        let dir = tempfile::tempdir().unwrap();
        let pair =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        let pem = |kind: &str, der: &[u8]| {
            format!("-----BEGIN {kind} KEY-----\n{}\n-----END {kind} KEY-----\n", STANDARD.encode(der))
        };
        fs::write(dir.path().join("key.pem"), pem("PRIVATE", pair.as_ref())).unwrap();
        let signer = Signer::read(&dir.path().join("key.pem")).unwrap();
        let public = [P256.as_slice(), signer.public_key()].concat();
        fs::write(dir.path().join("key.pub"), pem("PUBLIC", &public)).unwrap();
        (dir, signer)
    }

    #[test]
    fn an_envelope_opens_with_the_key_of_its_signer_only() {
        let (dir, signer) = keys();
        let key = PublicKey::read(&dir.path().join("key.pub")).unwrap();
        assert_eq!(key, PublicKey::of(&signer));
        let envelope = signer.envelope("text/plain", b"hello").unwrap();
        assert_eq!(key.open(envelope.to_string().as_bytes()).as_deref(), Some(b"hello".as_slice()));
        assert_eq!(PublicKey::of(&keys().1).open(envelope.to_string().as_bytes()), None);
        for (field, value) in
            [("payload", json!(STANDARD.encode("hellO"))), ("payloadType", json!("text/html"))]
        {
            let mut changed = envelope.clone();
            changed[field] = value;
            assert_eq!(key.open(changed.to_string().as_bytes()), None, "{field}");
        }
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let (dir, _) = keys();
        let error = PublicKey::read(&dir.path().join("key.pem")).unwrap_err();
        assert!(error.to_string().contains("ECDSA P-256 public key") && error.hint().is_some(), "{error}");
    }
}
