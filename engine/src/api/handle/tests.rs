use http::Method;

use super::*;

#[track_caller]
fn check(request: &str, expected: &str) {
    let (method, target) = request.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let method: Method = method.parse().unwrap();
    let info = RequestInfo::parse(&method, path, query);
    let outcome = match find(&Registry::builtin(), &info) {
        Ok(Some(resource)) => match route(&resource, &info) {
            Ok(route) => format!("{route:?}"),
            Err(status) => status.code().to_string(),
        },
        Ok(None) => "no page".to_owned(),
        Err(status) => status.code().to_string(),
    };
    assert_eq!(outcome, expected, "{request}");
}

#[test]
fn requests_go_to_whoever_answers_them() {
    check("GET /api/v1/pods", "Read");
    check("GET /api/v1/namespaces/a/pods/p", "Read");
    check("GET /api/v1/namespaces/a/pods?watch=1", "Read");
    check("POST /api/v1/namespaces/a/pods", "Write");
    check("DELETE /api/v1/namespaces/a/pods", "Write");
    check("GET /apis/apps/v1/namespaces/a/deployments/d/scale", "Read");
    check("PATCH /apis/apps/v1/namespaces/a/deployments/d/status", "Write");
    check("PUT /api/v1/namespaces/a/finalize", "Write");
    check("POST /api/v1/namespaces/a/pods/p/eviction", "Write");
    check("GET /api/v1/namespaces/a/pods/p/log", "Connect");
    check("PATCH /api/v1/namespaces/a/services/s/proxy/x", "Connect");
    check("POST /api/v1/namespaces/a/serviceaccounts/s/token", "Review");
    check("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "Review");
}

#[test]
fn what_is_not_served_is_told_apart() {
    check("GET /apis/unknown.io/v1/things", "no page");
    check("GET /apis/apps/v7/deployments", "no page");
    check("GET /apis/apps/v1/things", "404");
    check("GET /api/v1/namespaces/a/nodes/n", "404");
    check("GET /api/v1/pods/p", "404");
    check("GET /api/v1/namespaces/a/pods/p/unknown", "404");
    check("POST /api/v1/namespaces/a/pods/p", "405");
    check("PUT /api/v1/namespaces/a/pods", "405");
    check("POST /api/v1/pods", "405");
    check("GET /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "405");
    check("DELETE /apis/apps/v1/namespaces/a/deployments/d/scale", "405");
}

#[test]
fn the_name_a_selector_fixes_counts_as_the_name() {
    let name = |target: &str| {
        let (path, query) = target.split_once('?').unwrap();
        selected_name(&RequestInfo::parse(&Method::GET, path, query))
    };
    assert_eq!(
        name("/api/v1/namespaces/a/secrets?watch=1&fieldSelector=metadata.name%3Dx").as_deref(),
        Some("x")
    );
    assert_eq!(name("/api/v1/secrets?fieldSelector=type%3DOpaque"), None);
}
