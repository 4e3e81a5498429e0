//! The configuration file: what flags may say, in YAML. A flag on the command line wins over the file, the file over the default.

use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize;

/// Why a file does not configure anything.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or may not be read.
    #[error("failed to read the configuration {file}")]
    Read {
        /// The file.
        file: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It is not YAML, or has keys that mean nothing: a misspelt key must not be taken for an absent one.
    #[error("the configuration {file} has a mistake: {message}")]
    Mistake {
        /// The file.
        file: String,
        /// Where and what.
        message: String,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    execution: Execution,
    backoff: Backoff,
    audit: Audit,
    controller: Controller,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Execution {
    namespace: Option<String>,
    service_account: Option<String>,
    cooldown_period: Option<String>,
    default_timeout: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Backoff {
    base_cooldown: Option<String>,
    max_cooldown: Option<String>,
    max_exponent: Option<u32>,
    /// In files of old. Whoever creates executions counts failures over many of them, and stops.
    max_consecutive_failures: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Audit {
    datastorage_url: Option<String>,
    timeout: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Controller {
    metrics_addr: Option<String>,
    health_probe_addr: Option<String>,
    leader_election: Option<bool>,
    leader_election_id: Option<String>,
    leader_election_namespace: Option<String>,
    lease_duration: Option<String>,
}

/// The flags that say what `file` says.
pub fn flags(file: &Path) -> Result<Vec<OsString>, Error> {
    let name = || file.display().to_string();
    let text = std::fs::read_to_string(file).map_err(|source| Error::Read { file: name(), source })?;
    parse(&text).map_err(|message| Error::Mistake { file: name(), message })
}

fn parse(text: &str) -> Result<Vec<OsString>, String> {
    // A file of comments alone configures nothing.
    let file: Option<File> = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let File { execution, backoff, audit, controller } = file.unwrap_or_default();
    let Execution { namespace, service_account, cooldown_period, default_timeout } = execution;
    let Backoff { base_cooldown, max_cooldown, max_exponent, max_consecutive_failures: _ } = backoff;
    let Audit { datastorage_url, timeout } = audit;
    let Controller {
        metrics_addr,
        health_probe_addr,
        leader_election,
        leader_election_id,
        leader_election_namespace,
        lease_duration,
    } = controller;
    let flags = [
        ("execution-namespace", namespace),
        ("service-account", service_account),
        ("cooldown-period", cooldown_period),
        ("default-timeout", default_timeout),
        ("base-cooldown-seconds", base_cooldown),
        ("max-cooldown-minutes", max_cooldown),
        ("max-backoff-exponent", max_exponent.map(|exponent| exponent.to_string())),
        ("datastorage-url", datastorage_url),
        ("datastorage-timeout", timeout),
        ("metrics-bind-address", metrics_addr),
        ("health-probe-bind-address", health_probe_addr),
        ("leader-elect", leader_election.map(|elect| elect.to_string())),
        ("leader-election-id", leader_election_id),
        ("leader-election-namespace", leader_election_namespace),
        ("lease-duration", lease_duration),
    ];
    Ok(flags.into_iter().filter_map(|(flag, value)| Some(format!("--{flag}={}", value?).into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_flags_and_absent_ones_nothing() {
        let text = "execution:\n  cooldown_period: 5m\nbackoff:\n  max_exponent: 3\ncontroller:\n  leader_election: true\n";
        assert_eq!(
            parse(text).unwrap(),
            ["--cooldown-period=5m", "--max-backoff-exponent=3", "--leader-elect=true"].map(OsString::from)
        );
        assert_eq!(parse("# nothing\n").unwrap(), [""; 0].map(OsString::from));
    }

    /// Lesson E2E_ROOT_CAUSE_YAML_FIELD_NAMING: a key in another spelling was an empty value, and days of searching.
    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        for (text, key) in [
            ("execution:\n  cooldownPeriod: 5m\n", "cooldownPeriod"),
            ("excution:\n  namespace: x\n", "excution"),
            ("backoff:\n  max_exponents: 5\n", "max_exponents"),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(key) && message.contains("line"), "{message}");
        }
    }
}
