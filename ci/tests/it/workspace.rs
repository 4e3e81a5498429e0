//! A workspace in a folder of its own, and the program at work in it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// Longer than a busy machine needs for one command.
const PATIENCE: Duration = Duration::from_secs(240);

/// Ends with the value.
pub struct Workspace {
    root: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    /// What it gave: stdout.
    pub gave: String,
    /// What it said: stderr.
    pub said: String,
}

impl Workspace {
    /// With a folder for images, one for pipelines, and nobody logged in anywhere.
    pub fn new() -> Workspace {
        let root = tempfile::tempdir().unwrap();
        for folder in ["images", "ci/pipelines", "docker"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        Workspace { root }
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn write(&self, name: &str, text: &str) {
        let file = self.root().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// Runs the program to its end, whatever that is.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slipway"));
        command
            .args(arguments)
            .current_dir(self.root())
            .env("DOCKER_CONFIG", self.root().join("docker"))
            .env_remove("REGISTRY_AUTH_FILE")
            .env_remove("DOCKER_AUTH_CONFIG")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("a command ends").unwrap();
        let [gave, said] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        Ran { code: output.status.code().expect("it was not killed"), gave, said }
    }

    /// Runs the program, which has to end with `code`; what it gave.
    #[track_caller]
    pub fn ends<'a>(&'a self, arguments: &'a [&'a str], code: i32) -> impl Future<Output = String> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let ran = self.run(arguments).await;
            assert_eq!(ran.code, code, "{caller}: {arguments:?}: {ran:#?}");
            ran.gave
        }
    }
}
