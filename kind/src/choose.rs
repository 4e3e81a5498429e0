//! Which provider to use: a pure decision with a reason that can be printed.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::facts::{ContainerEngine, Facts};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Provider {
    /// Whatever this machine has.
    #[default]
    Auto,
    /// The embedded engine.
    Embedded,
    /// The kind command line.
    Kind,
    /// A context of a kubeconfig; `None` is the current one.
    Existing(Option<String>),
}

/// What will be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chosen {
    /// The embedded engine.
    Embedded,
    /// The kind command line on a container engine.
    Kind(ContainerEngine),
    /// A context of a kubeconfig.
    Existing {
        /// The file.
        kubeconfig: PathBuf,
        /// The context; `None` is the current one.
        context: Option<String>,
    },
}

/// A decision and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What will be used.
    pub provider: Chosen,
    /// As in "docker does not answer; this machine can run the embedded engine".
    pub reason: String,
}

/// No provider can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}\n  = hint: {hint}")]
pub struct Unavailable {
    /// What is missing.
    pub problem: String,
    /// What to install or to ask for instead.
    pub hint: String,
}

/// Decides. `auto` takes kind when a container engine answers and `kind` is installed, and the embedded engine otherwise.
pub fn choose(requested: &Provider, facts: &Facts) -> Result<Choice, Unavailable> {
    let choice = |provider, reason: String| Ok(Choice { provider, reason });
    match requested {
        Provider::Existing(context) => match (&facts.kubeconfig, context) {
            (None, _) => Err(Unavailable {
                problem: "there is no kubeconfig to take a context from".to_owned(),
                hint: "set KUBECONFIG to the file to use".to_owned(),
            }),
            (Some(kubeconfig), context) => {
                let what = context
                    .as_ref()
                    .map_or("the current context".to_owned(), |name| format!("context `{name}`"));
                let reason = format!("{what} of {} was asked for", kubeconfig.display());
                choice(Chosen::Existing { kubeconfig: kubeconfig.clone(), context: context.clone() }, reason)
            }
        },
        Provider::Embedded => match embedded_lacks(facts) {
            None => choice(Chosen::Embedded, "it was asked for".to_owned()),
            Some((problem, hint)) => {
                Err(Unavailable { problem: format!("the embedded engine cannot run here: {problem}"), hint })
            }
        },
        Provider::Kind => match kind_lacks(facts) {
            Ok(engine) => choice(Chosen::Kind(engine), format!("it was asked for, and {engine} answers")),
            Err((problem, hint)) => {
                Err(Unavailable { problem: format!("kind cannot be used here: {problem}"), hint })
            }
        },
        Provider::Auto => match (kind_lacks(facts), embedded_lacks(facts)) {
            (Ok(engine), _) => {
                choice(Chosen::Kind(engine), format!("{engine} answers and kind is installed"))
            }
            (Err((lacking, _)), None) => {
                choice(Chosen::Embedded, format!("{lacking}, and this machine can run the embedded engine"))
            }
            (Err((kind, kind_hint)), Some((embedded, embedded_hint))) => Err(Unavailable {
                problem: format!(
                    "no cluster can be brought up: {kind}, and the embedded engine cannot run: {embedded}"
                ),
                hint: format!(
                    "{kind_hint}; or {embedded_hint}; or name a cluster with `--provider existing`"
                ),
            }),
        },
    }
}

/// The container engine kind would use, or what is missing and its remedy.
fn kind_lacks(facts: &Facts) -> Result<ContainerEngine, (String, String)> {
    match (facts.container_engine, facts.kind_installed) {
        (Some(engine), true) => Ok(engine),
        (Some(engine), false) => Err((
            format!("{engine} answers but `kind` is not installed"),
            "install kind: https://kind.sigs.k8s.io/docs/user/quick-start/".to_owned(),
        )),
        (None, _) => {
            Err(("no container engine answers".to_owned(), "start docker, podman or nerdctl".to_owned()))
        }
    }
}

/// What the embedded engine misses on this machine and its remedy.
fn embedded_lacks(facts: &Facts) -> Option<(String, String)> {
    if !facts.linux {
        return Some((
            "it needs Linux".to_owned(),
            "use a container engine with kind, which brings its own Linux".to_owned(),
        ));
    }
    if !facts.root && !facts.user_namespaces {
        return Some((
            "this user may not create user namespaces".to_owned(),
            "allow them (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0) or run as root".to_owned(),
        ));
    }
    None
}

impl Chosen {
    /// In one word, as it is asked for on the command line.
    pub fn word(&self) -> &'static str {
        match self {
            Chosen::Embedded => "embedded",
            Chosen::Kind(_) => "kind",
            Chosen::Existing { .. } => "existing",
        }
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Chosen::Embedded => out.write_str("embedded engine"),
            Chosen::Kind(engine) => write!(out, "kind on {engine}"),
            Chosen::Existing { context: Some(context), .. } => write!(out, "context {context}"),
            Chosen::Existing { context: None, .. } => out.write_str("current context"),
        }
    }
}

impl std::str::FromStr for Provider {
    type Err = String;

    /// `auto`, `embedded`, `kind`, `existing`, `existing:<context>`.
    fn from_str(written: &str) -> Result<Provider, String> {
        match written.split_once(':') {
            None if written == "auto" => Ok(Provider::Auto),
            None if written == "embedded" => Ok(Provider::Embedded),
            None if written == "kind" => Ok(Provider::Kind),
            None if written == "existing" => Ok(Provider::Existing(None)),
            Some(("existing", context)) if !context.is_empty() => {
                Ok(Provider::Existing(Some(context.to_owned())))
            }
            _ => Err(format!(
                "`{written}` is not a provider; known are auto, embedded, kind, existing, existing:<context>"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Facts = Facts {
        container_engine: None,
        kind_installed: false,
        linux: true,
        root: false,
        user_namespaces: false,
        kubeconfig: None,
    };

    fn decided(requested: &Provider, facts: &Facts) -> String {
        match choose(requested, facts) {
            Ok(Choice { provider, reason }) => format!("{provider}: {reason}"),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn auto_prefers_kind_and_falls_back_to_the_embedded_engine() {
        let docker = Some(ContainerEngine::Docker);
        let table = [
            Facts { container_engine: docker, kind_installed: true, root: true, ..NOTHING },
            Facts { container_engine: docker, root: true, ..NOTHING },
            Facts { kind_installed: true, user_namespaces: true, ..NOTHING },
            Facts {
                linux: false,
                container_engine: Some(ContainerEngine::Podman),
                kind_installed: true,
                ..NOTHING
            },
            Facts { linux: false, ..NOTHING },
            NOTHING,
        ];
        let decisions: Vec<String> = table.iter().map(|facts| decided(&Provider::Auto, facts)).collect();
        insta::assert_snapshot!(decisions.join("\n"), @r#"
        kind on docker: docker answers and kind is installed
        embedded engine: docker answers but `kind` is not installed, and this machine can run the embedded engine
        embedded engine: no container engine answers, and this machine can run the embedded engine
        kind on podman: podman answers and kind is installed
        error: no cluster can be brought up: no container engine answers, and the embedded engine cannot run: it needs Linux
          = hint: start docker, podman or nerdctl; or use a container engine with kind, which brings its own Linux; or name a cluster with `--provider existing`
        error: no cluster can be brought up: no container engine answers, and the embedded engine cannot run: this user may not create user namespaces
          = hint: start docker, podman or nerdctl; or allow them (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0) or run as root; or name a cluster with `--provider existing`
        "#);
    }

    #[test]
    fn what_was_asked_for_is_used_or_refused_with_what_is_missing() {
        let able = Facts {
            kubeconfig: Some("/home/me/.kube/config".into()),
            container_engine: Some(ContainerEngine::Nerdctl),
            kind_installed: true,
            root: true,
            ..NOTHING
        };
        let asked = [
            Provider::Embedded,
            Provider::Kind,
            Provider::Existing(None),
            Provider::Existing(Some("prod".into())),
        ];
        let decisions: Vec<String> = asked
            .iter()
            .flat_map(|provider| [decided(provider, &able), decided(provider, &NOTHING)])
            .collect();
        insta::assert_snapshot!(decisions.join("\n"), @r#"
        embedded engine: it was asked for
        error: the embedded engine cannot run here: this user may not create user namespaces
          = hint: allow them (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0) or run as root
        kind on nerdctl: it was asked for, and nerdctl answers
        error: kind cannot be used here: no container engine answers
          = hint: start docker, podman or nerdctl
        current context: the current context of /home/me/.kube/config was asked for
        error: there is no kubeconfig to take a context from
          = hint: set KUBECONFIG to the file to use
        context prod: context `prod` of /home/me/.kube/config was asked for
        error: there is no kubeconfig to take a context from
          = hint: set KUBECONFIG to the file to use
        "#);
    }

    #[test]
    fn providers_are_read_from_the_command_line() {
        assert_eq!("existing:kind-a".parse(), Ok(Provider::Existing(Some("kind-a".to_owned()))));
        assert_eq!("auto".parse(), Ok(Provider::Auto));
        assert!("docker".parse::<Provider>().is_err());
        assert!("existing:".parse::<Provider>().is_err());
    }
}
