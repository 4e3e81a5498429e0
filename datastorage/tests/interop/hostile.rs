//! Whatever a client sends, the answer is none of the 5xx, the service goes on, and what it answers is what its contract says: what
//! that allows is accepted, and what it does not is refused.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::database::Database;
use crate::postgres::{Server, Writes};
use crate::service::{Process, client};

const PROGRAM: &str = "schemathesis";

/// Lets schemathesis at the service on this database.
async fn attack(what: &str, database: &str) {
    let version = Command::new(PROGRAM).arg("--version").output();
    let version = version.expect("not run: this test needs schemathesis\n  hint: pip install schemathesis");
    let keys = tempfile::tempdir().unwrap();
    let process = Process::start(database, keys.path());
    // Findings of an earlier run are kept below the working directory, and would be tried first.
    let place = tempfile::tempdir().unwrap();
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
    let mut run = Command::new(PROGRAM);
    run.arg("--config-file")
        .arg(beside.join("schemathesis.toml"))
        .env("SCHEMATHESIS_HOOKS", beside.join("meaning.py"));
    run.arg("run").arg(process.url("/openapi.json")).current_dir(place.path());
    run.args(["--checks=all", "--continue-on-failure", "--no-color", "--max-time=120"]);
    // Some endpoints want to know who asks; without, only their refusal would be tried.
    run.args(["-H", "X-Auth-Request-User: auditor"]);
    let output = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = said.split(" SUMMARY ").last().unwrap_or_default();
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    writeln!(std::io::stdout(), "{version} and the service on {what}{summary}").unwrap();
    let ready = client().get(process.url("/health/ready")).send().await.unwrap();
    assert_eq!(ready.status(), 200, "it goes on");
    assert!(output.status.success(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_input_breaks_the_service_or_its_contract() {
    attack("SQLite", &Database::new().await.url).await;
    attack("PostgreSQL", &Server::start(Writes::Buffered).url("postgres")).await;
}
