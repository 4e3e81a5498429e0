//! What takes long, or measures: run by name, `cargo test -p controller --test endurance -- --nocapture --test-threads=1`.
//!
//! The controller is a process of its own; the API server and its controllers are in this one, over TLS; there is no node, so pods are
//! played. The numbers are those of the profile it is built with: the limits of `burst` are meant for `--release`.

#[cfg(test)]
#[path = "../it/census.rs"]
mod census;
#[cfg(test)]
#[path = "../it/cluster.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod cluster;
#[cfg(test)]
#[path = "../../../datastorage/tests/postgres/postgres.rs"]
mod postgres;
#[cfg(test)]
#[path = "../it/process.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod process;
#[cfg(test)]
#[path = "../it/service.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod service;
#[cfg(test)]
#[path = "../it/storage.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod storage;

// 1,000 executions at once: how long until all run, and how much memory that takes.
#[cfg(test)]
mod burst;
// 200 executions while the process is killed at random points.
#[cfg(test)]
mod kills;
// The same with all of the product as processes, and all of them killed. Needs PostgreSQL's programs, the workspace's binaries
// (`cargo build --workspace --bins`) and root.
#[cfg(test)]
mod outages;
#[cfg(test)]
mod product;
