//! How much the service takes with PostgreSQL, both on one core. Needs PostgreSQL's programs, an optimised build and a quiet
//! machine: `cargo test --release -p datastorage --test load -- --nocapture`.

#[cfg(test)]
#[path = "../it/app.rs"]
mod app;
#[cfg(test)]
#[path = "../postgres/database.rs"]
mod database;

#[cfg(test)]
mod load;
