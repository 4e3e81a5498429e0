//! Tiers on a real workspace of one small crate: every way they can end, with cargo and test programs that really run.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ci::declaration::Declaration;
use ci::event::{Record, Reporter, Reporting};
use ci::exit::Reason;
use ci::facts::Facts;
use ci::interrupt::Interrupt;
use ci::plan::{self, Request};
use ci::report::Report;
use ci::run::Run;
use ci::spec;
use jiff::Timestamp;

const LIB: &str = r#"
#[test] fn boils() {}
#[test] fn spills() { panic!("too full") }
#[test] #[ignore = "no milk"] fn whitens() {}
#[test] fn settles() {
    // The second attempt finds what the first has left.
    let mark = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("settled");
    if !mark.exists() { std::fs::write(&mark, "").unwrap(); panic!("not yet") }
}
"#;

/// With two threads, the third test starts only once the first has been reported; the second is under way all the while.
const BREAKS: &str = r#"
#[test] fn brews() {}
#[test] fn steeps() { loop { std::thread::park() } }
#[test] fn tips() { std::process::abort() }
"#;

const HANGS: &str = r#"
#[test] fn hangs() { loop { std::thread::park() } }
"#;

const PIPELINE: &str = r#"
description = "Make tea"
deadline = "5m"
[[tier]]
name = "build"
kind = "compile"
[[tier]]
name = "unit"
kind = "tests"
tests = ["lib"]
needs = ["build"]
retries = 1
[[tier]]
name = "breaking"
kind = "tests"
tests = ["breaks"]
needs = ["build"]
threads = 2
[[tier]]
name = "hanging"
kind = "tests"
tests = ["hangs"]
needs = ["build"]
deadline = "3s"
[[tier]]
name = "serving"
kind = "command"
command = ["true"]
needs = ["unit"]
[[tier]]
name = "tasting"
kind = "tests"
tests = ["tastes"]
needs = ["build"]
needs-programs = { no-such-program = { install = "brew no-such-program" } }
[[tier]]
name = "checks"
kind = "command"
command = ["sh", "-c", "echo the cup is cracked; exit 3"]
"#;

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Report>>);

impl Reporter for Kept {
    fn record(&mut self, record: &Record) -> std::io::Result<()> {
        self.0.lock().unwrap().add(record);
        Ok(())
    }

    fn finish(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn write(root: &Path, name: &str, text: &str) {
    let file = root.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// Two tests of two binaries that each wait for the other.
fn meets(own: &str, other: &str) -> String {
    format!(
        r#"#[test] fn meets() {{
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
            std::fs::write(folder.join("{own}"), "").unwrap();
            while !folder.join("{other}").exists() {{ std::thread::yield_now() }}
        }}"#
    )
}

/// A workspace of one crate in a folder of its own.
fn workspace() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "Cargo.toml", "[workspace]\nmembers = [\"tea\"]\nresolver = \"3\"\n");
    write(root.path(), "tea/Cargo.toml", "[package]\nname = \"tea\"\nedition = \"2024\"\n");
    write(root.path(), "tea/src/lib.rs", LIB);
    write(root.path(), "tea/tests/breaks.rs", BREAKS);
    write(root.path(), "tea/tests/hangs.rs", HANGS);
    root
}

/// Runs a pipeline; what came out, a line per tier.
async fn ran(root: &Path, pipeline: &str) -> (Result<(), Reason>, String) {
    let declaration = Declaration {
        spec: spec::parse("tea", Path::new("tea.toml"), pipeline).unwrap(),
        recipes: None,
        cluster: None,
        components: None,
        requirements: None,
        provenance: None,
        lock: images::mirror::Lock::empty(),
    };
    let home = root.join("target/slipway");
    let request = Request { root: root.to_path_buf(), home: home.clone(), ..Request::default() };
    let facts = Facts::gather_for(&declaration.spec, root, &home).await;
    let plan = plan::plan(&declaration, &facts, &request).unwrap();
    let run = Run::create(&home, "tea", Timestamp::now()).unwrap();
    let kept = Kept::default();
    let (reporting, events) = Reporting::start(vec![Box::new(kept.clone())]);
    let verdict = ci::run(&plan, &run, &events, &mut Interrupt::listen().unwrap()).await;
    assert!(reporting.finish().is_empty());
    let report = kept.0.lock().unwrap();
    let line = |tier: &ci::report::TierReport| {
        let counts = tier.counts();
        let mut line = format!("{}: {}", tier.name, tier.state.word());
        if tier.has_tests {
            line += &format!(
                ", {} passed, {} flaky, {} failed, {} skipped, {} not run",
                counts.passed, counts.flaky, counts.failed, counts.skipped, counts.not_run
            );
        }
        line += &tier.reason.iter().map(|reason| format!("\n  {reason}")).collect::<String>();
        if let Some(problem) = &tier.problem {
            line += &format!("\n  {}", problem.message);
            line += &problem.causes.iter().map(|cause| format!("\n  because {cause}")).collect::<String>();
        }
        line
    };
    (verdict, report.tiers.iter().map(line).collect::<Vec<_>>().join("\n"))
}

#[tokio::test]
async fn every_way_a_tier_can_end_is_told_apart() {
    let root = workspace();
    let (verdict, told) = ran(root.path(), PIPELINE).await;
    assert_eq!(verdict, Err(Reason::Gate));
    insta::assert_snapshot!(told, @r"
    build: passed
    unit: failed, 1 passed, 1 flaky, 1 failed, 1 skipped, 0 not run
      1 of 3 tests failed
    breaking: failed, 1 passed, 0 flaky, 0 failed, 0 skipped, 2 not run
      2 of 3 tests were not run
      because `tea::breaks` was killed by SIGABRT; steeps, tips did not finish
    hanging: failed, 0 passed, 0 flaky, 0 failed, 0 skipped, 1 not run
      1 of 1 tests were not run
      because `tea::hangs` was killed at its deadline, after 3 s; hangs did not finish
    serving: blocked
      `unit` failed
    tasting: skipped, 0 passed, 0 flaky, 0 failed, 0 skipped, 0 not run
      `no-such-program` is not installed
    checks: failed
      `sh -c echo the cup is cracked; exit 3` ended with exit code 3
    ");
}

#[tokio::test]
async fn a_crate_that_does_not_compile_blocks_what_needs_it() {
    let root = workspace();
    write(root.path(), "tea/src/lib.rs", "fn broken( {}\n");
    let (verdict, told) =
        ran(root.path(), PIPELINE.split("[[tier]]\nname = \"breaking\"").next().unwrap()).await;
    assert_eq!(verdict, Err(Reason::Build));
    insta::assert_snapshot!(told, @r"
    build: failed
      compile the tests of `tea`
    unit: blocked, 0 passed, 0 flaky, 0 failed, 0 skipped, 0 not run
      `build` failed
    ");
}

#[tokio::test]
async fn tiers_of_tests_that_need_the_same_run_side_by_side() {
    let root = workspace();
    write(root.path(), "tea/tests/milk.rs", &meets("milk", "sugar"));
    write(root.path(), "tea/tests/sugar.rs", &meets("sugar", "milk"));
    let tier = |name: &str| {
        format!(
            "[[tier]]\nname = \"{name}\"\nkind = \"tests\"\ntests = [\"{name}\"]\nneeds = [\"build\"]\ndeadline = \"1m\"\n"
        )
    };
    let build = PIPELINE.split("[[tier]]\nname = \"unit\"").next().unwrap();
    let (verdict, told) = ran(root.path(), &format!("{build}{}{}", tier("milk"), tier("sugar"))).await;
    assert_eq!(verdict, Ok(()), "{told}");
}
