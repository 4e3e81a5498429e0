//! Reporting clearances to the audit trail: what is said, and how it gets there.

mod event;
mod sender;

pub use event::cleared_event;
pub use sender::{Sender, SenderOptions, Worker, start};
