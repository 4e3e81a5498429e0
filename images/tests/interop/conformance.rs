//! The conformance suite of the distribution specification, all four categories: pull, push, content discovery, content management.

use std::process::Command;

use images::registry::{Options, serve};

/// A version of the suite for version 1.1 of the specification.
const SUITE: &str =
    "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111";

#[tokio::test]
async fn our_registry_passes_every_test_of_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    let registry = serve(Options::on_loopback(dir.path().join("registry"))).await.unwrap();
    let (host, results) = (registry.host(), dir.path().join("results"));
    let run = move || {
        Command::new("go")
            .args(["run", SUITE])
            .env("OCI_REGISTRY", host)
            .env("OCI_TLS", "disabled")
            .env("OCI_RESULTS_DIR", results)
            .output()
            .expect("these tests need Go\n  hint: https://go.dev/dl")
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let count = |what: &str| -> u32 {
        let line = said.lines().find(|line| line.trim_start().starts_with(what)).unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().parse().unwrap_or_else(|_| panic!("no {what} in\n{said}"))
    };
    assert_eq!((count("FAIL.."), count("Error..")), (0, 0), "{said}");
    assert!(count("Total..") > 500, "{said}");
}
