//! Whether the service's memory stays flat under load, with PostgreSQL. Needs PostgreSQL's programs, and time: `SOAK_SECONDS=3600 cargo test
//! -p datastorage --test soak -- --nocapture`; a minute unless told otherwise.

#[cfg(test)]
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "../it/app.rs"]
mod app;
#[cfg(test)]
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "../postgres/database.rs"]
mod database;
#[cfg(test)]
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "../postgres/postgres.rs"]
mod postgres;
#[cfg(test)]
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "../load/service.rs"]
mod service;

#[cfg(test)]
mod soak;
