//! Files that are generated from the types, committed, and compared with them by a test.

use std::path::Path;
use std::{fs, io};

use kube::CustomResourceExt;

use crate::workflow_execution::WorkflowExecution;

/// The command that writes the generated files.
pub const REFRESH_COMMAND: &str = "cargo xtask codegen";

/// Where, from the root of the workspace, the definition of `WorkflowExecution` is committed.
pub const CRD_PATH: &str = "manifests/crds/workflowexecutions.kubernaut.ai.yaml";

/// A generated file that is not what the types say.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The content could not be written as text.
    #[error("failed to render `{path}`: {reason}")]
    Render {
        /// From the root of the workspace.
        path: &'static str,
        /// What the serializer says.
        reason: String,
    },
    /// The committed file differs.
    #[error("`{path}` is not what the types say\n  hint: run `{REFRESH_COMMAND}` and commit the result")]
    Stale {
        /// From the root of the workspace.
        path: &'static str,
    },
    /// The file could not be read or written.
    #[error("failed to access `{path}`\n  hint: run `{REFRESH_COMMAND}` from inside the workspace")]
    Io {
        /// From the root of the workspace.
        path: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// The CustomResourceDefinition of `WorkflowExecution` as YAML.
pub fn crd_yaml() -> Result<String, Error> {
    let crd = WorkflowExecution::crd();
    let body = serde_saphyr::to_string(&crd)
        .map_err(|error| Error::Render { path: CRD_PATH, reason: error.to_string() })?;
    Ok(format!("# Generated from api/src/workflow_execution.rs by `{REFRESH_COMMAND}`.\n{body}"))
}

/// Writes every generated file under `root` that is not current, and returns the paths written.
pub fn write(root: &Path) -> Result<Vec<&'static str>, Error> {
    let mut written = Vec::new();
    for (path, content) in files()? {
        let file = root.join(path);
        if fs::read_to_string(&file).is_ok_and(|current| current == content) {
            continue;
        }
        let io_error = |source| Error::Io { path, source };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(io_error)?;
        }
        fs::write(&file, content).map_err(io_error)?;
        written.push(path);
    }
    Ok(written)
}

/// Fails with the first file under `root` that is not what the types say.
pub fn check(root: &Path) -> Result<(), Error> {
    for (path, content) in files()? {
        let current = fs::read_to_string(root.join(path)).map_err(|source| Error::Io { path, source })?;
        if current != content {
            return Err(Error::Stale { path });
        }
    }
    Ok(())
}

fn files() -> Result<Vec<(&'static str, String)>, Error> {
    Ok(vec![(CRD_PATH, crd_yaml()?)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_files_are_what_the_types_say() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        if let Err(error) = check(&root) {
            panic!("{error}");
        }
    }

    #[test]
    fn a_stale_file_is_named_with_the_command_that_refreshes_it() {
        let folder = std::env::temp_dir().join(format!("generated-{}", std::process::id()));
        assert_eq!(write(&folder).unwrap(), [CRD_PATH]);
        assert!(write(&folder).unwrap().is_empty(), "a current file is not written again");
        fs::write(folder.join(CRD_PATH), "other").unwrap();
        let message = check(&folder).unwrap_err().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert!(message.contains(CRD_PATH) && message.contains("cargo xtask codegen"), "{message}");
    }
}
