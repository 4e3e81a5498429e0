//! Findings in SARIF 2.1.0, the format code scanners read.

use serde_json::{Value, json};

use super::{Finding, Rule, Severity};

/// The findings as a SARIF log.
pub fn sarif(findings: &[Finding]) -> Value {
    let level = |severity: Severity| match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let rules = Rule::ALL
        .map(|rule| json!({"id": rule.name(), "defaultConfiguration": {"level": level(rule.severity())}}));
    let results = findings.iter().map(|finding| {
        json!({
            "ruleId": finding.rule.name(),
            "level": level(finding.severity),
            "message": {"text": format!("{}; {}", finding.message, finding.fix)},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": finding.file, "uriBaseId": "%SRCROOT%"},
                "region": {"startLine": finding.line},
            }}],
        })
    });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "slipway policy", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "results": results.collect::<Vec<_>>(),
        }],
    })
}
