//! The repository on SQLite.

#[cfg(test)]
mod database;
#[cfg(test)]
mod event;

// What is promised whatever the database; `tests/postgres` runs the same.
#[cfg(test)]
mod suite;
