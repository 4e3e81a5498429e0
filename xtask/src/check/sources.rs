//! The committed texts.

use std::fs;

use xshell::cmd;

use crate::exit::{Failure, UNFORESEEN};
use crate::workspace;

/// A committed file that is text.
pub struct Source {
    /// From the root.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// Every committed text under these folders, or every one at all when there are none.
pub fn committed(folders: &[&str]) -> Result<Vec<Source>, Failure> {
    let shell = workspace::shell()?;
    // A file that was just written counts as well: it is about to be committed.
    let listed =
        cmd!(shell, "git ls-files --cached --others --exclude-standard -- {folders...}").quiet().read();
    let listed = listed.map_err(|error| {
        let message = format!("failed to list the committed files: {error}");
        Failure::new(UNFORESEEN, message, "checks need git and a checkout")
    })?;
    let root = workspace::root();
    let read = |path: &str| {
        let text = fs::read_to_string(root.join(path)).ok()?;
        Some(Source { path: path.to_string(), text })
    };
    Ok(listed.lines().filter_map(read).collect())
}
