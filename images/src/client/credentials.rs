//! Who we are at which registry: Docker's `config.json`, podman's `auth.json` and credential helpers.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// The name Docker Hub has in credential files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Output of a credential helper that is longer is not believed.
const HELPER_LIMIT: usize = 1 << 20;

/// How to show who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password or access token.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, exchanged at the token server.
    IdentityToken(String),
    /// A token the registry takes as it is.
    RegistryToken(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credential::Password { .. } => "Password",
            Credential::IdentityToken(_) => "IdentityToken",
            Credential::RegistryToken(_) => "RegistryToken",
        })
    }
}

/// Credentials of all registries, in the order in which they were found.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    files: Vec<File>,
}

/// Credentials cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file says something else.
    #[error("understand {}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// An entry is not `user:password` in base64.
    #[error("understand the entry for `{registry}`: it is not `user:password` in base64")]
    Entry {
        /// The registry.
        registry: String,
    },
    /// A helper's name is not a name.
    #[error("use the credential helper `{name}`: only letters, digits, `.`, `_` and `-` make a name")]
    HelperName {
        /// What was given.
        name: String,
    },
    /// A helper does not help.
    #[error("ask `{program}` for credentials: {problem}")]
    Helper {
        /// Its program.
        program: String,
        /// What happened.
        problem: String,
    },
}

impl CredentialError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            CredentialError::Read { .. } | CredentialError::Malformed { .. } => {
                Some("correct or remove the file, then log in again".to_string())
            }
            CredentialError::Entry { registry } => {
                Some(format!("log in again with `docker login {registry}`"))
            }
            CredentialError::HelperName { .. } => Some("correct `credsStore` or `credHelpers`".to_string()),
            CredentialError::Helper { program, .. } => Some(format!("try `{program} get` by hand")),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Credentials {
    /// Reads the files Docker and podman use, those that exist. `variable` looks up environment variables.
    pub fn load(variable: impl Fn(&str) -> Option<String>) -> Result<Credentials, CredentialError> {
        let mut files = Vec::new();
        if let Some(text) = variable("DOCKER_AUTH_CONFIG") {
            let path = PathBuf::from("$DOCKER_AUTH_CONFIG");
            let file = serde_json::from_str(&text);
            files.push(file.map_err(|source| CredentialError::Malformed { path, source })?);
        }
        let home = variable("HOME").map(PathBuf::from);
        let docker = variable("DOCKER_CONFIG").map(PathBuf::from);
        let docker = docker.or(home.map(|home| home.join(".docker"))).map(|dir| dir.join("config.json"));
        let podman = variable("REGISTRY_AUTH_FILE").map(PathBuf::from);
        let podman =
            podman.or(variable("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("containers/auth.json")));
        for path in [docker, podman].into_iter().flatten() {
            files.extend(read(&path)?);
        }
        Ok(Credentials { files })
    }

    /// One user name and password for one registry.
    pub fn password(registry: &str, user: &str, password: &str) -> Credentials {
        let entry = Entry { username: user.to_string(), password: password.to_string(), ..Entry::default() };
        let auths = BTreeMap::from([(registry.to_string(), entry)]);
        Credentials { files: vec![File { auths, ..File::default() }] }
    }

    /// What to show `registry` for `repository`. May run a credential helper: call it where blocking is allowed.
    pub(super) fn find(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let keys = keys(registry, repository);
        for file in &self.files {
            let helper = keys.iter().find_map(|key| file.cred_helpers.get(key));
            if let Some(helper) = helper.or(file.creds_store.as_ref())
                && let Some(credential) = ask(helper, server(registry))?
            {
                return Ok(Some(credential));
            }
            for key in &keys {
                let entry = file.auths.iter().find(|(name, _)| plain(name) == *key).map(|(_, entry)| entry);
                if let Some(credential) = entry.map(|entry| entry.credential(registry)).transpose()?.flatten()
                {
                    return Ok(Some(credential));
                }
            }
        }
        Ok(None)
    }
}

fn read(path: &Path) -> Result<Option<File>, CredentialError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(source) => return Err(CredentialError::Read { path: path.to_path_buf(), source }),
    };
    let malformed = |source| CredentialError::Malformed { path: path.to_path_buf(), source };
    serde_json::from_slice(&bytes).map(Some).map_err(malformed)
}

/// The keys an entry may have, the most specific first: podman allows one per repository or namespace.
fn keys(registry: &str, repository: &str) -> Vec<String> {
    let registry = if registry == "docker.io" { plain(DOCKER_HUB) } else { registry };
    let full = format!("{registry}/{repository}");
    let mut keys = vec![full.clone()];
    keys.extend(full.rmatch_indices('/').map(|(end, _)| full[..end].to_string()));
    keys
}

/// A key without scheme and the path that old Docker versions wrote.
fn plain(key: &str) -> &str {
    let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    let key = key.strip_suffix('/').unwrap_or(key);
    key.strip_suffix("/v1").or(key.strip_suffix("/v2")).unwrap_or(key)
}

/// What helpers call a registry.
fn server(registry: &str) -> &str {
    if registry == "docker.io" { DOCKER_HUB } else { registry }
}

impl Entry {
    fn credential(&self, registry: &str) -> Result<Option<Credential>, CredentialError> {
        let Entry { auth, username, password, identitytoken, registrytoken } = self;
        if !registrytoken.is_empty() {
            return Ok(Some(Credential::RegistryToken(registrytoken.clone())));
        }
        if !identitytoken.is_empty() {
            return Ok(Some(Credential::IdentityToken(identitytoken.clone())));
        }
        if !username.is_empty() {
            return Ok(Some(Credential::Password { user: username.clone(), password: password.clone() }));
        }
        if auth.is_empty() {
            return Ok(None);
        }
        let malformed = || CredentialError::Entry { registry: registry.to_string() };
        let text = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(malformed)?;
        let (user, password) = text.split_once(':').ok_or_else(malformed)?;
        // Some tools pad the password with zero bytes.
        let password = password.trim_end_matches('\0');
        Ok(Some(Credential::Password { user: user.to_string(), password: password.to_string() }))
    }
}

fn ask(helper: &str, server: &str) -> Result<Option<Credential>, CredentialError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if helper.is_empty() || !helper.chars().all(legal) {
        return Err(CredentialError::HelperName { name: helper.to_string() });
    }
    let program = format!("docker-credential-{helper}");
    let failed = |problem: String| CredentialError::Helper { program: program.clone(), problem };
    let mut child = std::process::Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input says why in its output.
        let _ = stdin.write_all(server.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.stdout.len() > HELPER_LIMIT {
        return Err(failed("its answer is too long".to_string()));
    }
    if !output.status.success() {
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        return match said.contains("credentials not found") {
            true => Ok(None),
            false => Err(failed(format!("{}: {}", output.status, said.trim()))),
        };
    }
    // Its answer is a secret, so the error must not quote it.
    let Answer { username, secret } =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("its answer is not JSON".to_string()))?;
    Ok(Some(match username.as_str() {
        "<token>" => Credential::IdentityToken(secret),
        _ => Credential::Password { user: username, password: secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(text: &str) -> Credentials {
        let variable = |name: &str| (name == "DOCKER_AUTH_CONFIG").then(|| text.to_string());
        Credentials::load(variable).unwrap()
    }

    fn password(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password { user: user.to_string(), password: password.to_string() })
    }

    #[test]
    fn the_most_specific_entry_wins() {
        let found = credentials(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHViOnB3"},
                "r.example": {"username": "all", "password": "1"},
                "r.example/team": {"username": "team", "password": "2"},
                "https://old.example/v2/": {"identitytoken": "refresh"},
                "t.example:5000": {"registrytoken": "bearer"}
            }}"#,
        );
        let check = |registry: &str, repository: &str, expected: Option<Credential>| {
            assert_eq!(found.find(registry, repository).unwrap(), expected, "{registry}/{repository}");
        };
        check("docker.io", "library/debian", password("hub", "pw"));
        check("r.example", "other/app", password("all", "1"));
        check("r.example", "team/app", password("team", "2"));
        check("r.example", "teamwork/app", password("all", "1"));
        check("old.example", "x", Some(Credential::IdentityToken("refresh".into())));
        check("t.example:5000", "x", Some(Credential::RegistryToken("bearer".into())));
        check("t.example", "x", None);
    }

    #[test]
    fn a_broken_entry_names_its_registry_and_keeps_its_secret() {
        let found = credentials(r#"{"auths": {"r.example": {"auth": "c2VjcmV0"}}}"#);
        let error = found.find("r.example", "a").unwrap_err();
        assert!(error.to_string().contains("r.example"), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn a_helper_is_a_name_not_a_path_or_a_command() {
        for name in ["../evil", "a/b", "a b", "a;b", "$(x)", ""] {
            let text = serde_json::json!({ "credHelpers": { "r.example": name } }).to_string();
            let error = credentials(&text).find("r.example", "a").unwrap_err();
            assert!(matches!(error, CredentialError::HelperName { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn a_missing_helper_is_named() {
        let error =
            credentials(r#"{"credsStore": "nowhere-to-be-found"}"#).find("r.example", "a").unwrap_err();
        assert!(error.to_string().contains("docker-credential-nowhere-to-be-found"), "{error}");
    }

    #[test]
    fn a_broken_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), "{").unwrap();
        let dir = dir.path().to_str().unwrap().to_string();
        let error = Credentials::load(|name| (name == "DOCKER_CONFIG").then(|| dir.clone())).unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
    }
}
