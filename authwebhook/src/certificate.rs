//! The serving certificate: made here, kept in a Secret that all replicas share, renewed in time.

mod bundle;
mod check;
mod issue;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use rustls::sign::CertifiedKey;
use thiserror::Error;

pub use bundle::Bundle;
pub(crate) use check::roots;
pub use check::{Unusable, check};
pub use issue::{IssueError, issue, reissue};
pub use secret::{SecretError, Source, ensure};

/// What the certificate is for, and how long it lasts.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Name of the Service.
    pub service: String,
    /// Namespace of the Service.
    pub namespace: String,
    /// Of the serving certificate.
    pub lifetime: Duration,
    /// Of the CA that signs it.
    pub ca_lifetime: Duration,
}

impl Profile {
    /// The name by which the API server connects.
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    /// Every name the certificate is good for.
    pub fn names(&self) -> Vec<String> {
        let server_name = self.server_name();
        vec![server_name.clone(), format!("{server_name}.cluster.local")]
    }

    /// A serving certificate with less left is renewed.
    pub fn renew_before(&self) -> Duration {
        self.lifetime / 3
    }
}

/// Key and certificates as PEM, as the Secret holds them.
#[derive(Clone, PartialEq, Eq)]
pub struct Material {
    /// Certificates that sign serving certificates.
    pub ca_certificate: String,
    /// Key of the CA; absent when somebody else provides the Secret.
    pub ca_key: Option<String>,
    /// Serving certificate, with intermediates if any.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Material").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Material that passed [`check`].
#[derive(Clone, Debug)]
pub struct Usable {
    /// As the Secret holds it.
    pub material: Material,
    /// As the listener uses it.
    pub certified_key: Arc<CertifiedKey>,
    /// When it ends.
    pub not_after: jiff::Timestamp,
}

/// A PEM text that does not hold what it should.
#[derive(Debug, Error)]
#[error("`{field}` holds no {expected}")]
pub struct PemError {
    /// Key in the Secret.
    pub field: &'static str,
    /// What it should hold.
    pub expected: &'static str,
}
