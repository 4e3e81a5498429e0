//! Logs: one JSON object per line on stdout.

use tracing_subscriber::EnvFilter;

/// Sends every log line to stdout from now on. The error says what is wrong with `directives`.
pub fn init(directives: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(directives).map_err(|error| format!("`{directives}`: {error}"))?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .try_init()
        .map_err(|error| error.to_string())
}
