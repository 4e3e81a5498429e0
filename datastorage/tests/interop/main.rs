//! Against other people's programs: schemathesis reads the contract that the service serves and sends whatever that allows and forbids, to
//! every endpoint. Needs the program and PostgreSQL's: run by name, `cargo test -p datastorage --test interop -- --nocapture`.
//!
//!     pip install schemathesis

#[cfg(test)]
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "../it/app.rs"]
mod app;
#[cfg(test)]
#[path = "../it/database.rs"]
#[expect(dead_code, reason = "other suites use more of it")]
mod database;
#[cfg(test)]
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "../postgres/postgres.rs"]
mod postgres;
#[cfg(test)]
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "../load/service.rs"]
mod service;

// Malformed and hostile input.
#[cfg(test)]
mod hostile;
