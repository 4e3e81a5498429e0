//! Makes what a toolchain lacks: aside first, in place by one rename, one process at a time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xshell::{Cmd, Shell};

use super::{Preparation, standard_library, zig};

/// A toolchain could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The file system said no.
    #[error("{step} {}", path.display())]
    Io {
        /// What was attempted.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A command failed.
    #[error("run `{command}`:\n{output}")]
    Command {
        /// The command.
        command: String,
        /// What it said.
        output: String,
    },
    /// The compiler's sources are not to be had.
    #[error("find the sources of Rust {version}: {problem}")]
    Sources {
        /// Of this compiler.
        version: String,
        /// Why not.
        problem: String,
    },
}

impl PrepareError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            PrepareError::Io { .. } => None,
            PrepareError::Command { command, .. } if command.contains("pip") => {
                Some("install pip (`apt-get install python3-pip`), or zig and cargo-zigbuild by hand".to_string())
            }
            PrepareError::Command { .. } => Some("install the target instead: `rustup target add`".to_string()),
            PrepareError::Sources { .. } => {
                Some("install the target instead (`rustup target add`), or the sources (`rustup component add rust-src`)".to_string())
            }
        }
    }
}

pub(super) fn io_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrepareError {
    let path = path.to_path_buf();
    move |source| PrepareError::Io { step, path, source }
}

/// Makes what is missing; what another process has made in the meantime is left as it is. Blocking.
pub fn prepare(preparation: &Preparation, say: &dyn Fn(&str)) -> Result<(), PrepareError> {
    let steps = Steps { say };
    match preparation {
        Preparation::Zig { directory } => {
            let _turn = take_turn(directory)?;
            if directory.exists() { Ok(()) } else { zig::install(&steps, directory) }
        }
        Preparation::StandardLibrary { triple, compiler, directory } => {
            let library = standard_library::directory(directory, compiler, triple);
            let _turn = take_turn(&library)?;
            match library.exists() {
                true => Ok(()),
                false => standard_library::build(&steps, directory, compiler, triple),
            }
        }
    }
}

/// Waits until no other process makes the same thing. Ends when the file is dropped, also by a kill.
fn take_turn(made: &Path) -> Result<File, PrepareError> {
    let dir = made.parent().unwrap_or(made);
    fs::create_dir_all(dir).map_err(io_error("make the directory", dir))?;
    let name = made.file_name().unwrap_or_default().to_string_lossy();
    let path = dir.join(format!("{name}.lock"));
    let file = File::create(&path).map_err(io_error("open", &path))?;
    file.lock().map_err(io_error("lock", &path))?;
    Ok(file)
}

/// What every preparation needs.
pub(super) struct Steps<'a> {
    say: &'a dyn Fn(&str),
}

impl Steps<'_> {
    /// Tells people what happens now.
    pub fn say(&self, line: &str) {
        (self.say)(line);
    }

    pub fn shell(&self) -> Result<Shell, PrepareError> {
        let failed = |error: xshell::Error| PrepareError::Command {
            command: "start a command".to_string(),
            output: error.to_string(),
        };
        Shell::new().map_err(failed)
    }

    /// Runs a command; its output is only of interest when it fails.
    pub fn run(&self, command: Cmd<'_>) -> Result<String, PrepareError> {
        let text = command.to_string();
        self.say(&text);
        let failed = |output: String| PrepareError::Command { command: text.clone(), output };
        let output = command.quiet().ignore_status().output().map_err(|error| failed(error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let said = said + &String::from_utf8_lossy(&output.stderr);
        Err(failed(format!("{}\n{}", output.status, said.trim())))
    }

    /// A directory beside what is made; whatever is left in it goes away with it.
    pub fn staging(&self, made: &Path) -> Result<TempDir, PrepareError> {
        let dir = made.parent().unwrap_or(made);
        fs::create_dir_all(dir).map_err(io_error("make the directory", dir))?;
        tempfile::Builder::new()
            .prefix(".making-")
            .tempdir_in(dir)
            .map_err(io_error("make a directory in", dir))
    }

    /// Makes what is staged visible.
    pub fn publish(&self, staging: TempDir, made: &Path) -> Result<(), PrepareError> {
        use std::os::unix::fs::PermissionsExt;
        let readable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(staging.path(), readable)
            .map_err(io_error("set the permissions of", staging.path()))?;
        let staged = staging.keep();
        fs::rename(&staged, made).map_err(io_error("write", made))
    }
}
