//! The command line. Every flag has an environment variable; durations are written like `30s` or `1m30s`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use api::duration;
use clap::{Args, Parser, Subcommand};

use crate::repository::Pool;
use crate::retention::{CategoryDays, Policy};

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
    /// Verify stored or exported events without the service. Ends with 6 when something is not as it was accepted.
    #[command(
        after_help = "Examples:\n  datastorage verify --database sqlite:///data/audit.db\n  datastorage verify \
        --database postgres://auditor@host/audit --correlation rr-1\n  datastorage verify --export export.json \
        --certificate trusted.pem"
    )]
    Verify(VerifyOptions),
}

/// What to verify.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["database", "export"]))]
pub struct VerifyOptions {
    /// The chains in this database. Nothing is written to it.
    #[arg(long)]
    pub database: Option<String>,
    /// Only the chain of this correlation.
    #[arg(long, conflicts_with = "export")]
    pub correlation: Option<String>,
    /// The signature and the hashes of this export, a file; `-` is standard input.
    #[arg(long)]
    pub export: Option<PathBuf>,
    /// The certificate that has to have signed it, PEM. Without, the export's own is used: that shows only that nothing was
    /// changed after somebody signed.
    #[arg(long, conflicts_with = "database")]
    pub certificate: Option<PathBuf>,
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
    /// Connections to the database.
    #[command(flatten)]
    pub pool: PoolOptions,
    /// What may be asked of the service.
    #[command(flatten)]
    pub limits: Limits,
    /// How long events are kept.
    #[command(flatten)]
    pub retention: RetentionOptions,
    /// Certificate to serve HTTPS with, PEM; a replaced file is used for new connections. Needs `--tls-key`.
    #[arg(long, env = "DATASTORAGE_TLS_CERTIFICATE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Key of that certificate, PEM.
    #[arg(long, env = "DATASTORAGE_TLS_KEY", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Directory with `tls.key` and `tls.crt`, which sign exports; made if absent. `signing` beside a SQLite file unless given.
    #[arg(long, env = "DATASTORAGE_SIGNING_DIRECTORY")]
    pub signing_directory: Option<PathBuf>,
    /// Let the API server authenticate callers (TokenReview) and authorize them (SubjectAccessReview on this Service: `get`
    /// to read, `create` to write, `update` for holds and the status of workflows).
    #[arg(long, env = "DATASTORAGE_AUTHORIZE")]
    pub authorize: bool,
    /// Namespace of this Service.
    #[arg(long, env = "POD_NAMESPACE", default_value = api::names::SYSTEM_NAMESPACE)]
    pub namespace: String,
    /// Name of this Service.
    #[arg(long, env = "DATASTORAGE_SERVICE", default_value = "datastorage")]
    pub service: String,
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
    /// Requests a second from one address, 0 for any number; twice as many at once.
    #[arg(long, env = "DATASTORAGE_RATE_LIMIT", default_value_t = 500)]
    pub rate_limit: u32,
}

/// Connections to the database. SQLite has one that writes and four that read.
#[derive(Clone, Copy, Debug, Args)]
pub struct PoolOptions {
    /// Most connections.
    #[arg(long, env = "DATASTORAGE_MAX_CONNECTIONS", default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,
    /// Connections that are kept although nobody uses them.
    #[arg(long, env = "DATASTORAGE_MIN_CONNECTIONS", default_value_t = 1)]
    pub min_connections: u32,
    /// How long a request waits for a connection.
    #[arg(long, env = "DATASTORAGE_ACQUIRE_TIMEOUT", default_value = "5s", value_parser = parse_duration)]
    pub acquire_timeout: Duration,
    /// A connection that nobody used for so long is closed.
    #[arg(long, env = "DATASTORAGE_IDLE_TIMEOUT", default_value = "10m", value_parser = parse_duration)]
    pub idle_timeout: Duration,
    /// A connection that is so old is closed.
    #[arg(long, env = "DATASTORAGE_MAX_LIFETIME", default_value = "30m", value_parser = parse_duration)]
    pub max_lifetime: Duration,
    /// A statement that takes longer is broken off by the database.
    #[arg(long, env = "DATASTORAGE_QUERY_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub query_timeout: Duration,
}

impl From<PoolOptions> for Pool {
    fn from(options: PoolOptions) -> Self {
        let PoolOptions {
            max_connections,
            min_connections,
            acquire_timeout,
            idle_timeout,
            max_lifetime,
            query_timeout,
        } = options;
        Self {
            max_connections,
            min_connections,
            acquire_timeout,
            idle_timeout,
            max_lifetime,
            statement_timeout: query_timeout,
        }
    }
}

/// How long events are kept.
#[derive(Clone, Debug, Args)]
pub struct RetentionOptions {
    /// Days to keep events; 0 keeps them for ever. A correlation is removed when the time of all its events is over.
    #[arg(long, env = "DATASTORAGE_RETENTION_DAYS", default_value_t = 2555)]
    pub retention_days: u32,
    /// Days to keep events of one category, as `gateway=90`. Repeated, or separated by commas.
    #[arg(long, env = "DATASTORAGE_RETENTION_CATEGORY", value_delimiter = ',')]
    pub retention_category: Vec<CategoryDays>,
    /// How often to look for events whose time is over.
    #[arg(long, env = "DATASTORAGE_RETENTION_INTERVAL", default_value = "24h", value_parser = parse_duration)]
    pub retention_interval: Duration,
}

impl RetentionOptions {
    /// How long events are kept; `None` for ever.
    pub fn policy(&self) -> Option<Policy> {
        let categories =
            self.retention_category.iter().map(|CategoryDays(category, days)| (*category, *days));
        let policy = Policy { days: self.retention_days, categories: categories.collect() };
        (policy.days > 0).then_some(policy)
    }
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

    #[test]
    fn a_database_or_an_export_is_verified_and_not_both() {
        let parses = |arguments: &[&str]| {
            Options::try_parse_from(["datastorage", "verify"].iter().chain(arguments)).is_ok()
        };
        assert!(parses(&["--database=sqlite:///a"]));
        assert!(parses(&["--database=sqlite:///a", "--correlation=rr-1"]));
        assert!(parses(&["--export=a.json", "--certificate=a.pem"]));
        assert!(!parses(&[]));
        assert!(!parses(&["--export=a.json", "--database=sqlite:///a"]));
        assert!(!parses(&["--export=a.json", "--correlation=rr-1"]));
    }

    #[test]
    fn events_are_kept_as_long_as_the_options_say() {
        let policy = |arguments: &[&str]| {
            let options = Options::try_parse_from(["datastorage"].iter().chain(arguments)).unwrap();
            options.serve.retention.policy()
        };
        assert_eq!(policy(&[]).unwrap().days, 2555);
        assert_eq!(policy(&["--retention-days=0"]), None);
        assert_eq!(policy(&["--retention-category=gateway=1,webhook=2"]).unwrap().categories.len(), 2);
    }
}
