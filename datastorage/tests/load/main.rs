//! How much the service takes with PostgreSQL, both on one core. Needs PostgreSQL's programs, an optimised build and a quiet
//! machine: `cargo test --release -p datastorage --test load -- --nocapture`.

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
mod service;

#[cfg(test)]
mod load;
