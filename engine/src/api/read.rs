//! Get, list and watch.

use std::sync::Arc;

use super::{Answer, Api, Call};
use crate::status::Status;

/// Answers `get`, `list` and `watch`.
pub async fn read(api: &Arc<Api>, call: Call) -> Result<Answer, Status> {
    let _ = (api, call);
    Err(Status::internal("not written yet"))
}
