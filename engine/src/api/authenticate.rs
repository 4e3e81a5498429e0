//! Authentication: client certificate, service account token, fixed bearer token, or anonymous.

use std::collections::HashMap;

use http::{HeaderMap, header};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::token::Tokens;
use super::user::User;
use crate::status::Status;
use crate::store::Store;

/// The ways in.
pub struct Authenticator {
    /// Issues and checks service account tokens.
    pub tokens: Tokens,
    /// Bearer tokens given to the server at start.
    pub fixed: HashMap<String, User>,
}

impl Authenticator {
    /// The identity behind a request. Credentials that are given and do not hold are an error, never anonymous.
    pub fn authenticate(
        &self,
        store: &Store,
        certificate: Option<&User>,
        headers: &HeaderMap,
    ) -> Result<User, Status> {
        if let Some(user) = certificate {
            return Ok(user.clone());
        }
        let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(User::anonymous()) };
        let value = value.to_str().map_err(|_| Status::unauthorized())?;
        let Some((scheme, token)) = value.split_once(' ') else { return Ok(User::anonymous()) };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(User::anonymous());
        }
        self.bearer(store, token.trim(), &[])
    }

    /// The identity behind a bearer token; `audiences` empty means this API server.
    pub fn bearer(&self, store: &Store, token: &str, audiences: &[&str]) -> Result<User, Status> {
        if let Some(user) = self.fixed.get(token) {
            return Ok(user.clone());
        }
        self.tokens.verify(store, token, audiences).map(|(user, _)| user).map_err(|why| {
            tracing::debug!(%why, "bearer token refused");
            Status::unauthorized()
        })
    }
}

/// The identity in a client certificate the TLS layer has verified: common name, organisations.
pub fn from_certificate(der: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|group| group.as_str().ok()).map(String::from);
    let groups = groups.collect();
    Some(User::authenticated(name, groups))
}
