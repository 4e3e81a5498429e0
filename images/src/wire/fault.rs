//! What can happen to a request on its way. Which one it is, and where, is decided by dice that fall the same way for the same seed.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};

use super::Faults;

/// Where in a body something happens at the latest.
const DEPTH: u64 = 48 << 10;

/// One thing that happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The registry cannot just now.
    Unavailable,
    /// It has had enough, and says when to come back.
    TooMany,
    /// So many bytes of the request's body pass, then the gateway gives up.
    RequestCut(u64),
    /// So many bytes of the answer's body pass, then the connection ends.
    AnswerCut(u64),
    /// The connection ends after so many bytes of the answer; all that was asked for has been done.
    AnswerLost,
    /// The byte of the answer's body at this place is another.
    Damage(u64),
    /// After so many bytes of the answer's body there is silence.
    Stall(u64),
}

/// The dice of one wire.
#[derive(Debug)]
pub(super) struct Dice {
    faults: Faults,
    state: Mutex<(u64, usize)>,
}

impl Dice {
    pub fn new(faults: Faults) -> Dice {
        let state = faults.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Dice { faults, state: Mutex::new((state, 0)) }
    }

    /// What happens to the next request.
    pub fn roll(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, happened) = &mut *guard;
        let mut next = |below: u64| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            (*state >> 16) % below.max(1)
        };
        let (hit, kind, at) = (next(self.faults.one_in), next(7), next(DEPTH));
        if hit != 0 || *happened >= self.faults.most {
            return None;
        }
        *happened += 1;
        // Only what has a digest in its address can be told from what it should be; the rest is TLS's business.
        let is_addressed =
            path.contains("sha256:") && *method == Method::GET && !path.contains("/referrers/");
        Some(match kind {
            0 => Fault::Unavailable,
            1 => Fault::TooMany,
            2 => Fault::RequestCut(at),
            3 => Fault::AnswerCut(at),
            4 => Fault::AnswerLost,
            5 if is_addressed => Fault::Damage(at),
            _ => Fault::Stall(at),
        })
    }
}

/// The answer of a registry, or of something before it, that cannot just now.
pub(super) fn refusal(fault: Fault) -> Option<Response> {
    let mut response = Response::new(Body::empty());
    match fault {
        Fault::Unavailable => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
        Fault::TooMany => {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
        }
        _ => return None,
    }
    Some(response)
}

/// The pieces up to `length` bytes, then an error.
pub(super) fn cut<E>(
    pieces: impl Stream<Item = Result<Bytes, E>> + Send,
    length: u64,
) -> impl Stream<Item = io::Result<Bytes>> + Send
where
    E: std::error::Error + Send + Sync + 'static,
{
    pieces
        .map(|piece| piece.map_err(io::Error::other))
        .scan(Some(length), |left, piece| {
            let before = *left;
            let length = piece.as_ref().map_or(0, |piece| piece.len() as u64);
            *left = before.and_then(|before| before.checked_sub(length));
            let passed = match (before, *left) {
                (None, _) => return std::future::ready(None),
                (Some(_), Some(_)) => vec![piece],
                (Some(before), None) => {
                    let part = piece.map(|piece| piece.slice(..usize::try_from(before).unwrap_or_default()));
                    vec![part, Err(io::Error::other("the wire is cut"))]
                }
            };
            std::future::ready(Some(stream::iter(passed)))
        })
        .flatten()
}

/// Lets the answer pass as far as the fault does.
pub(super) fn befall(response: Response, fault: Fault, silence: Duration) -> Response {
    let (parts, body) = response.into_parts();
    let pieces = body.into_data_stream();
    let body = match fault {
        Fault::AnswerCut(at) => Body::from_stream(cut(pieces, at)),
        Fault::AnswerLost => Body::from_stream(stream::iter([Err::<Bytes, _>(io::Error::other("lost"))])),
        Fault::Stall(at) => {
            let mut passed = 0;
            Body::from_stream(pieces.then(move |piece| {
                let before = passed;
                passed += piece.as_ref().map_or(0, |piece| piece.len() as u64);
                let stalls = before <= at && at < passed;
                async move {
                    if stalls {
                        tokio::time::sleep(silence).await;
                    }
                    piece
                }
            }))
        }
        Fault::Damage(at) => {
            let mut passed = 0;
            Body::from_stream(pieces.map(move |piece| {
                let start = passed;
                piece.map(|piece| {
                    passed += piece.len() as u64;
                    let place = at.checked_sub(start).and_then(|place| usize::try_from(place).ok());
                    match place.filter(|place| *place < piece.len()) {
                        None => piece,
                        Some(place) => {
                            let mut damaged = piece.to_vec();
                            damaged[place] ^= 0x55;
                            damaged.into()
                        }
                    }
                })
            }))
        }
        Fault::Unavailable | Fault::TooMany | Fault::RequestCut(_) => Body::from_stream(pieces),
    };
    Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    #[test]
    fn the_same_seed_brings_the_same_faults_and_no_more_than_it_may() {
        let rolls = |seed| {
            let dice = Dice::new(Faults { seed, one_in: 3, most: 5, silence: Duration::ZERO });
            (0..200).map(|_| dice.roll(&Method::GET, "/v2/a/blobs/sha256:0")).collect::<Vec<_>>()
        };
        assert_eq!(rolls(7), rolls(7));
        assert_ne!(rolls(7), rolls(8));
        assert_eq!(rolls(7).iter().flatten().count(), 5);
    }

    #[tokio::test]
    async fn exactly_so_many_bytes_pass_before_the_cut() {
        let pieces = || stream::iter(["abc", "def"].map(|piece| Ok::<_, io::Error>(Bytes::from(piece))));
        for (length, expected) in [(0, ""), (2, "ab"), (3, "abc"), (5, "abcde")] {
            let mut passed = Vec::new();
            let mut stream = std::pin::pin!(cut(pieces(), length));
            let end = loop {
                match stream.try_next().await {
                    Ok(Some(piece)) => passed.extend(piece),
                    end => break end,
                }
            };
            assert!(end.is_err(), "{length}");
            assert_eq!(String::from_utf8(passed).unwrap(), expected);
        }
        let whole: Vec<Bytes> = cut(pieces(), 6).try_collect().await.unwrap();
        assert_eq!(whole.concat(), b"abcdef");
    }
}
