//! The mirror as a real process that is killed, and over wires that break.

#[path = "../kill/world.rs"]
mod world;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use ci::bench::registry::Kind;
use ci::workflows;
use images::mirror::declaration;
use images::wire;
use world::{LARGE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_anywhere_leaves_nothing_incomplete_and_the_next_completes_it() {
    let wires = wire::Options { delay: Duration::from_millis(1), ..wire::Options::default() };
    let mut world = World::new(wires, Kind::InProcess).await;
    world.kill_many(8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wires_that_break_delay_a_run_and_change_nothing() {
    let cut_after = Some(20_000..300_000);
    let wires = wire::Options { delay: Duration::from_millis(1), cut_after, ..wire::Options::default() };
    let mut world = World::new(wires, Kind::InProcess).await;
    world.complete().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_killed_is_continued_where_it_was() {
    let mut world = World::large(Kind::InProcess).await;
    world.kill_uploading(LARGE / 2).await;
    world.complete().await;
    let [received, sent] = world.moved();
    // What was under way when it was killed is lost.
    assert!(
        sent > LARGE / 4 && sent < LARGE / 4 * 3,
        "{sent} bytes were sent after half of {LARGE} had been"
    );
    assert!(received < LARGE / 4 * 3, "{received} bytes came after half of {LARGE} had");
}

/// The commands of a workflow's steps that have one of these names.
fn scripts(workflow: &str, names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for step in workflow.split("\n      - name: ").skip(1) {
        let (name, rest) = step.split_once('\n').unwrap();
        let Some((_, run)) = rest.split_once("        run: ").filter(|_| names.contains(&name)) else {
            continue;
        };
        let lines = run.lines().enumerate();
        let script = lines
            .map(|(number, line)| if number == 0 { line.trim_start_matches('|') } else { line.trim_start() });
        found.push(script.collect::<Vec<_>>().join("\n"));
    }
    assert_eq!(found.len(), names.len());
    found
}

/// A program that the job would find on its machine.
fn program(folder: &Path, name: &str, script: &str) {
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
}

fn told(output: Output) -> String {
    let text =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n");
    assert!(output.status.success(), "{}: {text}", output.status);
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduled_job_proposes_a_changed_lock_and_changes_nothing_when_there_is_nothing_to_do() {
    let world = World::new(wire::Options::default(), Kind::InProcess).await;
    let root = world.root();
    let outside = tempfile::tempdir().unwrap();
    let at = |name: &str| outside.path().join(name);
    let git = |arguments: &[&str]| {
        let identity =
            ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main"];
        let mut command = Command::new("git");
        told(command.args(identity).args(arguments).current_dir(root).output().unwrap())
    };
    std::fs::write(root.join(".gitignore"), "/target\n/source\n/destination\n/docker\n").unwrap();
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message", "Begin"]);
    git(&["init", "--quiet", "--bare", at("origin").to_str().unwrap()]);
    git(&["remote", "add", "origin", at("origin").to_str().unwrap()]);
    program(outside.path(), "cargo", &format!("shift; exec {} \"$@\"", env!("CARGO_BIN_EXE_slipway")));
    program(outside.path(), "gh", &format!("echo \"$@\" >> {}", at("gh.log").display()));

    let names = ["Plan", "Sync", "Prove that everybody can pull all of it", "Propose the lock"];
    let scripts = scripts(&workflows::mirror(&declaration::load(root).unwrap()), &names);
    let job = || {
        for script in &scripts {
            let path = format!("{}:{}", outside.path().display(), std::env::var("PATH").unwrap());
            let mut command = Command::new("bash");
            command.args(["-e", "-c", script]).current_dir(root).env("PATH", path).env("SIGN_KEY", "");
            command.env("RUNNER_TEMP", outside.path()).env("DOCKER_CONFIG", root.join("docker"));
            command.env("GITHUB_OUTPUT", at("output")).env("GITHUB_STEP_SUMMARY", at("summary"));
            told(command.output().unwrap());
        }
    };
    job();
    assert!(std::fs::read_to_string(at("output")).unwrap().contains("code=0"));
    let asked = std::fs::read_to_string(at("gh.log")).unwrap();
    assert!(asked.contains("pr create --head mirror/update"), "{asked}");
    let body = std::fs::read_to_string(at("body.md")).unwrap();
    assert!(body.contains("add      ") && body.contains("library/app0:v1.0.0"), "{body}");
    assert_eq!(git(&["diff", "--name-only", "main", "origin/mirror/update"]).trim(), "images/mirror.lock");

    git(&["switch", "--quiet", "main"]);
    git(&["merge", "--quiet", "--ff-only", "mirror/update"]);
    let before = (git(&["rev-parse", "HEAD", "origin/mirror/update"]), asked);
    job();
    let after =
        (git(&["rev-parse", "HEAD", "origin/mirror/update"]), std::fs::read_to_string(at("gh.log")).unwrap());
    assert_eq!(before, after);
    assert_eq!(git(&["status", "--porcelain"]).trim(), "");
}
