//! The outbox: every execution's status lists the audit events due; here they are made, sent and acknowledged.
//!
//! Nothing is kept that could be lost: after a restart the due events are read from the statuses again. Sending an event twice
//! is harmless, because its id is derived and DataStorage stores each id once.

pub mod event;
pub mod sender;
