//! An open upload: where it goes on, and how much of it the registry has.

use std::sync::Arc;

use reqwest::header::{HeaderMap, RANGE};
use reqwest::{Method, Response, Url};

use crate::client::answer::location;
use crate::client::error::ClientError;
use crate::client::host::{Action, Host};
use crate::client::ledger::Entry;
use crate::client::transport::Request;
use crate::client::{Client, Repository, Scopes, redirect};

/// An open upload. Dropped unfinished, it is cancelled, unless it is written down for another process.
pub(super) struct Session {
    client: Client,
    host: Arc<Host>,
    pub scopes: Scopes,
    pub url: Url,
    pub least_piece: u64,
    open: bool,
    /// An earlier process began it; nobody can say what it sent.
    pub is_inherited: bool,
    pub entry: Option<Entry>,
}

impl Session {
    pub fn new(repository: &Repository, url: Url, least_piece: u64, entry: Option<Entry>) -> Session {
        Session {
            client: repository.client.clone(),
            host: repository.host.clone(),
            scopes: repository.push(),
            url,
            least_piece,
            open: true,
            is_inherited: false,
            entry,
        }
    }

    pub fn note(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.note(&self.url);
        }
    }

    /// Goes where the last answer points; an answer without `Location` means "as before".
    pub fn follow(&mut self, response: &Response) -> Result<(), ClientError> {
        if response.headers().contains_key(reqwest::header::LOCATION) {
            let target = location(&self.url, response.headers())?;
            redirect::check(&self.host.base, &target, self.host.private_redirects)?;
            if self.url != target {
                self.url = target;
                self.note();
            }
        }
        Ok(())
    }

    /// How much the registry has; nothing if it does not know this upload any more.
    pub async fn ask(&mut self, repository: &Repository) -> Result<Option<u64>, ClientError> {
        let request = Request::new(Method::GET, self.url.clone(), self.scopes.clone(), Action::Write);
        let response = repository.client.send(&self.host, request).await?;
        if !response.status().is_success() {
            self.open = false;
            return Ok(None);
        }
        self.follow(&response)?;
        Ok(arrived(response.headers()))
    }

    pub fn done(&mut self) {
        self.open = false;
        if let Some(entry) = self.entry.take() {
            entry.forget();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.open && self.entry.is_none() {
            let (client, host) = (self.client.clone(), self.host.clone());
            let request = Request::new(Method::DELETE, self.url.clone(), self.scopes.clone(), Action::Write);
            // A registry forgets abandoned uploads by itself; this is only polite.
            runtime.spawn(async move { client.send(&host, request).await.map(drop) });
        }
    }
}

/// Reads `Range: 0-<last>`. `0-0` is what an empty upload has, so it counts as nothing.
pub(super) fn arrived(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let range = range.strip_prefix("bytes=").unwrap_or(range);
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.trim().parse().ok()?;
    (first.trim() == "0").then_some(if last == 0 { 0 } else { last + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived_is_read_from_the_range() {
        let check = |range: &str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([(RANGE, range.parse().unwrap())]);
            assert_eq!(arrived(&headers), expected, "{range}");
        };
        check("0-99", Some(100));
        check("bytes=0-99", Some(100));
        check("0-0", Some(0));
        check("5-99", None);
        check("0-x", None);
        check("", None);
    }
}
