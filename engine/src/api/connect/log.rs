//! `pods/log`: which container, which part, and the stream from the node.

use std::str::FromStr;

use axum::body::Body;
use http::{HeaderValue, Response, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::object;
use crate::api::request::RequestInfo;
use crate::api::{Answer, Api, Call};
use crate::kubelet::LogRequest;
use crate::status::{Cause, Status};

/// Answers with the log as plain text.
pub async fn log(api: &Api, call: &Call) -> Result<Answer, Status> {
    let pod = object(api, "pods", &call.info.namespace, &call.info.name)?;
    let request = request(&call.info, &pod, Timestamp::now())?;
    // A pod that is on no node has no log yet.
    if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        return Ok(plain(Body::empty()));
    }
    let kubelet = api.kubelet.get().ok_or_else(|| Status::unavailable("the node does not run yet"))?;
    Ok(plain(Body::from_stream(kubelet.logs(request).await?)))
}

fn plain(body: Body) -> Answer {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    answer
}

/// What the query asks for.
fn request(info: &RequestInfo, pod: &Value, now: Timestamp) -> Result<LogRequest, Status> {
    let since = match (info.param("sinceSeconds"), info.param("sinceTime")) {
        ("", "") => None,
        ("", time) => Some(value::<Timestamp>(info, time)?),
        (_, "") => {
            let seconds = number(info, "sinceSeconds")?.and_then(|seconds| i64::try_from(seconds).ok());
            seconds.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok())
        }
        _ => {
            let why = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
            return Err(invalid("sinceSeconds", why));
        }
    };
    Ok(LogRequest {
        namespace: info.namespace.clone(),
        pod: info.name.clone(),
        container: container(pod, info.param("container"))?,
        follow: info.flag("follow"),
        previous: info.flag("previous"),
        timestamps: info.flag("timestamps"),
        tail_lines: number(info, "tailLines")?,
        limit_bytes: number(info, "limitBytes")?,
        since,
    })
}

fn value<T: FromStr>(info: &RequestInfo, text: &str) -> Result<T, Status> {
    text.parse()
        .map_err(|_| Status::bad_request(format!("cannot read {text:?} in the query of {}", info.path)))
}

fn number(info: &RequestInfo, name: &str) -> Result<Option<u64>, Status> {
    match info.param(name) {
        "" => Ok(None),
        text if text.starts_with('-') => {
            let why = format!("Invalid value: {text}: must be greater than or equal to 0");
            Err(invalid(name, &why))
        }
        text => value(info, text).map(Some),
    }
}

fn invalid(field: &str, why: &str) -> Status {
    Status::invalid("", "PodLogOptions", "", &[Cause::new("FieldValueInvalid", field, why)])
}

/// The container that is meant; the only one need not be named.
fn container(pod: &Value, wanted: &str) -> Result<String, Status> {
    let names = |list: &str| -> Vec<String> {
        let list = pod["spec"][list].as_array().into_iter().flatten();
        list.filter_map(|container| container["name"].as_str()).map(String::from).collect()
    };
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let (containers, init) = (names("containers"), names("initContainers"));
    let ephemeral = names("ephemeralContainers");
    if !wanted.is_empty() {
        let mut all = containers.iter().chain(&init).chain(&ephemeral);
        return match all.find(|name| *name == wanted) {
            Some(name) => Ok(name.clone()),
            None => Err(Status::bad_request(format!("container {wanted} is not valid for pod {pod_name}"))),
        };
    }
    let mut message = format!("a container name must be specified for pod {pod_name}");
    match containers.as_slice() {
        [only] => return Ok(only.clone()),
        [] => {}
        many => {
            message += &format!(", choose one of: [{}]", many.join(" "));
            if !init.is_empty() {
                message += &format!(" or one of the init containers: [{}]", init.join(" "));
            }
        }
    }
    Err(Status::bad_request(message))
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_container(containers: &[&str], init: &[&str], wanted: &str, expected: &str) {
        let list = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
        let pod = json!({"metadata": {"name": "p"}, "spec":
            {"containers": list(containers), "initContainers": list(init)}});
        assert_eq!(container(&pod, wanted).unwrap_or_else(|status| status.to_string()), expected);
    }

    #[test]
    fn the_container_has_to_be_clear() {
        check_container(&["a"], &["i"], "", "a");
        check_container(&["a", "b"], &[], "b", "b");
        check_container(&["a"], &["i"], "i", "i");
        check_container(&["a"], &[], "x", "container x is not valid for pod p");
        check_container(
            &["a", "b"],
            &[],
            "",
            "a container name must be specified for pod p, choose one of: [a b]",
        );
        check_container(
            &["a", "b"],
            &["i"],
            "",
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
        );
    }

    fn read(query: &str) -> Result<LogRequest, Status> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        let info = RequestInfo::parse(&Method::GET, "/api/v1/namespaces/ns/pods/p/log", query);
        request(&info, &pod, "2026-01-01T00:01:00Z".parse().unwrap())
    }

    #[test]
    fn the_query_says_which_part() {
        let expected = LogRequest {
            namespace: "ns".into(),
            pod: "p".into(),
            container: "a".into(),
            follow: true,
            timestamps: true,
            tail_lines: Some(5),
            since: Some("2026-01-01T00:00:30Z".parse().unwrap()),
            ..LogRequest::default()
        };
        assert_eq!(read("follow=true&timestamps=true&tailLines=5&sinceSeconds=30"), Ok(expected));
        assert_eq!(read("tailLines=x").unwrap_err().code(), 400);
        assert_eq!(read("tailLines=-1").unwrap_err().code(), 422);
        assert_eq!(read("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z").unwrap_err().code(), 422);
    }
}
