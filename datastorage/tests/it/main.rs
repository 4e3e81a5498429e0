//! The service on SQLite.

#[cfg(test)]
mod app;
#[cfg(test)]
#[expect(dead_code, reason = "other services read more of a span")]
#[path = "../../../telemetry/tests/played/collector.rs"]
mod collector;
#[cfg(test)]
mod database;
#[cfg(test)]
mod event;

// What is promised whatever the database; `tests/postgres` runs the same.
#[cfg(test)]
mod catalog;
#[cfg(test)]
mod export;
#[cfg(test)]
mod http;
#[cfg(test)]
mod process;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod suite;

// Callers judged by the API server: no matter of the database.
#[cfg(test)]
mod auth;

// What a collector is told.
#[cfg(test)]
mod spans;
