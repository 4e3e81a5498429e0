//! Workflows for GitHub, out of what is declared anyway: the pipelines on a machine of each architecture, the scheduled mirror,
//! and the release. Pure.
//!
//! They only call commands that anybody can run. `cargo xtask codegen` writes them, and its `--check` finds those that are stale.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use images::Recipes;
use images::mirror::Mirror;

use crate::spec::{FOLDER, Spec};

/// Actions by commit: a tag could become another program.
const CHECKOUT: &str = "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0";
const CACHE: &str = "actions/cache@0057852bfaa89a56745cba8c7296529d2fc39830 # v4.3.0";
const UPLOAD: &str = "actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02 # v4.6.2";

/// Architectures GitHub has machines of.
const RUNNERS: [(&str, &str); 2] = [("amd64", "ubuntu-24.04"), ("arm64", "ubuntu-24.04-arm")];

/// Branch of the lock's pull request.
const BRANCH: &str = "mirror/update";

/// The compiler the workspace asks for.
const RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Every pipeline on a machine of each architecture that images are declared for.
pub fn pipelines(specs: &[Spec], recipes: &Recipes) -> String {
    let mut text = head(&format!("{FOLDER} and images/images.toml"), "CI");
    text += "on:\n  push:\n    branches: [main]\n  pull_request:\n\n";
    text += "permissions:\n  contents: read\n\n";
    text += "concurrency:\n  group: ci-${{ github.ref }}\n  cancel-in-progress: ${{ github.event_name == 'pull_request' }}\n\n";
    text += "jobs:\n";
    text += &tried(specs, recipes);
    let _ = write!(
        text,
        "      - name: Keep what the runs left\n        if: always()\n        uses: {UPLOAD}\n        with:\n          name: slipway-${{{{ matrix.architecture }}}}\n          path: |\n            target/slipway/20*/\n          if-no-files-found: ignore\n          retention-days: 14\n"
    );
    text
}

/// The job that runs every pipeline on a machine of each architecture.
fn tried(specs: &[Spec], recipes: &Recipes) -> String {
    let mut text = String::new();
    let declared: BTreeSet<&str> = recipes
        .names()
        .filter_map(|name| recipes.get(name))
        .flat_map(|recipe| recipe.platforms.iter().map(images::Platform::architecture))
        .collect();
    let all: Duration = specs.iter().map(|spec| spec.deadline).sum();
    let _ = write!(
        text,
        "  pipelines:\n    name: pipelines (${{{{ matrix.architecture }}}})\n    strategy:\n      fail-fast: false\n      matrix:\n        include:\n"
    );
    for (architecture, runner) in RUNNERS.into_iter().filter(|(name, _)| declared.contains(name)) {
        let _ = writeln!(text, "          - architecture: {architecture}\n            runner: {runner}");
    }
    let _ =
        writeln!(text, "    runs-on: ${{{{ matrix.runner }}}}\n    timeout-minutes: {}", minutes(all) + 15);
    text += "    steps:\n";
    text += &prepare("${{ matrix.architecture }}");
    text += "      - name: What this machine lacks\n        run: cargo xtask doctor\n        continue-on-error: true\n";
    for spec in specs {
        let _ = writeln!(
            text,
            "      - name: {}\n        if: success() || failure()\n        run: cargo xtask {}\n        timeout-minutes: {}",
            spec.description,
            command(&spec.name),
            minutes(spec.deadline) + 5
        );
    }
    text
}

/// `test` and `e2e` are commands; other pipelines are run by their file.
fn command(pipeline: &str) -> String {
    match pipeline {
        "test" | "e2e" => pipeline.to_owned(),
        other => format!("ci {other}"),
    }
}

/// The scheduled job: plan, sync, verify, and a pull request when the lock has changed. With nothing to do it changes nothing.
pub fn mirror(mirror: &Mirror) -> String {
    let mut text = head("images/mirror.toml", "Mirror");
    let _ = write!(text, "on:\n  schedule:\n    - cron: \"{}\"\n  workflow_dispatch:\n\n", mirror.schedule);
    text += "permissions:\n  contents: write\n  pull-requests: write\n\n";
    text += "# A run that is under way is finished: it continues where another one stopped, but two would do the same.\n";
    text += "concurrency:\n  group: mirror\n  cancel-in-progress: false\n\n";
    text += "jobs:\n  mirror:\n    runs-on: ubuntu-24.04\n    timeout-minutes: 180\n    steps:\n";
    text += &prepare("mirror");
    let destinations: BTreeSet<&str> =
        mirror.rules.iter().map(|rule| rule.destination.registry.as_str()).collect();
    let sources: BTreeSet<&str> = mirror.rules.iter().map(|rule| rule.source.registry.as_str()).collect();
    for registry in &destinations {
        text += &login(registry, "it is written to");
    }
    for registry in sources.difference(&destinations) {
        text += &login(registry, "accounts have larger quotas");
    }
    text += PLAN;
    text += SYNC;
    text += "      - name: Prove that everybody can pull all of it\n        run: cargo xtask mirror verify\n";
    text += &PROPOSE.replace("{branch}", BRANCH);
    text += JUDGE;
    text
}

/// A tag `v…` that passed every pipeline becomes images in the registry, signed where there is a key, and a release that names them by digest.
pub fn release(specs: &[Spec], recipes: &Recipes, registry: &str) -> String {
    let mut text = head(&format!("{FOLDER}, images/images.toml and images/registries.toml"), "Release");
    text += "on:\n  push:\n    tags: [\"v*\"]\n\n";
    text += "permissions:\n  contents: read\n\n";
    text += "# A release that is under way is finished.\n";
    text += "concurrency:\n  group: release-${{ github.ref }}\n  cancel-in-progress: false\n\n";
    text += "jobs:\n";
    text += &tried(specs, recipes);
    let _ = write!(
        text,
        "  publish:\n    needs: pipelines\n    runs-on: ubuntu-24.04\n    timeout-minutes: 90\n    # To make the release; images go where the secrets below let in.\n    permissions:\n      contents: write\n    steps:\n"
    );
    text += &prepare("release");
    text += "      - name: What other architectures are compiled with\n        run: rustup component add rust-src\n";
    text += &login(registry.split('/').next().unwrap_or(registry), "the images go there");
    text += &PUBLISH.replace("{registry}", registry);
    text
}

const PUBLISH: &str = r#"      - name: Build, prove, push and sign the images
        env:
          SIGN_KEY: ${{ secrets.RELEASE_SIGN_KEY }}
        run: |
          sign=()
          if [ -n "$SIGN_KEY" ]; then
            (umask 077; printf '%s\n' "$SIGN_KEY" > "$RUNNER_TEMP/release.key")
            sign=(--sign-key "$RUNNER_TEMP/release.key")
          fi
          code=0
          cargo xtask build-images --prove --push "{registry}:$GITHUB_REF_NAME" "${sign[@]}" --json > "$RUNNER_TEMP/images.json" || code=$?
          rm -f "$RUNNER_TEMP/release.key"
          exit "$code"
      - name: Make the release
        env:
          GH_TOKEN: ${{ github.token }}
        run: gh release create "$GITHUB_REF_NAME" "$RUNNER_TEMP/images.json" --verify-tag --generate-notes
"#;

const PLAN: &str = r#"      - name: Plan
        run: |
          code=0
          cargo xtask mirror plan --update --out "$RUNNER_TEMP/plan.json" > "$RUNNER_TEMP/plan.txt" || code=$?
          cat "$RUNNER_TEMP/plan.txt" | tee -a "$GITHUB_STEP_SUMMARY"
          # 10: there is something to do
          [ "$code" -eq 0 ] || [ "$code" -eq 10 ]
"#;

const SYNC: &str = r#"      - name: Sync
        id: sync
        env:
          SIGN_KEY: ${{ secrets.MIRROR_SIGN_KEY }}
        run: |
          sign=()
          if [ -n "$SIGN_KEY" ]; then
            (umask 077; printf '%s\n' "$SIGN_KEY" > "$RUNNER_TEMP/mirror.key")
            sign=(--sign-key "$RUNNER_TEMP/mirror.key")
          fi
          code=0
          cargo xtask mirror sync --plan "$RUNNER_TEMP/plan.json" "${sign[@]}" || code=$?
          rm -f "$RUNNER_TEMP/mirror.key"
          echo "code=$code" >> "$GITHUB_OUTPUT"
          # 10: something stayed on purpose. 5 and 13: an image was refused or did not come; the others are locked first
          case "$code" in 0|5|10|13) ;; *) exit "$code" ;; esac
"#;

const PROPOSE: &str = r#"      - name: Propose the lock
        env:
          GH_TOKEN: ${{ github.token }}
        run: |
          if [ -z "$(git status --porcelain -- images/mirror.lock)" ]; then
            echo "the lock is as it was"
            exit 0
          fi
          { echo '```'; cat "$RUNNER_TEMP/plan.txt"; echo '```'; } > "$RUNNER_TEMP/body.md"
          git config user.name "github-actions[bot]"
          git config user.email "41898282+github-actions[bot]@users.noreply.github.com"
          git switch --force-create {branch}
          git add images/mirror.lock
          git commit --message "Mirror: the lock of $(date --utc +%F)"
          git push --force origin {branch}
          if [ -n "$(gh pr list --head {branch} --state open --json number --jq '.[].number')" ]; then
            gh pr edit {branch} --body-file "$RUNNER_TEMP/body.md"
          else
            gh pr create --head {branch} --title "Mirror: the lock of $(date --utc +%F)" --body-file "$RUNNER_TEMP/body.md"
          fi
"#;

const JUDGE: &str = r#"      - name: Tell of images that did not come
        if: steps.sync.outputs.code == '5' || steps.sync.outputs.code == '13'
        run: exit ${{ steps.sync.outputs.code }}
"#;

fn head(source: &str, name: &str) -> String {
    format!("# Generated from {source} by `cargo xtask codegen`; not to be edited.\nname: {name}\n\n")
}

/// The sources, the compiler, and what was compiled before.
fn prepare(cache: &str) -> String {
    format!(
        r#"      - uses: {CHECKOUT}
      - name: Install the compiler
        run: rustup toolchain install {RUST} --profile minimal --component clippy,rustfmt && rustup default {RUST}
      - uses: {CACHE}
        with:
          path: |
            ~/.cargo/registry
            target
            !target/slipway/20*
          key: cargo-{cache}-${{{{ hashFiles('Cargo.lock') }}}}-${{{{ github.sha }}}}
          restore-keys: cargo-{cache}-${{{{ hashFiles('Cargo.lock') }}}}-
"#
    )
}

/// Logs in where the repository has a secret for it.
fn login(registry: &str, why: &str) -> String {
    let prefix: String = registry
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect();
    format!(
        r#"      - name: Log in to {registry}, {why}
        env:
          USERNAME: ${{{{ secrets.{prefix}_USERNAME }}}}
          PASSWORD: ${{{{ secrets.{prefix}_PASSWORD }}}}
        if: env.USERNAME != ''
        run: printf '%s' "$PASSWORD" | docker login {registry} --username "$USERNAME" --password-stdin
"#
    )
}

fn minutes(duration: Duration) -> u64 {
    duration.as_secs().div_ceil(60)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::spec;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    #[test]
    fn each_architecture_with_a_machine_runs_every_pipeline_within_its_deadline() {
        let specs = ["test", "e2e"].map(|name| spec::load(root(), name).unwrap());
        let text = pipelines(&specs, &images::recipe::load(root()).unwrap());
        for line in [
            "          - architecture: amd64\n            runner: ubuntu-24.04\n",
            "          - architecture: arm64\n            runner: ubuntu-24.04-arm\n",
            "        run: cargo xtask test\n        timeout-minutes: 35\n",
            "        run: cargo xtask e2e\n        timeout-minutes: 45\n",
            "    timeout-minutes: 85\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_mirror_runs_by_its_schedule_and_logs_in_where_it_writes_first() {
        let text = r#"
            schedule = "3 5 * * 2"
            [[image]]
            source = "docker.io/library/a"
            destination = "registry.example:5000/a"
            tags = ["1"]
        "#;
        let text = mirror(&images::mirror::declaration::parse("images/mirror.toml", text).unwrap());
        assert!(text.contains("    - cron: \"3 5 * * 2\"\n"), "{text}");
        let [near, far] = ["secrets.REGISTRY_EXAMPLE_5000_USERNAME", "secrets.DOCKER_IO_PASSWORD"]
            .map(|secret| text.find(secret).expect("a login"));
        assert!(near < far);
        let steps = ["mirror plan --update", "mirror sync --plan", "mirror verify", "gh pr create"];
        assert!(steps.map(|step| text.find(step).expect("a step")).is_sorted());
    }

    #[test]
    fn a_release_is_what_passed_every_pipeline_and_only_its_last_job_may_write() {
        let specs = ["test", "e2e"].map(|name| spec::load(root(), name).unwrap());
        let text = release(&specs, &images::recipe::load(root()).unwrap(), "registry.example/team");
        assert!(text.contains("on:\n  push:\n    tags: [\"v*\"]\n"), "{text}");
        let (before, publish) = text.split_once("  publish:\n    needs: pipelines\n").expect("the last job");
        assert!(before.contains("run: cargo xtask e2e\n") && !before.contains("write"), "{before}");
        assert!(!before.contains("secrets."), "{before}");
        assert_eq!(publish.matches(": write\n").count(), 1);
        let steps = [
            "secrets.REGISTRY_EXAMPLE_PASSWORD",
            "build-images --prove --push \"registry.example/team:$",
            "gh release",
        ];
        assert!(steps.map(|step| publish.find(step).expect("a step")).is_sorted(), "{publish}");
    }

    #[test]
    fn actions_are_pinned_by_commit() {
        let mirror = images::mirror::declaration::load(root()).unwrap();
        let specs = [spec::load(root(), "test").unwrap()];
        let recipes = images::recipe::load(root()).unwrap();
        let text =
            self::mirror(&mirror) + &pipelines(&specs, &recipes) + &release(&specs, &recipes, "r.example");
        let used: Vec<&str> =
            text.lines().filter_map(|line| line.split_once("uses: ")).map(|(_, it)| it).collect();
        assert!(used.len() > 4, "{used:?}");
        for action in used {
            let commit = action.split(['@', ' ']).nth(1).unwrap();
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
        }
    }
}
