//! Asking the API server who a token belongs to and what that user may do with this service.

use std::time::Instant;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;

use super::cache::Cache;
use super::{User, Verb};

/// Asks the API server.
#[derive(Debug)]
pub struct KubernetesAuthorizer {
    client: ClientBox,
    namespace: String,
    service: String,
    cache: Cache,
}

/// A client that says nothing about itself in logs.
struct ClientBox(Client);

impl std::fmt::Debug for ClientBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

/// A request is not let through.
#[derive(Debug, Error)]
pub(super) enum ReviewError {
    #[error("the token is not accepted")]
    Unauthenticated,
    #[error("`{user}` may not: {reason}")]
    Forbidden { user: String, reason: String },
    #[error(transparent)]
    Api(#[from] kube::Error),
}

impl KubernetesAuthorizer {
    /// Callers need a right to Service `service` in `namespace`.
    pub fn new(client: Client, namespace: String, service: String) -> Self {
        Self { client: ClientBox(client), namespace, service, cache: Cache::default() }
    }

    /// What a right is needed to.
    pub(super) fn resource(&self) -> String {
        format!("services/{} in namespace {}", self.service, self.namespace)
    }

    /// Whose `token` is, if that user may `verb` this service.
    pub(super) async fn review(&self, token: &str, verb: Verb) -> Result<User, ReviewError> {
        if let Some(user) = self.cache.get(token, verb, Instant::now()) {
            return Ok(user);
        }
        let identity = self.authenticate(token).await?;
        let name = identity.username.clone().filter(|name| !name.is_empty());
        let user = User(name.ok_or(ReviewError::Unauthenticated)?);
        self.authorize(identity, verb).await?;
        self.cache.put(token, verb, user.clone(), Instant::now());
        Ok(user)
    }

    async fn authenticate(&self, token: &str) -> Result<UserInfo, ReviewError> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() },
            ..TokenReview::default()
        };
        let reviews: Api<TokenReview> = Api::all(self.client.0.clone());
        let status = reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        match (status.authenticated, status.user) {
            (Some(true), Some(user)) => Ok(user),
            _ => Err(ReviewError::Unauthenticated),
        }
    }

    async fn authorize(&self, identity: UserInfo, verb: Verb) -> Result<(), ReviewError> {
        let UserInfo { extra, groups, uid, username } = identity;
        let user = username.clone().unwrap_or_default();
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: username,
                uid,
                groups,
                extra,
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.namespace.clone()),
                    verb: Some(verb.as_str().to_owned()),
                    resource: Some("services".to_owned()),
                    name: Some(self.service.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.0.clone());
        let status = reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        match status.allowed && status.denied != Some(true) {
            true => Ok(()),
            false => Err(ReviewError::Forbidden { user, reason: status.reason.unwrap_or_default() }),
        }
    }
}
