//! A product that the harness has never heard of, in `examples/`: carried from its declarations to its verdict by the same program.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

#[test]
fn another_product_is_carried_from_its_declarations_to_its_verdict() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/greeter");
    let slipway = Path::new(env!("CARGO_BIN_EXE_slipway"));
    assert!(
        slipway.with_file_name("slipway-engine").exists(),
        "cargo build --workspace --bin slipway-engine"
    );
    let mut command = Command::new(slipway);
    let ran =
        command.args(["e2e", "--provider", "embedded", "--json"]).current_dir(example).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(report["verdict"], "passed", "{told}");
    // Two tests of the library and two of the deployed program, none of them left out.
    assert_eq!(
        report["counts"],
        json!({"passed": 4, "flaky": 0, "failed": 0, "skipped": 0, "not-run": 0}),
        "{told}"
    );
}
