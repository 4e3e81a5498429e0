//! Services: addresses and ports once given are kept by writers that do not mention them.

use serde_json::Value;

/// Carries cluster addresses and node ports over to the new state.
pub fn keep_allocated(old: &Value, new: &mut Value) {
    let needs_address = |service: &Value| service["spec"]["type"] != "ExternalName";
    let (before, spec) = (&old["spec"], &mut new["spec"]);
    if !needs_address(old) || spec["type"] == "ExternalName" || !spec.is_object() {
        return;
    }
    let is_absent = |value: &Value| value.as_str().unwrap_or_default().is_empty();
    if is_absent(&spec["clusterIP"]) && !is_absent(&before["clusterIP"]) {
        spec["clusterIP"] = before["clusterIP"].clone();
    }
    if spec["clusterIPs"].as_array().is_none_or(Vec::is_empty)
        && spec["clusterIP"] == before["clusterIP"]
        && !before["clusterIPs"].is_null()
    {
        spec["clusterIPs"] = before["clusterIPs"].clone();
    }
    let has_node_ports = |spec: &Value| spec["type"] == "NodePort" || spec["type"] == "LoadBalancer";
    if !has_node_ports(before) || !has_node_ports(spec) {
        return;
    }
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        let known = before["ports"].as_array().into_iter().flatten();
        let same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        if port["nodePort"].as_i64().unwrap_or(0) == 0
            && let Some(known) = known.into_iter().find(same)
            && !known["nodePort"].is_null()
        {
            port["nodePort"] = known["nodePort"].clone();
        }
    }
}
