//! The command line. Every flag has an environment variable; durations are written like `30s` or `2160h`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::certificate::Source;

/// Records which person made a decision: who cleared a block, approved a remediation or cancelled a notification. Stamps it with
/// the caller's identity and reports it to the audit trail.
#[derive(Clone, Debug, Parser)]
#[command(name = "authwebhook", version)]
pub struct Options {
    /// Address of the admission webhook (HTTPS).
    #[arg(long, env = "AUTHWEBHOOK_LISTEN", default_value = "0.0.0.0:9443")]
    pub listen: SocketAddr,
    /// Address of health and metrics (HTTP).
    #[arg(long, env = "AUTHWEBHOOK_HEALTH_LISTEN", default_value = "0.0.0.0:8081")]
    pub health_listen: SocketAddr,
    /// Namespace of the Service and the Secret.
    #[arg(long, env = "POD_NAMESPACE", default_value = api::names::SYSTEM_NAMESPACE)]
    pub namespace: String,
    /// Service by which the API server reaches this webhook.
    #[arg(long, env = "AUTHWEBHOOK_SERVICE", default_value = "authwebhook")]
    pub service: String,
    /// Who makes the serving certificate.
    #[arg(long, env = "AUTHWEBHOOK_CERTIFICATE_SOURCE", value_enum, default_value_t)]
    pub certificate_source: Source,
    /// Secret that holds the serving certificate.
    #[arg(long, env = "AUTHWEBHOOK_SECRET", default_value = "authwebhook-tls")]
    pub secret: String,
    /// MutatingWebhookConfiguration by which this webhook is registered; created if absent.
    #[arg(long, env = "AUTHWEBHOOK_CONFIGURATION", default_value = "authwebhook-mutating")]
    pub webhook_configuration: String,
    /// ValidatingWebhookConfiguration by which this webhook is registered; created if absent.
    #[arg(long, env = "AUTHWEBHOOK_VALIDATING_CONFIGURATION", default_value = "authwebhook-validating")]
    pub validating_configuration: String,
    /// Where audit events go.
    #[arg(long, env = "DATA_STORAGE_URL", default_value = "http://datastorage.kubernaut-system:8080")]
    pub datastorage_url: String,
    /// Folder in which audit events are kept until DataStorage has acknowledged them, so that a kill loses none; without,
    /// they are in memory only. Of one process alone.
    #[arg(long, env = "AUTHWEBHOOK_JOURNAL")]
    pub journal: Option<PathBuf>,
    /// Lifetime of the serving certificate; it is renewed when a third is left.
    #[arg(long, env = "AUTHWEBHOOK_CERTIFICATE_LIFETIME", default_value = "2160h", value_parser = parse_duration)]
    pub certificate_lifetime: Duration,
    /// Lifetime of the CA that signs it; a new CA is made with the first certificate that would outlast the old one.
    #[arg(long, env = "AUTHWEBHOOK_CA_LIFETIME", default_value = "21600h", value_parser = parse_duration)]
    pub ca_lifetime: Duration,
    /// A certificate of a new CA is served only when the API server has been told to trust it for this long.
    #[arg(long, env = "AUTHWEBHOOK_OVERLAP", default_value = "30s", value_parser = parse_duration)]
    pub overlap: Duration,
    /// How often certificate, listener and registration are checked.
    #[arg(long, env = "AUTHWEBHOOK_INTERVAL", default_value = "5s", value_parser = parse_duration)]
    pub interval: Duration,
    /// After SIGTERM, keep serving for this long while reporting not ready, so that the API server moves away.
    #[arg(long, env = "AUTHWEBHOOK_DRAIN_DELAY", default_value = "3s", value_parser = parse_duration)]
    pub drain_delay: Duration,
    /// After that, time for running reviews and again for unsent audit events.
    #[arg(long, env = "AUTHWEBHOOK_SHUTDOWN_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub shutdown_timeout: Duration,
    /// What to log: a level, or directives such as `info,authwebhook=debug`.
    #[arg(long, env = "AUTHWEBHOOK_LOG", default_value = "info")]
    pub log: String,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = api::duration::parse(text).map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Options as clap::CommandFactory>::command().debug_assert();
        let options = Options::try_parse_from(["authwebhook", "--interval=1m"]).unwrap();
        assert_eq!(options.interval, Duration::from_secs(60));
    }
}
