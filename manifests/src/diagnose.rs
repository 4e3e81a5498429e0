//! Why a component is not ready: a snapshot of everything around it, and the causes it shows, most likely first.
//!
//! The snapshot is plain data: it can be saved, sent to somebody else and explained there. [`explain`] is pure; each cause it
//! knows is one function from the snapshot to a sentence, the evidence for it, and the edit or command that fixes it.

mod causes;
mod chain;
mod snapshot;
mod view;

use std::fmt;

use kube::Client;
use serde::{Deserialize, Serialize};

pub use snapshot::{LogTail, Snapshot, SnapshotError, snapshot};

/// One possible reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What is wrong, in one sentence without full stop.
    pub sentence: String,
    /// What shows it, each as a line that says where it was seen.
    pub evidence: Vec<String>,
    /// The command or edit that fixes it.
    pub hint: String,
    /// How directly the evidence shows it: 100 is the kubelet's own word, 30 is a circumstance.
    pub weight: u8,
}

/// Everything that can be said about why a component is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The component.
    pub component: String,
    /// Most likely first; empty when nothing known fits.
    pub causes: Vec<Cause>,
    /// Workload → ReplicaSets → pods → containers → logs and events, indented, one line each.
    pub chain: Vec<String>,
}

/// Looks at the cluster and explains what it sees. `component` was applied by this crate; its inventory says what belongs to it.
pub async fn diagnose(client: &Client, component: &str) -> Result<Diagnosis, SnapshotError> {
    Ok(explain(&snapshot(client, component, &[]).await?))
}

/// Explains a snapshot.
pub fn explain(snapshot: &Snapshot) -> Diagnosis {
    let mut causes: Vec<Cause> = Vec::new();
    for found in causes::ALL.iter().flat_map(|recognise| recognise(snapshot)) {
        // Several pods of one workload say the same.
        if !causes.iter().any(|cause| cause.sentence == found.sentence) {
            causes.push(found);
        }
    }
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.weight));
    Diagnosis { component: snapshot.component.clone(), causes, chain: chain::chain(snapshot) }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnosis { component, causes, chain } = self;
        match causes.len() {
            0 => writeln!(out, "component `{component}`: no known cause fits; this is what is there:")?,
            1 => writeln!(out, "component `{component}`:")?,
            number => writeln!(out, "component `{component}`: {number} causes, the most likely first")?,
        }
        for Cause { sentence, evidence, hint, weight: _ } in causes {
            writeln!(out, "  cause: {sentence}")?;
            for line in evidence {
                writeln!(out, "    seen: {line}")?;
            }
            writeln!(out, "    fix: {hint}")?;
        }
        for (number, line) in chain.iter().enumerate() {
            let end = if number + 1 == chain.len() { "" } else { "\n" };
            write!(out, "  {line}{end}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
