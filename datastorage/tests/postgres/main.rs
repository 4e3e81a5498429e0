//! The service on PostgreSQL. Needs its server's programs, not a running server.

#[cfg(test)]
#[path = "../it/app.rs"]
mod app;
#[cfg(test)]
#[expect(dead_code, reason = "other suites wait for the disk")]
mod database;
#[cfg(test)]
#[path = "../it/event.rs"]
mod event;
#[cfg(test)]
#[expect(dead_code, reason = "other suites kill it")]
mod postgres;

// What is promised whatever the database.
#[cfg(test)]
#[path = "../it/catalog.rs"]
mod catalog;
#[cfg(test)]
#[path = "../it/export.rs"]
mod export;
#[cfg(test)]
#[path = "../it/http.rs"]
mod http;
#[cfg(test)]
#[path = "../it/process.rs"]
mod process;
#[cfg(test)]
#[path = "../it/retention.rs"]
mod retention;
#[cfg(test)]
#[path = "../it/suite.rs"]
mod suite;

// Partitions, and a server that may not be there.
#[cfg(test)]
mod server;
