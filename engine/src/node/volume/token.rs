//! Tokens of the pod's service account, fetched for each audience and renewed before they expire.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection, Volume};
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use crate::node::pod::observed::later;

/// Life of a token whose projection does not say.
const DEFAULT_LIFE: i64 = 3600;

/// However long a token lives, it is renewed once a day.
const LONGEST_USE: Duration = Duration::from_secs(24 * 3600);

/// Audience and life.
type Wish = (String, i64);

/// The tokens of one pod.
#[derive(Debug, Default)]
pub(super) struct Tokens(BTreeMap<Wish, Token>);

#[derive(Debug, Clone)]
struct Token {
    value: String,
    renew: Timestamp,
}

impl Tokens {
    /// Fetches what a volume projects and is not here yet, or is due.
    pub(super) async fn fetch(
        &mut self,
        client: &kube::Client,
        pod: &Pod,
        volume: &Volume,
    ) -> Result<(), String> {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for projection in sources.filter_map(|source| source.service_account_token.as_ref()) {
            let wish = wish(projection);
            if self.0.get(&wish).is_some_and(|token| Timestamp::now() < token.renew) {
                continue;
            }
            let answer = request(client, pod, &wish).await;
            let token = answer.map_err(|error| format!("failed to fetch token: {error}"))?;
            self.0.insert(wish, token.ok_or("failed to fetch token: the answer has none")?);
        }
        Ok(())
    }

    /// The token for a projection, if it has been fetched.
    pub(super) fn get(&self, projection: &ServiceAccountTokenProjection) -> Option<String> {
        self.0.get(&wish(projection)).map(|token| token.value.clone())
    }

    /// When the first of them is due.
    pub(super) fn refresh_due(&self) -> Option<Timestamp> {
        self.0.values().map(|token| token.renew).min()
    }

    /// Adds a token, as if it had been fetched.
    #[cfg(test)]
    pub(super) fn insert(&mut self, audience: &str, life: i64, value: &str) {
        let token = Token { value: value.to_owned(), renew: Timestamp::MAX };
        self.0.insert((audience.to_owned(), life), token);
    }
}

fn wish(projection: &ServiceAccountTokenProjection) -> Wish {
    let audience = projection.audience.clone().unwrap_or_default();
    (audience, projection.expiration_seconds.unwrap_or(DEFAULT_LIFE))
}

async fn request(
    client: &kube::Client,
    pod: &Pod,
    (audience, life): &Wish,
) -> Result<Option<Token>, kube::Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let account = account.unwrap_or_else(|| "default".to_owned());
    let asked = Timestamp::now();
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: [audience].into_iter().filter(|audience| !audience.is_empty()).cloned().collect(),
            expiration_seconds: Some(*life),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(pod.name_any()),
                uid: pod.uid(),
            }),
        },
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(&account, &PostParams::default(), &request).await?;
    Ok(answer.status.map(|status| {
        let lives = status.expiration_timestamp.0.duration_since(asked).unsigned_abs();
        Token { value: status.token, renew: later(asked, lives.mul_f64(0.8).min(LONGEST_USE)) }
    }))
}
