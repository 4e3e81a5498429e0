//! A probe by gRPC's health protocol: one call of `grpc.health.v1.Health/Check`, its two small messages by hand.

use http::Request;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::GRPCAction;
use tokio_util::task::AbortOnDropHandle;

use super::check::{Failure, Target, dial};

const ANSWER_LIMIT: usize = 4 << 10;

/// Asks once.
pub(super) async fn check(action: &GRPCAction, target: &Target) -> Result<(), Failure> {
    let port = u16::try_from(action.port).map_err(|_| Failure::new("invalid port"))?;
    let connection = dial(&target.host, port).await?;
    let broken = |cause: String| Failure::new(format!("error: health rpc failed: {cause}"));
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(connection))
        .await
        .map_err(|error| broken(error.to_string()))?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::post(format!("http://{}:{port}/grpc.health.v1.Health/Check", target.host))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "kube-probe/1.33")
        .body(Full::new(Bytes::from(question(action.service.as_deref().unwrap_or_default()))))
        .map_err(|error| broken(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
    let answer = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
    let answer = answer.map_err(|error| broken(error.to_string()))?.to_bytes();
    match serving(&answer) {
        Some(1) => Ok(()),
        Some(status) => {
            let name = match status {
                2 => "NOT_SERVING",
                3 => "SERVICE_UNKNOWN",
                _ => "UNKNOWN",
            };
            Err(Failure::new(format!("service unhealthy (responded with {name:?})")))
        }
        None => Err(broken("the answer holds no status".to_owned())),
    }
}

/// `HealthCheckRequest { service }` in a frame.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.append(&mut message);
    frame
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// `HealthCheckResponse.status` of a frame; 0, the default, is not written.
fn serving(frame: &[u8]) -> Option<u8> {
    match frame.get(5..)? {
        [0x08, status, ..] => Some(*status),
        [] => Some(0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(question(&"x".repeat(300))[5..8], [0x0a, 0xac, 0x02]);
        assert_eq!(serving(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(serving(&[]), None);
    }
}
