//! Prints the definition of the custom resource that its argument names by its plural. Committed for `kubectl` and for the
//! deployment.

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let plural = std::env::args().nth(1).unwrap_or_default();
    let printed = match api::generated::crd_yaml(&plural) {
        Some(Ok(yaml)) => io::stdout().write_all(yaml.as_bytes()).map_err(|error| error.to_string()),
        Some(Err(error)) => Err(error.to_string()),
        None => Err(format!("there is no custom resource `{plural}`; pass the plural of one")),
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}
