//! Who asks, and whether they may. With `--authorize` the API server says both: TokenReview, then SubjectAccessReview on this
//! service. Without, whoever stands in front of the service says who asks, in a header.

mod cache;
mod kubernetes;

use std::sync::Arc;

use api::problem::Problem;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

pub use self::kubernetes::KubernetesAuthorizer;
use self::kubernetes::ReviewError;
use super::Service;
use super::answer::Failure;

/// Who asks, as a proxy in front of the service says; not believed with `--authorize`.
const USER_HEADER: HeaderName = HeaderName::from_static("x-auth-request-user");
/// Longest name; longer ones are not anybody's.
const MAX_USER: usize = 255;

/// How callers are judged.
#[derive(Debug)]
pub enum Authorization {
    /// Anybody may do anything.
    Open,
    /// The API server decides.
    Kubernetes(Box<KubernetesAuthorizer>),
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User(pub(super) String);

/// What is to be done, as RBAC calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Verb {
    Get,
    Create,
    Update,
}

impl Verb {
    /// Holds and the status of catalog entries are changes of what is there; the rest reads or adds.
    fn of(method: &Method, path: &str) -> Self {
        match *method {
            Method::GET | Method::HEAD => Self::Get,
            Method::POST if !path.ends_with("/legal-hold") => Self::Create,
            _ => Self::Update,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Create => "create",
            Self::Update => "update",
        }
    }
}

/// Lets a request of the API through, with its [`User`] if that is known.
pub(super) async fn check(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let judged = match &service.authorization {
        Authorization::Open => Ok(claimed(request.headers())),
        Authorization::Kubernetes(kubernetes) => {
            let verb = Verb::of(request.method(), request.uri().path());
            let judged = judge(kubernetes, request.headers(), verb).await;
            service.metrics.authorized(match &judged {
                Ok(_) => "allowed",
                Err(failure) => failure.outcome(),
            });
            judged.map(Some)
        }
    };
    match judged {
        Ok(user) => {
            if let Some(user) = user {
                request.extensions_mut().insert(user);
            }
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

/// The user, for what has to be attributed to somebody.
pub(super) fn required(user: Option<User>) -> Result<String, Failure> {
    let detail = "say who asks: a bearer token with `--authorize`, else the header X-Auth-Request-User";
    user.map(|User(name)| name).ok_or_else(|| unauthorized(detail))
}

fn claimed(headers: &HeaderMap) -> Option<User> {
    let name = headers.get(USER_HEADER)?.to_str().ok()?.trim();
    (1..=MAX_USER).contains(&name.len()).then(|| User(name.to_owned()))
}

async fn judge(kubernetes: &KubernetesAuthorizer, headers: &HeaderMap, verb: Verb) -> Result<User, Failure> {
    let token = bearer(headers).ok_or_else(|| unauthorized("send `Authorization: Bearer <token>`"))?;
    kubernetes.review(token, verb).await.map_err(|error| match error {
        ReviewError::Unauthenticated => unauthorized("the API server does not accept the token"),
        ReviewError::Forbidden { user, .. } => {
            let detail = format!("`{user}` may not {} {}", verb.as_str(), kubernetes.resource());
            Problem::new(403, "forbidden", "Forbidden", detail).into()
        }
        ReviewError::Api(error) => {
            let detail = format!("the API server could not be asked who this is: {error}");
            Problem::new(503, "service-unavailable", "Service unavailable", detail).with("retry", true).into()
        }
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let sent = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = sent.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim())
}

fn unauthorized(detail: &str) -> Failure {
    Problem::new(401, "unauthorized", "Unauthorized", detail).into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn verbs_follow_what_a_request_does() {
        for (method, path, verb) in [
            (Method::GET, "/api/v1/audit/events", Verb::Get),
            (Method::POST, "/api/v1/audit/events", Verb::Create),
            (Method::POST, "/api/v1/audit/legal-hold", Verb::Update),
            (Method::DELETE, "/api/v1/audit/legal-hold/rr-1", Verb::Update),
            (Method::PATCH, "/api/v1/workflows/1", Verb::Update),
            (Method::PUT, "/api/v1/workflows/1", Verb::Update),
        ] {
            assert_eq!(Verb::of(&method, path), verb, "{method} {path}");
        }
    }

    #[test]
    fn a_name_is_taken_from_the_header_if_it_is_one() {
        let name = |value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(USER_HEADER, HeaderValue::from_bytes(value).unwrap());
            claimed(&headers).map(|User(name)| name)
        };
        assert_eq!(name(b"alice@example.com").as_deref(), Some("alice@example.com"));
        assert_eq!(name(b"  "), None);
        assert_eq!(name(&[0xff]), None);
        assert_eq!(name("x".repeat(256).as_bytes()), None);
        assert_eq!(claimed(&HeaderMap::new()), None);
    }
}
