//! Boot proof: the program, in the bytes its layer is made of, is started once with `--version`.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use crate::platform::Platform;

/// A program that has not answered by then is taken for hanging. Generous: emulated programs start slowly.
const DEADLINE: Duration = Duration::from_secs(30);
/// Enough of an answer to recognise it.
const LONGEST_ANSWER: u64 = 16 << 10;

/// Whether and how a program was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Boot {
    /// On this machine's own processor.
    Native {
        /// The first line it printed.
        answer: String,
    },
    /// Under an emulator.
    Emulated {
        /// The emulator's program.
        emulator: String,
        /// The first line it printed.
        answer: String,
    },
    /// Not started, and why: nothing is known.
    NotRun {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Boot::Native { .. } => f.write_str("native"),
            Boot::Emulated { .. } => f.write_str("emulated"),
            Boot::NotRun { .. } => f.write_str("not run"),
        }
    }
}

/// Starts the program `bytes`; the error says what it did instead of answering.
pub(super) fn boot(bytes: &[u8], platform: &Platform, scratch: &Path) -> Result<Boot, String> {
    let emulator = if *platform == Platform::host() {
        None
    } else {
        let name = format!("qemu-{}-static", platform.qemu_name());
        match on_path(&name) {
            Some(path) => Some((name, path)),
            None => return Ok(Boot::NotRun { reason: format!("no {name} on PATH") }),
        }
    };
    let prepare = |error: io::Error| format!("what it says cannot be kept in {}: {error}", scratch.display());
    fs::create_dir_all(scratch).map_err(prepare)?;
    let dir = tempfile::Builder::new().prefix("boot-").tempdir_in(scratch).map_err(prepare)?;
    let program = in_memory(bytes).map_err(|error| format!("it cannot be held in memory: {error}"))?;
    // By way of this process, so that no other that is started meanwhile inherits it.
    let path = format!("/proc/{}/fd/{}", std::process::id(), program.as_raw_fd());

    let mut command = match &emulator {
        Some((_, emulator)) => {
            let mut command = Command::new(emulator);
            command.arg(&path);
            command
        }
        None => Command::new(&path),
    };
    command.arg("--version").env_clear().current_dir(dir.path());
    let answer = answer(command, dir.path())?;
    Ok(match emulator {
        Some((emulator, _)) => Boot::Emulated { emulator, answer },
        None => Boot::Native { answer },
    })
}

fn answer(mut command: Command, dir: &Path) -> Result<String, String> {
    let (stdout, stderr) = (dir.join("stdout"), dir.join("stderr"));
    let create = |path: &Path| File::create(path).map_err(|error| format!("{}: {error}", path.display()));
    command.stdin(Stdio::null()).stdout(create(&stdout)?).stderr(create(&stderr)?);
    let mut child = command.spawn().map_err(|error| format!("it cannot be executed: {error}"))?;
    let status = match wait(&mut child) {
        Ok(Some(status)) => status,
        Ok(None) => return Err(format!("it did not answer within {} s", DEADLINE.as_secs())),
        Err(error) => return Err(format!("it cannot be watched: {error}")),
    };
    if !status.success() {
        let said = [head(&stderr), head(&stdout)].join("\n");
        return Err(format!("{status}\n{}", said.trim()).trim().to_string());
    }
    head(&stdout)
        .lines()
        .next()
        .map(|line| line.trim().to_string())
        .filter(|line| !line.is_empty())
        .ok_or_else(|| "it printed nothing".to_string())
}

/// A file without a name: nothing of the program touches a disk, and nobody else can have it open for writing, which would keep it from
/// being started.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("program", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

fn wait(child: &mut Child) -> io::Result<Option<std::process::ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > DEADLINE {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn head(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST_ANSWER).read_to_end(&mut bytes));
    if read.is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
}
