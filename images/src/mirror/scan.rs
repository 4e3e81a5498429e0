//! An external scanner: a program that is given the quarantined image and answers with its exit code and JSON.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use super::error::MirrorFailure;

/// Longer than any scanner needs for one image.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Characters of what a scanner says that are repeated.
const SHOWN: usize = 500;

/// Runs `command` with `{image}` replaced. `None` without a command; what it printed otherwise, when it exited with 0.
pub(super) async fn scan(command: &[String], image: &str) -> Result<Option<Value>, MirrorFailure> {
    let Some((program, arguments)) = command.split_first() else { return Ok(None) };
    let failed = |problem: String| MirrorFailure::Scan { image: image.to_owned(), problem };
    let mut process = Command::new(program);
    process.args(arguments.iter().map(|argument| argument.replace("{image}", image)));
    process.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, process.output())
        .await
        .map_err(|_| failed(format!("`{program}` did not end within {} s", PATIENCE.as_secs())))?
        .map_err(|error| failed(format!("`{program}` cannot be run: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let said: String = [text.trim(), errors.trim()].join(" ").trim().chars().take(SHOWN).collect();
        return Err(failed(format!("`{program}` does not let it pass ({}): {said}", output.status)));
    }
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| failed(format!("`{program}` answered no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_scanner_that_exits_with_0_and_json_lets_pass() {
        let run = async |script: &str| {
            let command = ["sh", "-c", script, "{image}"].map(str::to_owned);
            scan(&command, "r.example/a@sha256:1").await
        };
        assert_eq!(scan(&[], "x").await.unwrap(), None);
        let passed = run(r#"printf '{"image": "%s"}' "$0""#).await.unwrap().unwrap();
        assert_eq!(passed["image"], "r.example/a@sha256:1");
        for (script, told) in
            [("echo CRITICAL; exit 3", "CRITICAL"), ("echo fine", "no JSON"), ("", "no JSON")]
        {
            let failure = run(script).await.unwrap_err().to_string();
            assert!(failure.contains(told) && failure.contains("r.example/a@sha256:1"), "{failure}");
        }
        let missing = scan(&["no-such-program".to_owned()], "x").await.unwrap_err().to_string();
        assert!(missing.contains("cannot be run"), "{missing}");
    }
}
