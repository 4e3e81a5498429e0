//! Streams to pods and services: logs, and the proxies of services and pods.

use std::sync::Arc;

use super::{Answer, Api, Call};
use crate::status::Status;

/// Answers `pods/log`, `pods/proxy` and `services/proxy`.
pub async fn connect(api: &Arc<Api>, call: Call) -> Result<Answer, Status> {
    let _ = (api, call);
    Err(Status::internal("not written yet"))
}
