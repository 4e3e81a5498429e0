//! The repository on PostgreSQL. Needs its server's programs, not a running server.

#[cfg(test)]
mod database;
#[cfg(test)]
#[path = "../it/event.rs"]
mod event;

// What is promised whatever the database.
#[cfg(test)]
#[path = "../it/suite.rs"]
mod suite;

// Partitions, and a server that may not be there.
#[cfg(test)]
mod server;
