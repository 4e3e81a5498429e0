//! The command line. Every flag has an environment variable; durations are written like `30s` or `1m30s`.

use std::net::SocketAddr;
use std::time::Duration;

use api::duration;
use clap::{Args, Parser, Subcommand};

/// Keeps the audit trail: accepts events over HTTP, stores each exactly once, answers queries.
#[derive(Debug, Parser)]
#[command(name = "datastorage", version, args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeOptions,
}

/// Instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Print the OpenAPI document that the service serves.
    Openapi,
}

/// How to serve.
#[derive(Clone, Debug, Args)]
pub struct ServeOptions {
    /// Address of the API, health and metrics.
    #[arg(long, env = "DATASTORAGE_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Where events are kept: `sqlite:///path/file` or `postgres://user:password@host/database`.
    #[arg(
        long,
        env = "DATASTORAGE_DATABASE",
        hide_env_values = true,
        default_value = "sqlite:///data/audit.db"
    )]
    pub database: String,
    /// What may be asked of the service.
    #[command(flatten)]
    pub limits: Limits,
    /// After SIGTERM, keep serving for this long while reporting not ready, so that clients move away.
    #[arg(long, env = "DATASTORAGE_DRAIN_DELAY", default_value = "2s", value_parser = parse_duration)]
    pub drain_delay: Duration,
    /// Requests that are still running this long after SIGTERM are cut off.
    #[arg(long, env = "DATASTORAGE_SHUTDOWN_TIMEOUT", default_value = "25s", value_parser = parse_duration)]
    pub shutdown_timeout: Duration,
    /// What to log: a level, or directives such as `info,datastorage=debug`.
    #[arg(long, env = "DATASTORAGE_LOG", default_value = "info")]
    pub log: String,
}

/// What may be asked of the service.
#[derive(Clone, Copy, Debug, Args)]
pub struct Limits {
    /// Largest request body, in bytes.
    #[arg(long, env = "DATASTORAGE_MAX_BODY_BYTES", default_value_t = 5 * 1024 * 1024)]
    pub max_body_bytes: usize,
    /// Most events in a batch.
    #[arg(long, env = "DATASTORAGE_MAX_BATCH_SIZE", default_value_t = 500)]
    pub max_batch_size: usize,
    /// A request that takes longer is answered with 503.
    #[arg(long, env = "DATASTORAGE_REQUEST_TIMEOUT", default_value = "30s", value_parser = parse_duration)]
    pub request_timeout: Duration,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = duration::parse(text).map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_reads_durations() {
        <Options as clap::CommandFactory>::command().debug_assert();
        let options = Options::try_parse_from(["datastorage", "--drain-delay=1m30s"]).unwrap();
        assert_eq!(options.serve.drain_delay, Duration::from_secs(90));
        assert!(Options::try_parse_from(["datastorage", "--drain-delay=soon"]).is_err());
    }
}
