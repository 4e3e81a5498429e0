//! Continue tokens: where the next page of a list begins, and as of which revision.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::status::Status;
use crate::store::Key;

const VERSION: &str = "meta.k8s.io/v1";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continue {
    /// Revision of the list; `None` to go on with whatever is current.
    pub revision: Option<u64>,
    /// The last object of the page before.
    pub after: Key,
}

#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

impl Continue {
    /// The token.
    pub fn encode(&self) -> String {
        let (namespace, name) = &self.after;
        let rv = self.revision.and_then(|revision| i64::try_from(revision).ok()).unwrap_or(-1);
        let token = Token { v: VERSION.to_owned(), rv, start: format!("{namespace}/{name}\0") };
        URL_SAFE_NO_PAD.encode(serde_json::json!(token).to_string())
    }

    /// Reads a token.
    pub fn decode(text: &str) -> Result<Self, Status> {
        let refuse = |why: &str| Status::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| refuse("not base64"))?;
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| refuse("not a token"))?;
        if token.v != VERSION || token.rv < -1 || token.rv == 0 {
            return Err(refuse("server does not recognize this encoded version"));
        }
        let after = token.start.strip_suffix('\0').and_then(|start| start.split_once('/'));
        let (namespace, name) = after.ok_or_else(|| refuse("not a start key"))?;
        let after = (namespace.to_owned(), name.to_owned());
        Ok(Self { revision: u64::try_from(token.rv).ok(), after })
    }

    /// The refusal of a token whose revision is no longer known. It carries a token to go on with regardless.
    pub fn expired(&self) -> Status {
        let fresh = Self { revision: None, after: self.after.clone() };
        Status::gone_expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
             the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
             Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
             deleted between the time the first chunk was returned and now may show up in the list.",
        )
        .with_continue(fresh.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_way_to_the_client_and_back() {
        for after in [("ns", "a"), ("", "cluster-scoped")] {
            let after = (after.0.to_owned(), after.1.to_owned());
            let token = Continue { revision: Some(42), after };
            assert_eq!(Continue::decode(&token.encode()), Ok(token.clone()));
            let status = token.expired().to_json();
            let fresh = Continue::decode(status["metadata"]["continue"].as_str().unwrap());
            assert_eq!(fresh, Ok(Continue { revision: None, ..token }));
        }
    }

    #[test]
    fn garbage_is_refused() {
        for text in ["!", "YWJj", &URL_SAFE_NO_PAD.encode(r#"{"v":"v0","rv":1,"start":"/a\u0000"}"#)] {
            assert_eq!(Continue::decode(text).unwrap_err().code(), 400, "{text}");
        }
    }
}
