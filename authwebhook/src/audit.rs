//! Reporting what people do to the audit trail: what is said, and how it gets there.

mod event;
mod journal;
mod sender;

pub use datastorage_client::BackOff;
pub use event::{cancelled_event, cleared_event, decided_event};
pub use sender::{Sender, SenderOptions, StartError, Worker, start};
