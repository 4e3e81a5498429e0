//! Everything that changes an object.

use std::sync::Arc;

use super::{Answer, Api, Call};
use crate::status::Status;

/// Answers `create`, `update`, `patch`, `delete` and `deletecollection`, of objects and of their subresources.
pub async fn write(api: &Arc<Api>, call: Call) -> Result<Answer, Status> {
    let _ = (api, call);
    Err(Status::internal("not written yet"))
}
