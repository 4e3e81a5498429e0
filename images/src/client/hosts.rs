//! What is special about a registry: no TLS, its own certificate authority, a client certificate.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What is special about a registry. The default: TLS with the machine's certificate authorities, except on the loopback interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostOptions {
    /// Speak HTTP. On the loopback interface that is the default.
    pub plain_http: bool,
    /// Do not check its certificate.
    pub skip_verification: bool,
    /// Certificate authorities (PEM) trusted besides the machine's.
    pub authorities: Vec<Vec<u8>>,
    /// Certificate and key we show.
    pub identity: Option<ClientIdentity>,
    /// It may redirect to private addresses.
    pub private_redirects: bool,
}

/// A client certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// Certificate chain (PEM).
    pub certificate: Vec<u8>,
    /// Private key (PEM).
    pub key: Vec<u8>,
}

impl std::fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientIdentity")
    }
}

/// Reads Docker's certificate folders: `<dir>/<registry>/{*.crt, *.cert, *.key}`, e.g. of `/etc/docker/certs.d`. What cannot be read is as if
/// it were not there: a registry that needs it will say so.
pub fn hosts_from_certificates(dirs: &[PathBuf]) -> BTreeMap<String, HostOptions> {
    let mut hosts = BTreeMap::new();
    for dir in dirs {
        for registry in entries(dir).into_iter().filter(|path| path.is_dir()) {
            let Some(name) = registry.file_name().map(|name| name.to_string_lossy().into_owned()) else {
                continue;
            };
            let host: &mut HostOptions = hosts.entry(name).or_default();
            for file in entries(&registry) {
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => host.authorities.extend(fs::read(&file).ok()),
                    Some("cert") => host.identity = identity(&file).or(host.identity.take()),
                    _ => {}
                }
            }
        }
    }
    hosts
}

fn identity(certificate: &Path) -> Option<ClientIdentity> {
    let key = fs::read(certificate.with_extension("key")).ok()?;
    Some(ClientIdentity { certificate: fs::read(certificate).ok()?, key })
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_certificate_folders_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("registry.example:5000");
        fs::create_dir(&host).unwrap();
        for (name, text) in [("ca.crt", "A"), ("client.cert", "C"), ("client.key", "K"), ("lonely.cert", "L")]
        {
            fs::write(host.join(name), text).unwrap();
        }
        let hosts = hosts_from_certificates(&[dir.path().to_path_buf(), "/nowhere".into()]);
        let identity = ClientIdentity { certificate: b"C".to_vec(), key: b"K".to_vec() };
        let expected = HostOptions {
            authorities: vec![b"A".to_vec()],
            identity: Some(identity),
            ..HostOptions::default()
        };
        assert_eq!(hosts, BTreeMap::from([("registry.example:5000".to_string(), expected)]));
    }
}
