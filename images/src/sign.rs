//! Signatures that `cosign verify --key` accepts: a statement about a digest, signed with an ECDSA P-256 key, under the tag that
//! belongs to the digest. An image that has a signature keeps it.

mod envelope;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use crate::client::{Client, ClientError, Progress, Repository, Source};
use crate::digest::Digest;
use crate::document::{CONFIG, MANIFEST, Manifest, Raw};
use crate::push::{Destination, Pushed};

pub use envelope::{ENVELOPE, PublicKey};

/// Media type of the statement.
pub(crate) const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation with the signature.
pub(crate) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// A key that signs.
pub struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

/// Images could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key's file cannot be read.
    #[error("read the signing key {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is another kind of key, or encrypted.
    #[error("use the signing key {}: it is not an unencrypted ECDSA P-256 key in PKCS#8", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// It is another kind of public key.
    #[error("use the key {}: it is not an ECDSA P-256 public key", path.display())]
    PublicKey {
        /// The file.
        path: PathBuf,
    },
    /// The machine gives no random numbers.
    #[error("sign the image `{image}`: there are no random numbers")]
    Random {
        /// The image.
        image: String,
    },
    /// A document could not be made.
    #[error("describe the signature of `{image}`")]
    Document {
        /// The image.
        image: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The registry does not take it.
    #[error("store the signature of `{image}`")]
    Registry {
        /// The image.
        image: String,
        /// Why.
        source: ClientError,
    },
}

impl SignError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            SignError::Read { .. } | SignError::Key { .. } => Some(
                "make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out cosign.key"
                    .to_string(),
            ),
            SignError::PublicKey { .. } => {
                Some("write it with: openssl pkey -in cosign.key -pubout -out cosign.pub".to_string())
            }
            SignError::Registry { source, .. } => source.hint(),
            SignError::Random { .. } | SignError::Document { .. } => None,
        }
    }
}

impl Signer {
    /// Reads a key in PEM.
    pub fn read(path: &Path) -> Result<Signer, SignError> {
        let pem = fs::read(path).map_err(|source| SignError::Read { path: path.to_path_buf(), source })?;
        let unusable = || SignError::Key { path: path.to_path_buf() };
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).map_err(|_| unusable())?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der(), &random);
        Ok(Signer { key: key.map_err(|_| unusable())?, random })
    }

    /// The public key, as an uncompressed point.
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    /// The statement about an image, its config and its manifest.
    fn sign(&self, image: &str, reference: &str, digest: &Digest) -> Result<[Raw; 3], SignError> {
        let statement = json!({
            "critical": {
                "identity": { "docker-reference": reference },
                "image": { "docker-manifest-digest": digest },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let statement = Raw::new(PAYLOAD, statement.to_string());
        let signature = self.key.sign(&self.random, &statement.bytes);
        let signature = signature.map_err(|_| SignError::Random { image: image.to_string() })?;
        let config = json!({
            "architecture": "", "os": "", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [statement.digest] },
        });
        let config = Raw::new(CONFIG, config.to_string());
        let mut layer = statement.descriptor();
        layer.annotations.insert(SIGNATURE.to_string(), STANDARD.encode(signature));
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_string()),
            artifact_type: None,
            config: config.descriptor(),
            layers: vec![layer],
            subject: None,
            annotations: Default::default(),
        };
        let manifest = Raw::of(MANIFEST, &manifest)
            .map_err(|source| SignError::Document { image: image.to_string(), source })?;
        Ok([statement, config, manifest])
    }
}

/// Signs what was pushed; says how many signatures that made.
pub async fn sign(
    pushed: &Pushed,
    destination: &Destination,
    client: &Client,
    signer: &Signer,
) -> Result<usize, SignError> {
    let mut made = 0;
    for (image, reference) in &pushed.references {
        let failed = |source| SignError::Registry { image: image.clone(), source };
        let repository =
            client.repository(&destination.registry, &destination.repository(image)).map_err(failed)?;
        let Some((name, digest)) = reference.split_once('@') else { continue };
        let Ok(digest) = digest.parse::<Digest>() else { continue };
        let tag = format!("{}-{}.sig", digest.algorithm().name(), digest.hex());
        if repository.head_manifest(&tag).await.map_err(failed)?.is_some() {
            continue;
        }
        let [statement, config, manifest] = signer.sign(image, name, &digest)?;
        for blob in [statement, config] {
            store(&repository, &blob).await.map_err(failed)?;
        }
        repository.put_manifest(&manifest, &[&tag]).await.map_err(failed)?;
        made += 1;
    }
    Ok(made)
}

async fn store(repository: &Repository, blob: &Raw) -> Result<(), ClientError> {
    if repository.head_blob(&blob.digest).await?.is_none() {
        let nobody: Progress = Arc::new(|_| ());
        repository.push_blob(&blob.descriptor(), &Source::Bytes(blob.bytes.clone()), None, &nobody).await?;
    }
    Ok(())
}
