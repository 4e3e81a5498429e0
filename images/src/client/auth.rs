//! Challenges and tokens: what a registry asks for, what we answer, remembered per registry.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::answer::{limited, shown};
use super::credentials::Credential;
use super::error::ClientError;
use super::host::Host;
use super::{Scopes, redirect};

/// A token says for how long it is good; if not, for this long.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
/// A token is not used in its last seconds.
const MARGIN: Duration = Duration::from_secs(10);
const TOKEN_LIMIT: usize = 1 << 20;

/// How a registry wants us to show who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// What was learned about one registry.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Nothing until it first asks.
    challenge: Option<Challenge>,
    tokens: BTreeMap<Scopes, Token>,
}

#[derive(Debug)]
struct Token {
    header: HeaderValue,
    until: Instant,
}

impl Known {
    /// The header to send along, if the registry wants one; gets a token where there is none for these scopes.
    pub async fn authorization(
        &mut self,
        host: &Host,
        scopes: &Scopes,
    ) -> Result<Option<HeaderValue>, ClientError> {
        match self.challenge.clone() {
            None => Ok(None),
            Some(Challenge::Basic) => basic(host, scopes).await,
            Some(Challenge::Bearer { realm, service, .. }) => {
                let now = Instant::now();
                if let Some(token) = self.tokens.get(scopes).filter(|token| token.until > now) {
                    return Ok(Some(token.header.clone()));
                }
                let token = fetch(host, &realm, service.as_deref(), scopes).await?;
                let header = token.header.clone();
                self.tokens.insert(scopes.clone(), token);
                Ok(Some(header))
            }
        }
    }

    /// Takes a challenge in. `used` is what was refused: a token that is still the remembered one is forgotten. Returns the scopes to ask
    /// for from now on, those of the challenge included.
    pub fn challenged(
        &mut self,
        headers: &HeaderMap,
        scopes: &Scopes,
        used: Option<&HeaderValue>,
    ) -> Option<Scopes> {
        let challenge = challenge(headers)?;
        let mut wanted = scopes.clone();
        if let Challenge::Bearer { scope: Some(scope), .. } = &challenge {
            wanted.0.extend(scope.split(' ').filter(|scope| !scope.is_empty()).map(str::to_string));
        }
        self.challenge = Some(challenge);
        if self.tokens.get(&wanted).is_some_and(|token| Some(&token.header) == used) {
            self.tokens.remove(&wanted);
        }
        Some(wanted)
    }
}

async fn basic(host: &Host, scopes: &Scopes) -> Result<Option<HeaderValue>, ClientError> {
    match host.credential(scopes).await? {
        Some(Credential::Password { user, password }) => Ok(Some(basic_header(&user, &password))),
        Some(Credential::IdentityToken(token) | Credential::RegistryToken(token)) => {
            Ok(bearer_header(&token))
        }
        None => Ok(None),
    }
}

/// Asks the token server, by OAuth2 with a refresh token, else the older way.
async fn fetch(
    host: &Host,
    realm: &str,
    service: Option<&str>,
    scopes: &Scopes,
) -> Result<Token, ClientError> {
    let failed = |problem: String| ClientError::Token {
        registry: host.name.clone(),
        realm: realm.parse().map_or_else(|_| realm.to_string(), |url| shown(&url)),
        problem,
    };
    let url = token_server(host, realm).map_err(failed)?;
    let credential = host.credential(scopes).await?;
    let mut request = match &credential {
        Some(Credential::RegistryToken(token)) => {
            let header = bearer_header(token)
                .ok_or_else(|| failed("the configured token is malformed".to_string()))?;
            return Ok(Token { header, until: Instant::now() + DEFAULT_LIFETIME });
        }
        Some(Credential::IdentityToken(token)) => {
            let scope = scopes.to_string();
            let mut form = vec![
                ("grant_type", "refresh_token"),
                ("refresh_token", token.as_str()),
                ("client_id", "slipway"),
                ("scope", &scope),
            ];
            form.extend(service.map(|service| ("service", service)));
            let mut encoded = url.clone();
            encoded.query_pairs_mut().clear().extend_pairs(form);
            let body = encoded.query().unwrap_or_default().to_string();
            host.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(body)
        }
        Some(Credential::Password { .. }) | None => {
            let mut url = url;
            let mut query = url.query_pairs_mut();
            query.extend_pairs(service.map(|service| ("service", service)));
            query.extend_pairs(scopes.0.iter().map(|scope| ("scope", scope.as_str())));
            drop(query);
            host.http.get(url)
        }
    };
    if let Some(Credential::Password { user, password }) = &credential {
        request = request.header(AUTHORIZATION, basic_header(user, password));
    }
    let response = request
        .timeout(host.silence)
        .send()
        .await
        .map_err(|error| failed(error.without_url().to_string()))?;
    let status = response.status();
    // A redirect is not followed: it would carry the answer, or the credentials, somewhere nobody named.
    if !status.is_success() {
        let with_credentials = if credential.is_some() { "" } else { "; no credentials were sent" };
        return Err(failed(format!("it answers {status}{with_credentials}")));
    }
    let body = limited(response, "the token", TOKEN_LIMIT).await?;
    // The answer is a secret, so errors must not quote it.
    let answer: Answer =
        serde_json::from_slice(&body).map_err(|_| failed("its answer is not JSON".to_string()))?;
    let Answer { token, access_token, expires_in } = answer;
    let token = token.filter(|token| !token.is_empty()).or(access_token).unwrap_or_default();
    let header = bearer_header(&token).ok_or_else(|| failed("its answer has no usable token".to_string()))?;
    let lifetime = expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
    Ok(Token {
        header,
        until: Instant::now() + lifetime.saturating_sub(MARGIN).min(Duration::from_secs(86_400)),
    })
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Checks where a registry sends us for a token: credentials will go there.
fn token_server(host: &Host, realm: &str) -> Result<Url, String> {
    let url: Url = realm.parse().map_err(|_| "that is not an address".to_string())?;
    match redirect::check(&host.base, &url, host.private_redirects) {
        Ok(_) => Ok(url),
        Err(ClientError::Redirect { problem, .. }) => Err(problem.to_string()),
        Err(other) => Err(other.to_string()),
    }
}

/// The challenge to answer: a bearer token if that is offered.
fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenges: Vec<Challenge> = values.flat_map(parse).collect();
    let bearer = challenges.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(challenges.first()).cloned()
}

/// Reads one header, which may hold several challenges: `Bearer realm="…",scope="a,b", Basic realm="…"`.
fn parse(value: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let word = rest[..end].to_ascii_lowercase();
        let after = &rest[end..];
        if let Some(after) = after.strip_prefix('=') {
            let (value, after) = quoted(after);
            if let Some((_, parameters)) = found.last_mut() {
                parameters.insert(word, value);
            }
            rest = after;
        } else {
            if !word.is_empty() {
                found.push((word, BTreeMap::new()));
            }
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    found
        .into_iter()
        .filter_map(|(scheme, mut parameters)| match scheme.as_str() {
            "basic" => Some(Challenge::Basic),
            "bearer" => Some(Challenge::Bearer {
                realm: parameters.remove("realm")?,
                service: parameters.remove("service"),
                scope: parameters.remove("scope"),
            }),
            _ => None,
        })
        .collect()
}

/// A value with or without quotes, and what comes after it.
fn quoted(text: &str) -> (String, &str) {
    let Some(inside) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_string(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = inside.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return (value, &inside[position + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn basic_header(user: &str, password: &str) -> HeaderValue {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    // Base64 is always a legal header value.
    secret(&text).unwrap_or_else(|| HeaderValue::from_static(""))
}

fn bearer_header(token: &str) -> Option<HeaderValue> {
    let token = token.trim();
    if token.is_empty() { None } else { secret(&format!("Bearer {token}")) }
}

/// A header value that is never printed.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: &str| text.to_string();
        Challenge::Bearer { realm: owned(realm), service: service.map(owned), scope: scope.map(owned) }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let check = |value: &str, expected: Vec<Challenge>| assert_eq!(parse(value), expected, "{value}");
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let scope = Some("repository:a/b:pull,push");
        check(docker, vec![bearer("https://auth.docker.io/token", Some("registry.docker.io"), scope)]);
        check("Basic realm=\"r\"", vec![Challenge::Basic]);
        check("basic", vec![Challenge::Basic]);
        check("BEARER Realm=https://a/t , Service=s", vec![bearer("https://a/t", Some("s"), None)]);
        check(
            r#"Negotiate, Basic realm="x, y", Bearer realm="a\"b""#,
            vec![Challenge::Basic, bearer("a\"b", None, None)],
        );
        check("Bearer service=\"without realm\"", vec![]);
        for broken in ["", ",,,", "=", "\"", "Bearer realm=\"unterminated"] {
            parse(broken);
        }
    }

    #[test]
    fn a_bearer_challenge_is_preferred() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"r\""));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"https://a/\""));
        assert_eq!(challenge(&headers), Some(bearer("https://a/", None, None)));
        assert_eq!(challenge(&HeaderMap::new()), None);
    }
}
