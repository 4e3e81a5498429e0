//! The controller's metrics, read as Prometheus would.

use anyhow::{Context, Result};
use api::names::SYSTEM_NAMESPACE;

use crate::cluster::Cluster;
use crate::component::CONTROLLER;

/// The text of the controller's `/metrics`.
pub async fn text(cluster: &Cluster) -> Result<String> {
    cluster.service_get(SYSTEM_NAMESPACE, CONTROLLER, 9090, "/metrics").await
}

/// The value of a series, for example `workflowexecution_reconciler_total{outcome="Failed"}`.
pub fn value(text: &str, series: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let line = line.with_context(|| format!("there is no series {series} in\n{text}"))?;
    line.trim().parse().with_context(|| format!("the value of {series} is `{line}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_full_name() {
        let text = "# TYPE x counter\nx_total{outcome=\"Failed\"} 3\nx_total_more 9\n";
        assert_eq!(value(text, "x_total{outcome=\"Failed\"}").unwrap(), 3.0);
        assert!(value(text, "x_total").unwrap_err().to_string().contains("x_total_more"));
    }
}
