//! What the API server asks of the node directly, without going through an object: today, a container's log.

use std::io;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::status::Status;

/// A log as it is read: raw bytes, ending when the container has ended (or at once without `follow`).
pub type LogStream = BoxStream<'static, io::Result<Bytes>>;

/// The node's side of `pods/log`.
pub trait Kubelet: Send + Sync {
    /// Opens the log of one container. A container that has not started yet is a `bad_request` naming its waiting reason.
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, Status>>;
}

/// Which log, and which part of it (the query of `GET pods/log`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogRequest {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container; the API server has checked that the pod has it.
    pub container: String,
    /// Keep the stream open and send new lines until the container ends.
    pub follow: bool,
    /// The log of the previous, ended instance of the container.
    pub previous: bool,
    /// Prefix each line with its RFC 3339 timestamp and a space.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only lines written at or after this moment.
    pub since: Option<Timestamp>,
}
