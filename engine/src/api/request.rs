//! What a request asks for, read from its method, path and query before anything is looked up.

use http::Method;

/// The attributes of a request: who may make it is decided on these, and on nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the lower-case method for paths
    /// that are no resources.
    pub verb: &'static str,
    /// The path as sent, without the query.
    pub path: String,
    /// Whether the path names a resource at all.
    pub resource_request: bool,
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace; empty at cluster scope.
    pub namespace: String,
    /// Plural resource name.
    pub resource: String,
    /// Object name; empty for collections.
    pub name: String,
    /// `status`, `log`, …; empty for the object itself.
    pub subresource: String,
    /// What follows the subresource (proxied paths), with its leading slash.
    pub rest: String,
    /// Query parameters, decoded, in order.
    pub query: Vec<(String, String)>,
}

impl RequestInfo {
    /// Reads method, path and raw query.
    pub fn parse(method: &Method, path: &str, raw_query: &str) -> Self {
        let mut info = Self { path: path.to_owned(), query: parse_query(raw_query), ..Self::default() };
        info.verb = verb_of(method);
        let segments: Vec<String> =
            path.split('/').filter(|segment| !segment.is_empty()).map(percent_decode).collect();
        let rest = match segments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            ["api", version, ..] => {
                info.version = (*version).to_owned();
                2
            }
            ["apis", group, version, ..] => {
                info.group = (*group).to_owned();
                info.version = (*version).to_owned();
                3
            }
            _ => return info,
        };
        let mut parts = segments.get(rest..).unwrap_or_default().iter().map(String::as_str);
        let Some(first) = parts.next() else { return info };
        info.resource_request = true;
        info.resource = first.to_owned();
        if first == "namespaces" {
            if let Some(namespace) = parts.next() {
                match parts.next() {
                    None => info.name = namespace.to_owned(),
                    Some(sub @ ("status" | "finalize")) => {
                        info.name = namespace.to_owned();
                        info.subresource = sub.to_owned();
                    }
                    Some(resource) => {
                        info.resource = resource.to_owned();
                        info.name = parts.next().unwrap_or_default().to_owned();
                        info.subresource = parts.next().unwrap_or_default().to_owned();
                    }
                }
                info.namespace = namespace.to_owned();
            }
        } else {
            info.name = parts.next().unwrap_or_default().to_owned();
            info.subresource = parts.next().unwrap_or_default().to_owned();
        }
        if info.subresource == "proxy" {
            info.rest = after(path, rest + if info.namespace.is_empty() { 3 } else { 5 });
        } else if info.name.is_empty() {
            info.verb = match info.verb {
                "get" if info.flag("watch") => "watch",
                "get" => "list",
                "delete" => "deletecollection",
                other => other,
            };
        } else if info.verb == "get" && info.flag("watch") && info.subresource.is_empty() {
            info.verb = "watch";
        }
        info
    }

    /// The first value of a query parameter; empty when absent.
    pub fn param(&self, name: &str) -> &str {
        self.query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// All values of a query parameter.
    pub fn params<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a boolean query parameter is set.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.param(name), "true" | "1" | "True" | "TRUE" | "t")
    }

    /// `resource` or `resource/subresource`, as RBAC rules name it.
    pub fn resource_path(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

fn verb_of(method: &Method) -> &'static str {
    match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        _ => "unknown",
    }
}

/// What follows the first `count` segments of a path, still encoded: the part of a proxy path that belongs to the backend.
fn after(path: &str, count: usize) -> String {
    let mut rest = path;
    for _ in 0..count {
        rest = rest.trim_start_matches('/');
        rest = rest.find('/').and_then(|end| rest.get(end..)).unwrap_or_default();
    }
    if rest.is_empty() { "/".to_owned() } else { rest.to_owned() }
}

/// Query parameters in order, `+` and percent escapes decoded.
pub fn parse_query(raw: &str) -> Vec<(String, String)> {
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(&key.replace('+', " ")), percent_decode(&value.replace('+', " ")))
        })
        .collect()
}

/// Escapes what may not stand in a query as it is.
pub fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

/// Replaces `%XX`; what is not a valid escape stays as it is.
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while let Some(&byte) = bytes.get(index) {
        let escape = (byte == b'%')
            .then(|| text.get(index + 1..index + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escape {
            Some(value) => {
                decoded.push(value);
                index += 3;
            }
            None => {
                decoded.push(byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, target: &str, expected: &str) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let info = RequestInfo::parse(&method.parse().unwrap(), path, query);
        let seen = format!(
            "{} group={} version={} ns={} resource={} name={}{}",
            info.verb,
            info.group,
            info.version,
            info.namespace,
            info.resource_path(),
            info.name,
            info.rest
        );
        assert_eq!(seen, expected);
    }

    #[test]
    fn paths_are_read_as_upstream_reads_them() {
        check("GET", "/api/v1/pods", "list group= version=v1 ns= resource=pods name=");
        check("GET", "/api/v1/namespaces/a/pods?watch=1", "watch group= version=v1 ns=a resource=pods name=");
        check("GET", "/api/v1/namespaces/a", "get group= version=v1 ns=a resource=namespaces name=a");
        check(
            "PUT",
            "/api/v1/namespaces/a/finalize",
            "update group= version=v1 ns=a resource=namespaces/finalize name=a",
        );
        check(
            "PATCH",
            "/apis/apps/v1/namespaces/a/deployments/web/status",
            "patch group=apps version=v1 ns=a resource=deployments/status name=web",
        );
        check(
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments",
            "deletecollection group=apps version=v1 ns=a resource=deployments name=",
        );
        check(
            "GET",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            "get group=rbac.authorization.k8s.io version=v1 ns= resource=clusterroles name=system:node",
        );
    }

    #[test]
    fn a_proxied_path_keeps_what_follows() {
        check(
            "GET",
            "/api/v1/namespaces/a/services/http:web:80/proxy/x/y%20z?q=1",
            "get group= version=v1 ns=a resource=services/proxy name=http:web:80/x/y%20z",
        );
        check(
            "GET",
            "/api/v1/namespaces/a/services/proxy-b/proxy/proxy/x",
            "get group= version=v1 ns=a resource=services/proxy name=proxy-b/proxy/x",
        );
        check("GET", "/healthz", "get group= version= ns= resource= name=");
    }
}
