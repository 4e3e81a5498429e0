//! The offline command: verifying a database or an export without the service.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use api::audit::{AuditExport, VerifyChainResponse};
use thiserror::Error;

use crate::options::VerifyOptions;
use crate::repository::{Access, DatabaseError, OpenError, Pool, Repository};
use crate::sign::verify_export;

/// Exit code when something is not as it was accepted.
pub const TAMPERED: u8 = 6;

/// Nothing could be said about the events.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error("cannot read the audit database")]
    Read(#[from] DatabaseError),
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// Of the export or the certificate.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The file is not an export.
    #[error("`{}` is not an export", path.display())]
    Export {
        /// Of the file.
        path: PathBuf,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// The verdict cannot be told.
    #[error("cannot write the verdict")]
    Output(#[from] io::Error),
}

/// Verifies what `options` name, tells the verdict to `out` and returns whether everything is as it was accepted.
pub async fn verify(options: VerifyOptions, out: &mut impl Write) -> Result<bool, VerifyError> {
    let VerifyOptions { database, correlation, export, certificate } = options;
    if let Some(export) = export {
        return verify_file(&export, certificate.as_deref(), out);
    }
    let repository =
        Repository::open_with(&database.unwrap_or_default(), Access::Auditor, Pool::default()).await?;
    let mut tally = Tally::default();
    match correlation {
        Some(correlation) => tally.add(repository.verify_chain(&correlation).await?),
        None => repository.verify_all(|verdict| tally.add(verdict)).await?,
    }
    repository.close().await;
    tally.tell(out)
}

/// Chains that are intact are only counted: there are many.
#[derive(Debug, Default)]
struct Tally {
    chains: usize,
    events: u64,
    broken: Vec<VerifyChainResponse>,
}

impl Tally {
    fn add(&mut self, verdict: VerifyChainResponse) {
        self.chains += 1;
        self.events += verdict.total_events;
        if !verdict.is_valid {
            self.broken.push(verdict);
        }
    }

    fn tell(&self, out: &mut impl Write) -> Result<bool, VerifyError> {
        let Self { chains, events, broken } = self;
        for verdict in broken {
            writeln!(out, "{}: {}", verdict.correlation_id, verdict.message)?;
            for event in &verdict.tampered_events {
                writeln!(out, "  {}: {}", event.event_id, event.message)?;
            }
        }
        let intact = chains - broken.len();
        writeln!(out, "{chains} chains, {events} events: {intact} chains intact, {} broken", broken.len())?;
        Ok(broken.is_empty())
    }
}

fn verify_file(export: &Path, certificate: Option<&Path>, out: &mut impl Write) -> Result<bool, VerifyError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| VerifyError::File { path, source }
    };
    let text = match export.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(failed(export))?;
            text
        }
        false => fs::read_to_string(export).map_err(failed(export))?,
    };
    let parsed: AuditExport = serde_json::from_str(&text)
        .map_err(|source| VerifyError::Export { path: export.to_owned(), source })?;
    let trusted = certificate.map(|path| fs::read_to_string(path).map_err(failed(path))).transpose()?;
    let findings = verify_export(&parsed, trusted.as_deref());
    for finding in &findings {
        writeln!(out, "{}: {}", finding.subject, finding.message)?;
    }
    let metadata = &parsed.export_metadata;
    let by = match trusted {
        Some(_) => "by the trusted certificate",
        None => "by the certificate it brings along; pass --certificate to know whose that is",
    };
    let verdict = if findings.is_empty() { "intact, signed" } else { "NOT intact; it claims to be signed" };
    writeln!(out, "{} events exported for {}: {verdict} {by}", parsed.events.len(), metadata.exported_by)?;
    Ok(findings.is_empty())
}
