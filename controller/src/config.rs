//! Flags of the controller, checked before anything is touched.

mod file;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, CommandFactory, Parser};
use jiff::SignedDuration;

use crate::engines::child::Place;
use crate::leader;
use crate::reconcile::decide::{Backoff, Settings};

/// Executes workflows against targets, one at a time per target, and accounts for each.
#[derive(Clone, Debug, Parser)]
#[command(name = "workflowexecution-controller", version, args_override_self = true)]
pub struct Config {
    /// YAML file with any of the following, as `execution: {cooldown_period: 5m}`; flags win over it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Namespace in which workflows run.
    #[arg(long, default_value = api::names::EXECUTION_NAMESPACE, value_name = "NAMESPACE")]
    pub execution_namespace: String,
    /// ServiceAccount workflows run as, in that namespace.
    #[arg(long, default_value = "kubernaut-workflow-runner", value_name = "NAME")]
    pub service_account: String,
    /// How long a target rests after an execution: a duration such as `5s`, or minutes.
    #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = minutes)]
    pub cooldown_period: SignedDuration,
    /// How long a target rests after an execution that could not start: seconds, or a duration.
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = seconds)]
    pub base_cooldown_seconds: SignedDuration,
    /// At most that long after several of them: minutes, or a duration.
    #[arg(long, default_value = "10m", value_name = "DURATION", value_parser = minutes)]
    pub max_cooldown_minutes: SignedDuration,
    /// Doublings of that rest, at most.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    pub max_backoff_exponent: u32,
    /// Longest run of a workflow that does not say.
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = minutes)]
    pub default_timeout: SignedDuration,
    /// Where audit events are stored.
    #[arg(long, default_value = "http://datastorage.kubernaut-system:8080", value_name = "URL", value_parser = url)]
    pub datastorage_url: String,
    /// Longest request to DataStorage: seconds, or a duration.
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = seconds)]
    pub datastorage_timeout: SignedDuration,
    /// Where `/metrics` is served.
    #[arg(long, default_value = ":9090", value_name = "[IP]:PORT", value_parser = address)]
    pub metrics_bind_address: SocketAddr,
    /// Where `/healthz` and `/readyz` are served.
    #[arg(long, default_value = ":8081", value_name = "[IP]:PORT", value_parser = address)]
    pub health_probe_bind_address: SocketAddr,
    /// Act only while holding a Lease, so that more than one replica can be run.
    #[arg(
        long,
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        value_name = "BOOL"
    )]
    pub leader_elect: bool,
    /// Name of the Lease.
    #[arg(long, default_value = "workflowexecution.kubernaut.ai", value_name = "NAME")]
    pub leader_election_id: String,
    /// Namespace of the Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = api::names::SYSTEM_NAMESPACE, value_name = "NAMESPACE")]
    pub leader_election_namespace: String,
    /// How long a leader that is silent is waited for: seconds, or a duration.
    #[arg(long, default_value = "15s", value_name = "DURATION", value_parser = seconds)]
    pub lease_duration: SignedDuration,
    /// What is logged: a level, or directives such as `info,controller=debug`.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "DIRECTIVES")]
    pub log: String,
    /// Name of the pod this runs in: who holds the Lease, and who tells Kubernetes events.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,
}

impl Config {
    /// From a command line, and from the file it names.
    pub fn load(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let typed = Self::try_parse_from(&arguments)?;
        let Some(file) = &typed.config else { return Ok(typed) };
        let refuse = |error: file::Error| {
            Self::command().error(clap::error::ErrorKind::ValueValidation, crate::chain(&error))
        };
        let flags = file::flags(file).map_err(refuse)?;
        // What comes later wins: the command line over the file.
        let (program, typed) = arguments.split_at(arguments.len().min(1));
        Self::try_parse_from(program.iter().chain(&flags).chain(typed))
    }

    /// What decisions depend on.
    pub fn settings(&self) -> Result<Settings, String> {
        let backoff = Backoff {
            base: self.base_cooldown_seconds,
            max: self.max_cooldown_minutes,
            max_exponent: self.max_backoff_exponent,
        };
        if backoff.max < backoff.base {
            return Err("--max-cooldown-minutes must not be shorter than --base-cooldown-seconds".to_owned());
        }
        Ok(Settings { cooldown: self.cooldown_period, backoff })
    }

    /// Where workflows run.
    pub fn place(&self) -> Place {
        Place {
            namespace: self.execution_namespace.clone(),
            service_account: self.service_account.clone(),
            timeout: self.default_timeout,
        }
    }

    /// The election, unless there is none.
    pub fn election(&self, identity: &str) -> Option<leader::Options> {
        self.leader_elect.then(|| leader::Options {
            namespace: self.leader_election_namespace.clone(),
            name: self.leader_election_id.clone(),
            identity: identity.to_owned(),
            // The Lease says it in whole seconds.
            duration: Duration::from_secs(self.lease_duration.as_secs().unsigned_abs().max(1)),
        })
    }

    /// Longest request to DataStorage.
    pub fn datastorage_timeout(&self) -> Duration {
        self.datastorage_timeout.unsigned_abs()
    }
}

fn minutes(text: &str) -> Result<SignedDuration, String> {
    duration(text, 60)
}

fn seconds(text: &str) -> Result<SignedDuration, String> {
    duration(text, 1)
}

/// A positive duration; a bare number counts units of `unit` seconds.
fn duration(text: &str, unit: i64) -> Result<SignedDuration, String> {
    let parsed = match text.parse::<i64>() {
        Ok(number) => SignedDuration::from_secs(number.saturating_mul(unit)),
        Err(_) => api::duration::parse(text).map_err(|error| error.to_string())?,
    };
    if parsed.is_positive() { Ok(parsed) } else { Err("must be longer than nothing".to_owned()) }
}

/// `:9090` means every address, as in Go.
fn address(text: &str) -> Result<SocketAddr, String> {
    let parsed = match text.strip_prefix(':') {
        Some(port) => port.parse().map(|port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).ok(),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| "is neither `:PORT` nor `IP:PORT`".to_owned())
}

fn url(text: &str) -> Result<String, String> {
    match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(text.to_owned()),
        Ok(_) => Err("must be an http or https URL with a host".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Config, String> {
        let flags = ["workflowexecution-controller"].iter().chain(flags);
        Config::try_parse_from(flags).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_take_durations_and_the_numbers_of_old() {
        for (flag, expected) in [
            ("--cooldown-period=5s", SignedDuration::from_secs(5)),
            ("--cooldown-period=1", SignedDuration::from_mins(1)),
            ("--cooldown-period=1m30s", SignedDuration::from_secs(90)),
        ] {
            assert_eq!(parse(&[flag]).unwrap().cooldown_period, expected, "{flag}");
        }
        assert_eq!(
            parse(&["--base-cooldown-seconds=7"]).unwrap().base_cooldown_seconds,
            SignedDuration::from_secs(7)
        );
        assert_eq!(parse(&[]).unwrap().metrics_bind_address, "0.0.0.0:9090".parse().unwrap());
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.yaml");
        let load = |text: &str, flags: &[&str]| {
            std::fs::write(&file, text).unwrap();
            let named = format!("--config={}", file.display());
            let arguments = ["controller", &named].into_iter().chain(flags.iter().copied());
            Config::load(arguments.map(OsString::from)).map_err(|error| error.to_string())
        };
        let text = "execution:\n  namespace: from-file\n  service_account: from-file\n";
        let config = load(text, &["--service-account=from-flag"]).unwrap();
        assert_eq!(config.execution_namespace, "from-file");
        assert_eq!(config.service_account, "from-flag");
        assert_eq!(config.cooldown_period, SignedDuration::from_mins(5));
        let refusal = load("execution:\n  cooldown_period: soon\n", &[]).unwrap_err();
        assert!(refusal.contains("--cooldown-period"), "{refusal}");
        let refusal = load("execution:\n  cooldownPeriod: 5m\n", &[]).unwrap_err();
        assert!(refusal.contains("config.yaml") && refusal.contains("cooldownPeriod"), "{refusal}");
    }

    #[test]
    fn leader_election_is_off_unless_asked_for() {
        for (flags, expected) in [
            (&[][..], false),
            (&["--leader-elect"], true),
            (&["--leader-elect=true"], true),
            (&["--leader-elect=false"], false),
        ] {
            assert_eq!(parse(flags).unwrap().election("me").is_some(), expected, "{flags:?}");
        }
        let election = parse(&["--leader-elect", "--lease-duration=4"]).unwrap().election("me").unwrap();
        assert_eq!(
            (election.name.as_str(), election.duration.as_secs()),
            ("workflowexecution.kubernaut.ai", 4)
        );
    }

    #[test]
    fn wrong_flags_are_refused_by_name() {
        for flag in [
            "--cooldown-period=0",
            "--cooldown-period=soon",
            "--max-backoff-exponent=11",
            "--datastorage-url=datastorage:8080",
            "--metrics-bind-address=metrics",
        ] {
            let message = parse(&[flag]).unwrap_err();
            assert!(message.contains(flag.split('=').next().unwrap()), "{message}");
        }
        let config = parse(&["--base-cooldown-seconds=2m", "--max-cooldown-minutes=1"]).unwrap();
        assert!(config.settings().unwrap_err().contains("--max-cooldown-minutes"));
    }
}
