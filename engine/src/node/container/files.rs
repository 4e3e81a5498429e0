//! Texts of the files every pod has: `/etc/hosts` and `/etc/resolv.conf`.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::PodSpec;

/// What names a pod: its host name, and the domain it is reached under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName {
    /// `spec.hostname`, else the pod's name; never longer than the kernel allows.
    pub name: String,
    /// `name.subdomain.namespace.svc.domain`, for a pod with a subdomain.
    pub full: Option<String>,
}

/// The host name of a pod.
pub(crate) fn host_name(spec: &PodSpec, pod_name: &str, namespace: &str, domain: &str) -> HostName {
    let chosen = spec.hostname.as_deref().filter(|name| !name.is_empty()).unwrap_or(pod_name);
    let name = chosen.get(..63).unwrap_or(chosen).trim_end_matches(['-', '.']).to_owned();
    let subdomain = spec.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty());
    let full = subdomain.map(|subdomain| format!("{name}.{subdomain}.{namespace}.svc.{domain}"));
    HostName { name, full }
}

/// `/etc/hosts`
pub(crate) fn hosts(spec: &PodSpec, address: &str, host_name: &HostName) -> String {
    let HostName { name, full } = host_name;
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    match full {
        Some(full) => text.push_str(&format!("{address}\t{full}\t{name}\n")),
        None => text.push_str(&format!("{address}\t{name}\n")),
    }
    let aliases = spec.host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.clone().unwrap_or_default().join("\t");
            text.push_str(&format!("{}\t{names}\n", alias.ip));
        }
    }
    text
}

/// `/etc/resolv.conf`; `node` is the node's own.
pub(crate) fn resolv_conf(
    spec: &PodSpec,
    namespace: &str,
    dns: Ipv4Addr,
    domain: &str,
    node: &str,
) -> String {
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let on_host = spec.host_network == Some(true);
    let mut file = match policy {
        "None" => ResolvConf::default(),
        "Default" => ResolvConf::read(node),
        "ClusterFirst" if on_host => ResolvConf::read(node),
        _ => ResolvConf {
            nameservers: vec![dns.to_string()],
            searches: vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()],
            options: vec!["ndots:5".to_owned()],
        },
    };
    if let Some(config) = &spec.dns_config {
        file.nameservers.extend(config.nameservers.iter().flatten().cloned());
        file.searches.extend(config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            let same = |known: &String| known.split(':').next() == Some(name.as_str());
            file.options.retain(|known| !same(known));
            file.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    file.text()
}

#[derive(Debug, Default)]
struct ResolvConf {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl ResolvConf {
    fn read(text: &str) -> Self {
        let mut file = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => file.nameservers.extend(words.next()),
                Some("search" | "domain") => file.searches = words.collect(),
                Some("options") => file.options.extend(words),
                _ => {}
            }
        }
        file
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for nameserver in &self.nameservers {
            text.push_str(&format!("nameserver {nameserver}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(mut spec: Value) -> PodSpec {
        spec["containers"] = json!([]);
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn names_are_resolved_as_the_policy_says() {
        let node = "# made by hand\nnameserver 192.0.2.1\nsearch corp.example\noptions timeout:1\n";
        let cluster = "search ns.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n";
        let own = "search corp.example\nnameserver 192.0.2.1\noptions timeout:1\n";
        for (described, expected) in [
            (json!({}), format!("{cluster}options ndots:5\n")),
            (json!({"dnsPolicy": "Default"}), own.to_owned()),
            (json!({"hostNetwork": true}), own.to_owned()),
            (
                json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
                format!("{cluster}options ndots:5\n"),
            ),
            (
                json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.9"]}}),
                "nameserver 192.0.2.9\n".to_owned(),
            ),
            (
                json!({"dnsConfig": {"options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}}),
                format!("{cluster}options ndots:2 rotate\n"),
            ),
        ] {
            let dns = Ipv4Addr::new(10, 96, 0, 10);
            let text = resolv_conf(&spec(described.clone()), "ns", dns, "cluster.local", node);
            assert_eq!(text, expected, "{described}");
        }
    }

    #[test]
    fn a_pod_knows_its_own_name() {
        let spec = spec(json!({
            "hostname": "db-0", "subdomain": "db", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}],
        }));
        let name = host_name(&spec, "pod", "ns", "cluster.local");
        let text = hosts(&spec, "10.244.0.2", &name);
        assert!(text.contains("\n10.244.0.2\tdb-0.db.ns.svc.cluster.local\tdb-0\n"), "{text}");
        assert!(text.ends_with("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"), "{text}");
    }

    #[test]
    fn a_long_name_is_cut_to_what_the_kernel_takes() {
        let long = format!("{}-b{}", "a".repeat(62), "c".repeat(20));
        let name = host_name(&spec(json!({})), &long, "ns", "cluster.local");
        assert_eq!(name, HostName { name: "a".repeat(62), full: None });
    }
}
