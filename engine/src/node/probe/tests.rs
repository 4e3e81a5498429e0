//! Probes against servers on the loopback.

use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::node::exec::Inside;
use crate::node::sandbox::spec::Process;

/// Answers every connection and hands back what was asked.
async fn server(answer: &'static str) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let count = connection.read(&mut request).await.unwrap();
            let _ = sender.send(String::from_utf8_lossy(&request[..count]).into_owned());
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (port, receiver)
}

fn target(port: u16) -> Target {
    let process = Process {
        args: vec![],
        env: vec![],
        cwd: "/".into(),
        uid: 0,
        gid: 0,
        groups: vec![],
        capabilities: vec![],
        no_new_privileges: false,
    };
    let ports = serde_json::from_value(json!([{"name": "web", "containerPort": port}])).unwrap();
    Target { host: "127.0.0.1".to_owned(), ports, inside: Inside { pid: 0, process } }
}

async fn attempt(probe: Value, port: u16) -> Result<(), String> {
    let probe: Probe = serde_json::from_value(probe).unwrap();
    Check::of_probe(&probe).attempt(&target(port)).await.map_err(|failure| failure.message)
}

/// A port on which nothing listens.
async fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn an_answer_below_400_is_well() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Ok(())),
        ("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", Ok(())),
        (
            "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            Err("HTTP probe failed with statuscode: 503".to_owned()),
        ),
    ] {
        let (port, mut requests) = server(answer).await;
        let probe = json!({"httpGet": {
            "port": "web", "path": "healthz", "httpHeaders": [{"name": "Host", "value": "x"}, {"name": "A", "value": "b"}],
        }});
        assert_eq!(attempt(probe, port).await, expected);
        let request = requests.recv().await.unwrap();
        assert!(request.starts_with("GET /healthz HTTP/1.1\r\nhost: x\r\n"), "{request}");
        assert!(request.contains("\r\na: b\r\n"), "{request}");
    }
}

#[tokio::test]
async fn failures_name_the_address() {
    let port = closed().await;
    for (probe, expected) in [
        (
            json!({"httpGet": {"port": port, "path": "/x"}}),
            format!(
                "Get \"http://127.0.0.1:{port}/x\": dial tcp 127.0.0.1:{port}: connect: connection refused"
            ),
        ),
        (
            json!({"tcpSocket": {"port": "web"}}),
            format!("dial tcp 127.0.0.1:{port}: connect: connection refused"),
        ),
        (json!({"tcpSocket": {"port": "other"}}), "couldn't find port: \"other\"".to_owned()),
        (json!({"grpc": {"port": port}}), format!("dial tcp 127.0.0.1:{port}: connect: connection refused")),
    ] {
        assert_eq!(attempt(probe, port).await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn a_port_that_opens_late_is_noticed_before_the_next_period_and_without_complaint() {
    let port = closed().await;
    let container: Container = serde_json::from_value(
        json!({"name": "c", "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 60}}),
    )
    .unwrap();
    let findings = Mutex::new(Vec::new());
    let tell = |finding| findings.lock().unwrap().push(finding);
    let start = Instant::now();
    let opens = async {
        // Long enough for several attempts.
        sleep(Duration::from_millis(200)).await;
        let _listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        while findings.lock().unwrap().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = run(&container, Arc::new(target(port)), &tell) => panic!("a probe has no end"),
        () = opens => {}
    }
    assert!(start.elapsed() < Duration::from_secs(10));
    let expected = Finding { kind: Kind::Readiness, failure: None, verdict: Some(true) };
    assert_eq!(*findings.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn other_probes_wait_for_the_startup_probe_and_end_with_it() {
    let container: Container = serde_json::from_value(json!({
        "name": "c",
        "startupProbe": {"tcpSocket": {"port": "none"}, "periodSeconds": 1, "failureThreshold": 2},
        "livenessProbe": {"tcpSocket": {"port": "none"}},
    }))
    .unwrap();
    let findings = Mutex::new(Vec::new());
    let tell = |finding| findings.lock().unwrap().push(finding);
    run(&container, Arc::new(target(1)), &tell).await;
    let failure = Some("couldn't find port: \"none\"".to_owned());
    let finding = |verdict| Finding { kind: Kind::Startup, failure: failure.clone(), verdict };
    assert_eq!(*findings.lock().unwrap(), [finding(None), finding(Some(false))]);
}
