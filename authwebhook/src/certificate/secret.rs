//! The Secret that all replicas share: the first one creates it, the others adopt it, any of them renews it.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;
use tracing::{info, warn};

use super::check::ca_not_after;
use super::{IssueError, Material, Profile, Unusable, Usable, check, issue, reissue};

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const CA_CERTIFICATE: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "authwebhook");
/// Replicas that start together meet here; more rounds mean that something else keeps writing.
const ROUNDS: usize = 5;

/// Who makes the certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// This webhook makes and renews it.
    #[default]
    Own,
    /// Somebody else does, for example cert-manager: the Secret is only read, and waited for. It has to hold `ca.crt`.
    Provided,
}

/// The Secret cannot be brought to hold a usable certificate.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The API server refused.
    #[error("cannot {attempt} Secret `{name}`")]
    Api {
        /// `read`, `create` or `update`.
        attempt: &'static str,
        /// Of the Secret.
        name: String,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// Somebody else provides it, and it is not good.
    #[error(
        "Secret `{name}` is provided by somebody else and cannot be used; mend it, or delete it to have a new one made"
    )]
    Foreign {
        /// Of the Secret.
        name: String,
        /// What is wrong with it.
        source: Unusable,
    },
    /// Somebody else has to provide it, and has not yet.
    #[error("Secret `{name}` is not there yet: `--certificate-source=provided` waits for it")]
    Missing {
        /// Of the Secret.
        name: String,
    },
    /// A certificate could not be made.
    #[error("cannot renew the certificate in Secret `{name}`")]
    Issue {
        /// Of the Secret.
        name: String,
        /// What failed.
        source: IssueError,
    },
    /// Others kept changing it.
    #[error("Secret `{name}` was changed by somebody else {ROUNDS} times in a row")]
    Contended {
        /// Of the Secret.
        name: String,
    },
}

/// The certificate in Secret `name`, made or renewed if necessary.
pub async fn ensure(
    client: Client,
    name: &str,
    profile: &Profile,
    source: Source,
) -> Result<Usable, SecretError> {
    let secrets: Api<Secret> = Api::namespaced(client, &profile.namespace);
    let failed =
        |attempt| move |source| SecretError::Api { attempt, name: name.to_owned(), source: Box::new(source) };
    for _ in 0..ROUNDS {
        let now = Timestamp::now();
        let present = secrets.get_opt(name).await.map_err(failed("read"))?;
        let written = match next(name, profile, source, present.as_ref(), now)? {
            Next::Use(usable) => return Ok(usable),
            Next::Create(secret) => {
                info!(secret = name, "creating the certificate");
                secrets.create(&PostParams::default(), &secret).await.map(drop).map_err(failed("create"))
            }
            Next::Update { secret, because } => {
                warn!(secret = name, %because, "renewing the certificate");
                secrets
                    .replace(name, &PostParams::default(), &secret)
                    .await
                    .map(drop)
                    .map_err(failed("update"))
            }
        };
        match written {
            // Read it back: what counts is what all replicas see.
            Ok(()) => {}
            Err(SecretError::Api { source, .. }) if is_race(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Err(SecretError::Contended { name: name.to_owned() })
}

/// Another replica was faster.
fn is_race(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 404 | 409))
}

enum Next {
    Use(Usable),
    Create(Box<Secret>),
    Update { secret: Box<Secret>, because: Unusable },
}

/// What to do about the Secret as it is. Pure.
fn next(
    name: &str,
    profile: &Profile,
    source: Source,
    present: Option<&Secret>,
    now: Timestamp,
) -> Result<Next, SecretError> {
    let failed = |source| SecretError::Issue { name: name.to_owned(), source };
    let Some(present) = present else {
        if source == Source::Provided {
            return Err(SecretError::Missing { name: name.to_owned() });
        }
        let material = issue(profile, now).map_err(failed)?;
        return Ok(Next::Create(Box::new(secret(name, profile, &material))));
    };
    let material = material(present);
    let because = match (check(&material, profile, now), source) {
        (Ok(usable), _) => return Ok(Next::Use(usable)),
        // Whoever provides it renews it when they see fit: what is still valid is used.
        (Err(Unusable::EndsSoon { not_after }), Source::Provided) if not_after > now => {
            let lenient = Profile { lifetime: Duration::ZERO, ..profile.clone() };
            match check(&material, &lenient, now) {
                Ok(usable) => return Ok(Next::Use(usable)),
                Err(because) => because,
            }
        }
        (Err(because), _) => because,
    };
    let empty = present.data.as_ref().is_none_or(BTreeMap::is_empty);
    let ours = present.metadata.labels.iter().flatten().any(|(key, value)| (&**key, &**value) == MANAGED_BY);
    if source == Source::Provided && empty {
        return Err(SecretError::Missing { name: name.to_owned() });
    }
    if source == Source::Provided || !ours && !empty {
        return Err(SecretError::Foreign { name: name.to_owned(), source: because });
    }
    // A CA that would end before a certificate of it is made anew with it.
    let ca_lasts = ca_not_after(&material.ca_certificate).is_ok_and(|end| end > now + profile.lifetime);
    let renewed = if because.ca_is_good() && ca_lasts { reissue(profile, &material, now) } else { None };
    let renewed = match renewed.and_then(Result::ok).filter(|renewed| check(renewed, profile, now).is_ok()) {
        Some(renewed) => renewed,
        None => issue(profile, now).map_err(failed)?,
    };
    let mut secret = secret(name, profile, &renewed);
    secret.metadata.resource_version.clone_from(&present.metadata.resource_version);
    secret.metadata.uid.clone_from(&present.metadata.uid);
    secret.type_.clone_from(&present.type_);
    Ok(Next::Update { secret: Box::new(secret), because })
}

fn material(secret: &Secret) -> Material {
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())
    };
    Material {
        ca_certificate: text(CA_CERTIFICATE).unwrap_or_default(),
        ca_key: text(CA_KEY),
        certificate: text(CERTIFICATE).unwrap_or_default(),
        key: text(KEY).unwrap_or_default(),
    }
}

fn secret(name: &str, profile: &Profile, material: &Material) -> Secret {
    let Material { ca_certificate, ca_key, certificate, key } = material.clone();
    let mut data = BTreeMap::from([
        (CA_CERTIFICATE.to_owned(), ByteString(ca_certificate.into_bytes())),
        (CERTIFICATE.to_owned(), ByteString(certificate.into_bytes())),
        (KEY.to_owned(), ByteString(key.into_bytes())),
    ]);
    data.extend(ca_key.map(|key| (CA_KEY.to_owned(), ByteString(key.into_bytes()))));
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(profile.namespace.clone()),
            labels: Some(BTreeMap::from([(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned())])),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn profile() -> Profile {
        Profile {
            service: "authwebhook".into(),
            namespace: "kubernaut-system".into(),
            lifetime: DAY * 90,
            ca_lifetime: DAY * 900,
        }
    }

    fn now() -> Timestamp {
        "2026-01-10T12:00:00Z".parse().unwrap()
    }

    fn created() -> Secret {
        match next("tls", &profile(), Source::Own, None, now()).unwrap() {
            Next::Create(secret) => *secret,
            _ => panic!("an absent Secret is created"),
        }
    }

    fn updated(present: &Secret, now: Timestamp) -> Secret {
        match next("tls", &profile(), Source::Own, Some(present), now).unwrap() {
            Next::Update { secret, .. } => *secret,
            _ => panic!("an unusable Secret is updated"),
        }
    }

    #[test]
    fn a_good_secret_is_adopted_whoever_made_it() {
        let mut secret = created();
        assert!(matches!(next("tls", &profile(), Source::Own, Some(&secret), now()), Ok(Next::Use(_))));
        secret.metadata.labels = None;
        secret.data.as_mut().unwrap().remove(CA_KEY);
        assert!(matches!(next("tls", &profile(), Source::Own, Some(&secret), now()), Ok(Next::Use(_))));
    }

    #[test]
    fn a_certificate_that_ends_soon_is_renewed_by_the_same_ca() {
        let old = created();
        let later = now() + DAY * 61;
        let new = updated(&old, later);
        assert_eq!(material(&new).ca_certificate, material(&old).ca_certificate);
        assert!(check(&material(&new), &profile(), later).is_ok());
    }

    #[test]
    fn a_ca_that_ends_soon_is_made_anew() {
        let old = created();
        let later = now() + DAY * 890;
        let new = updated(&old, later);
        assert_ne!(material(&new).ca_certificate, material(&old).ca_certificate);
        assert!(check(&material(&new), &profile(), later).is_ok());
    }

    #[test]
    fn a_replaced_ca_or_an_emptied_secret_is_mended() {
        let mut replaced = created();
        replaced.metadata.resource_version = Some("7".into());
        let other = created().data.unwrap().remove(CA_CERTIFICATE).unwrap();
        replaced.data.as_mut().unwrap().insert(CA_CERTIFICATE.into(), other);
        let mended = updated(&replaced, now());
        assert_eq!(mended.metadata.resource_version.as_deref(), Some("7"));
        assert!(check(&material(&mended), &profile(), now()).is_ok());

        let emptied = Secret { data: None, metadata: ObjectMeta::default(), ..created() };
        assert!(check(&material(&updated(&emptied, now())), &profile(), now()).is_ok());
    }

    #[test]
    fn a_bad_secret_of_somebody_else_is_named_and_left_alone() {
        let mut foreign = created();
        foreign.metadata.labels = None;
        foreign.data.as_mut().unwrap().remove(KEY);
        let error = next("tls", &profile(), Source::Own, Some(&foreign), now()).map(drop).unwrap_err();
        assert!(error.to_string().contains("delete it"), "{error}");
    }

    #[test]
    fn a_secret_that_somebody_provides_is_waited_for_used_to_its_end_and_never_written() {
        let provided =
            |present: Option<&Secret>, now| next("tls", &profile(), Source::Provided, present, now);
        assert!(matches!(provided(None, now()), Err(SecretError::Missing { .. })));
        let empty = Secret { data: None, ..created() };
        assert!(matches!(provided(Some(&empty), now()), Err(SecretError::Missing { .. })));
        let good = created();
        assert!(matches!(provided(Some(&good), now()), Ok(Next::Use(_))));
        assert!(matches!(provided(Some(&good), now() + DAY * 89), Ok(Next::Use(_))));
        assert!(matches!(provided(Some(&good), now() + DAY * 91), Err(SecretError::Foreign { .. })));
    }
}
