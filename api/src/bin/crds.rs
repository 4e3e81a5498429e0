//! Prints the custom resource's definition, which is committed for `kubectl` and for the deployment.

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let printed = match api::generated::crd_yaml() {
        Ok(yaml) => io::stdout().write_all(yaml.as_bytes()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
