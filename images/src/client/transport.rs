//! One request until it is answered for good: shown in, repeated when the registry says "not now", redirected where that is allowed.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};

use super::answer::{limited, location, protocol, refusal, refused, shown};
use super::error::ClientError;
use super::host::{Action, Host};
use super::retry::{self, Trouble};
use super::{Client, Options, Scopes, redirect};

/// Redirects followed for one request.
const REDIRECTS: usize = 10;
/// Times a registry may ask for other credentials during one request.
const CHALLENGES: usize = 2;
/// Bytes a second below which an upload is taken for stuck. What has arrived is not sent again.
const SLOWEST: u64 = 32 << 10;

/// What is sent along.
#[derive(Clone)]
pub(super) enum Payload {
    Nothing,
    Bytes(Bytes),
}

/// A request that may be sent more than once.
pub(super) struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub payload: Payload,
    pub scopes: Scopes,
    pub action: Action,
}

impl Request {
    pub fn new(method: Method, url: Url, scopes: Scopes, action: Action) -> Request {
        Request { method, url, headers: HeaderMap::new(), payload: Payload::Nothing, scopes, action }
    }
}

/// An answer read to its end: a success, or 404.
pub(super) struct Fetched {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub url: Url,
    pub body: Bytes,
}

/// How one attempt ended without an answer for good.
pub(super) struct Failed {
    pub trouble: Trouble,
    pub error: ClientError,
}

impl Client {
    /// Sends a request, again and again if need be. The answer may be any status that will not change by repeating.
    pub(super) async fn send(&self, host: &Host, request: Request) -> Result<Response, ClientError> {
        let mut attempt = 1;
        loop {
            match self.attempt(host, &request).await? {
                Ok(response) => return Ok(response),
                Err(failed) => attempt = self.next_attempt(host, request.action, attempt, failed).await?,
            }
        }
    }

    /// Sends a request and reads what comes back, at most `limit` bytes of it.
    pub(super) async fn fetch(
        &self,
        host: &Host,
        request: Request,
        what: &str,
        limit: usize,
    ) -> Result<Fetched, ClientError> {
        let mut attempt = 1;
        loop {
            let failed = match self.attempt(host, &request).await? {
                Ok(response) => {
                    let (status, headers, url) =
                        (response.status(), response.headers().clone(), response.url().clone());
                    if !status.is_success() && status != StatusCode::NOT_FOUND {
                        return Err(refused(host, &request.method, response).await);
                    }
                    match limited(response, what, limit).await {
                        Ok(body) => return Ok(Fetched { status, headers, url, body }),
                        Err(error @ ClientError::Connection { .. }) => {
                            Failed { trouble: Trouble::Connection, error }
                        }
                        Err(error) => return Err(error),
                    }
                }
                Err(failed) => failed,
            };
            attempt = self.next_attempt(host, request.action, attempt, failed).await?;
        }
    }

    /// Waits before the next attempt and gives its number; the error, if there is none.
    pub(super) async fn next_attempt(
        &self,
        host: &Host,
        action: Action,
        attempt: u32,
        failed: Failed,
    ) -> Result<u32, ClientError> {
        let Options { attempts, pause, longest_wait, .. } = self.options();
        let Failed { trouble, error } = failed;
        if attempt >= *attempts {
            return Err(error);
        }
        if let Trouble::Status { wait: Some(wait), .. } = trouble
            && wait > *longest_wait
        {
            return Err(ClientError::RateLimited { registry: host.name.clone(), wait });
        }
        let wait = retry::pause(trouble, attempt + 1, *pause, retry::roll());
        tracing::debug!(registry = host.name, attempt, ?wait, %error, "trying again");
        match trouble {
            Trouble::Status { wait: Some(_), .. } => host.close_window(action, wait),
            Trouble::Status { wait: None, .. } | Trouble::Connection => tokio::time::sleep(wait).await,
        }
        Ok(attempt + 1)
    }

    async fn attempt(&self, host: &Host, request: &Request) -> Result<Result<Response, Failed>, ClientError> {
        let mut url = request.url.clone();
        let mut at_home = redirect::check(&host.base, &url, host.private_redirects)?;
        let mut method = request.method.clone();
        let mut payload = request.payload.clone();
        let mut scopes = request.scopes.clone();
        let mut challenges = 0;
        let mut redirects = 0;
        loop {
            host.wait_for_window(request.action).await;
            let authorization = match at_home {
                true => host.known.lock().await.authorization(host, &scopes).await?,
                false => None,
            };
            let builder = match request.action {
                Action::Download => host.downloads.request(method.clone(), url.clone()),
                Action::Read | Action::Write => {
                    host.http.request(method.clone(), url.clone()).timeout(host.silence)
                }
            };
            let mut builder = builder.headers(request.headers.clone());
            if let Some(authorization) = &authorization {
                builder = builder.header(AUTHORIZATION, authorization.clone());
            }
            builder = match &payload {
                Payload::Nothing if matches!(method, Method::POST | Method::PUT | Method::PATCH) => {
                    builder.header(CONTENT_LENGTH, HeaderValue::from_static("0"))
                }
                Payload::Nothing => builder,
                Payload::Bytes(bytes) => builder.body(bytes.clone()),
            };
            let sent = {
                let _turn = host.flow.turn().await;
                builder.send().await
            };
            let response = match sent {
                Ok(response) => response,
                Err(error) => return Ok(Err(no_answer(&method, &url, error))),
            };
            let status = response.status();
            host.note_load(status);
            if at_home {
                host.note_quota(response.headers());
            }
            if status == StatusCode::UNAUTHORIZED && at_home && challenges < CHALLENGES {
                challenges += 1;
                let mut known = host.known.lock().await;
                if let Some(wanted) = known.challenged(response.headers(), &scopes, authorization.as_ref()) {
                    scopes = wanted;
                    continue;
                }
            }
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                let target = location(&url, response.headers())?;
                redirects += 1;
                if redirects > REDIRECTS {
                    return Err(protocol(&url, "it redirects in circles"));
                }
                let may_change = matches!(status.as_u16(), 301..=303);
                if may_change && !matches!(method, Method::GET | Method::HEAD) {
                    (method, payload) = (Method::GET, Payload::Nothing);
                }
                redirect::check(&url, &target, host.private_redirects)?;
                // Once away from home, nothing that comes back is trusted with credentials again.
                at_home = at_home && redirect::check(&host.base, &target, host.private_redirects)?;
                url = target;
                continue;
            }
            if retry::is_passing(status.as_u16()) {
                return Ok(Err(not_now(host, &method, response).await));
            }
            if status == StatusCode::UNAUTHORIZED {
                let with_credentials = host.credential(&scopes).await?.is_some();
                let problem = refusal(response).await;
                let problem = if problem.is_empty() { status.to_string() } else { problem };
                return Err(ClientError::Unauthorized {
                    registry: host.name.clone(),
                    scopes: scopes.to_string(),
                    problem,
                    with_credentials,
                });
            }
            return Ok(Ok(response));
        }
    }

    /// Sends a body that can be read only once. The caller decides what to do when that fails.
    pub(super) async fn send_once(
        &self,
        host: &Host,
        request: Request,
        body: reqwest::Body,
    ) -> Result<Result<Response, Failed>, ClientError> {
        let Request { method, url, headers, payload: _, scopes, action } = request;
        let at_home = redirect::check(&host.base, &url, host.private_redirects)?;
        host.wait_for_window(action).await;
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let patience = host.silence + Duration::from_secs(length.unwrap_or_default() / SLOWEST);
        let request = host.http.request(method.clone(), url.clone()).timeout(patience);
        let mut builder = request.headers(headers).body(body);
        let authorization = match at_home {
            true => host.known.lock().await.authorization(host, &scopes).await?,
            false => None,
        };
        if let Some(authorization) = &authorization {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        let sent = {
            let _turn = host.flow.turn().await;
            builder.send().await
        };
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Ok(Err(no_answer(&method, &url, error))),
        };
        let status = response.status();
        host.note_load(status);
        if status == StatusCode::UNAUTHORIZED && at_home {
            // The token may have run out; the next attempt gets another.
            host.known.lock().await.challenged(response.headers(), &scopes, authorization.as_ref());
            return Ok(Err(not_now(host, &method, response).await));
        }
        if retry::is_passing(status.as_u16()) {
            return Ok(Err(not_now(host, &method, response).await));
        }
        Ok(Ok(response))
    }
}
fn no_answer(method: &Method, url: &Url, error: reqwest::Error) -> Failed {
    let error =
        ClientError::Connection { action: method.to_string(), url: shown(url), source: error.without_url() };
    Failed { trouble: Trouble::Connection, error }
}

async fn not_now(host: &Host, method: &Method, response: Response) -> Failed {
    let status = response.status().as_u16();
    let wait = retry::retry_after(response.headers(), Timestamp::now());
    let error = refused(host, method, response).await;
    Failed { trouble: Trouble::Status { status, wait }, error }
}
