//! Two replicas share a certificate and its CA, renew both, and are called all the while by an API server that learns what to
//! trust with a delay. No call fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use authwebhook::audit::{SenderOptions, start};
use authwebhook::certificate::{Profile, Source};
use authwebhook::health::{Check, Readiness};
use authwebhook::metrics::Metrics;
use authwebhook::registration::Names;
use authwebhook::server::{ServingCertificate, Webhook, router, serve};
use authwebhook::upkeep::{Memory, Upkeep};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api_server::ApiServer;

pub const MUTATING: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/authwebhook-mutating";
const VALIDATING: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/authwebhook-validating";
const SECRET: &str = "/api/v1/namespaces/kubernaut-system/secrets/authwebhook-tls";
const NAME: &str = "authwebhook.kubernaut-system.svc";
const DEADLINE: Duration = Duration::from_secs(90);
/// Of each caller: a steady load that leaves the other tests some of the machine.
const PACE: Duration = Duration::from_millis(250);

struct Replica {
    address: SocketAddr,
    readiness: Arc<Readiness>,
}

/// A CA ends with its first serving certificate, so that each renewal makes a new CA.
fn profile() -> Profile {
    let lifetime = Duration::from_secs(10);
    Profile {
        service: "authwebhook".into(),
        namespace: "kubernaut-system".into(),
        lifetime,
        ca_lifetime: lifetime,
    }
}

async fn replica(api_server: &ApiServer, source: Source) -> Replica {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (serving, readiness) = (Arc::new(ServingCertificate::default()), Arc::new(Readiness::default()));
    let metrics = Arc::new(Metrics::default());
    readiness.set(Check::Serving, Ok(()));
    // Nobody listens there: an unavailable DataStorage changes no verdict.
    let (audit, _worker) = start(SenderOptions::new("http://127.0.0.1:9"), metrics.clone()).unwrap();
    let upkeep = Upkeep {
        client: api_server.client(),
        profile: profile(),
        source,
        secret: "authwebhook-tls".into(),
        configurations: Names {
            mutating: "authwebhook-mutating".into(),
            validating: "authwebhook-validating".into(),
        },
        overlap: Duration::from_secs(1),
        listener: address,
        serving: serving.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        memory: Memory::default(),
    };
    tokio::spawn(upkeep.run(Duration::from_millis(100)));
    let router = router(Webhook { audit, metrics });
    tokio::spawn(serve(listener, serving, router, std::future::pending(), Duration::ZERO));
    Replica { address, readiness }
}

pub fn bundle(api_server: &ApiServer, path: &str) -> Option<String> {
    let configuration = api_server.get(path)?;
    let encoded = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str()?.to_owned();
    Some(String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap())
}

fn ca_in_secret(api_server: &ApiServer) -> String {
    api_server.get(SECRET).unwrap()["data"]["ca.crt"].as_str().unwrap().to_owned()
}

pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A call with a handshake of its own, as by an API server that trusts `bundle`.
pub async fn call(
    address: SocketAddr,
    bundle: &str,
    traceparent: Option<&str>,
) -> Result<Value, reqwest::Error> {
    let certificates = reqwest::Certificate::from_pem_bundle(bundle.as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(certificates)
        .resolve(NAME, address)
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "r-1", "userInfo": {"username": "bob"}, "oldObject": {}, "object": {
            "metadata": {"name": "rar-1", "namespace": "default", "uid": "u-1"},
            "spec": {"remediationRequestRef": {"name": "rr-1"}, "aiAnalysisRef": {"name": "ai-1"}},
            "status": {"decision": "Approved"},
        }},
    });
    let url = format!("https://{NAME}:{}/mutate-remediationapprovalrequest", address.port());
    let mut request = client.post(url).json(&review);
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    request.send().await?.error_for_status()?.json().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_certificate_and_ca_are_renewed() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api_server = ApiServer::default();
    let replicas = [replica(&api_server, Source::Own).await, replica(&api_server, Source::Own).await];
    until("both replicas are ready", || replicas.iter().all(|replica| replica.readiness.is_ready())).await;
    let first_ca = ca_in_secret(&api_server);

    // What the API server trusts: what is registered, a little later.
    let (trusts, trusted) = watch::channel(bundle(&api_server, MUTATING).unwrap());
    let lag = tokio::spawn({
        let api_server = api_server.clone();
        async move {
            loop {
                let seen = bundle(&api_server, MUTATING).unwrap();
                tokio::time::sleep(Duration::from_millis(300)).await;
                trusts.send_replace(seen);
            }
        }
    });
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let addresses = replicas.each_ref().map(|replica| replica.address);
    let callers = (0..4).map(|caller| {
        let (stop, calls, trusted) = (stop.clone(), calls.clone(), trusted.clone());
        tokio::spawn(async move {
            let mut pace = tokio::time::interval(PACE);
            while !stop.load(Ordering::Relaxed) {
                pace.tick().await;
                let bundle = trusted.borrow().clone();
                let answer = call(addresses[caller % 2], &bundle, None).await.unwrap();
                assert_eq!(answer["response"]["allowed"], true, "{answer}");
                calls.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    let callers: Vec<_> = callers.collect();

    until("the CA is renewed", || ca_in_secret(&api_server) != first_ca).await;
    let second_ca = ca_in_secret(&api_server);
    // Two more renewals of everything, so that the first CA is out of use and has ended.
    until("the CA is renewed again", || {
        let ca = ca_in_secret(&api_server);
        ca != first_ca && ca != second_ca
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    lag.abort();
    assert!(calls.load(Ordering::Relaxed) > 20, "{calls:?}");
    assert!(replicas.iter().all(|replica| replica.readiness.is_ready()));
    let pem = String::from_utf8(STANDARD.decode(&first_ca).unwrap()).unwrap();
    let first: String = pem.lines().filter(|line| !line.contains("CERTIFICATE")).collect();
    for path in [MUTATING, VALIDATING] {
        let registered: String = bundle(&api_server, path).unwrap().lines().collect();
        assert!(!registered.contains(&first), "{path} trusts a CA that has ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_waits_for_somebody_elses_certificate_makes_none() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api_server = ApiServer::default();
    let waiting = replica(&api_server, Source::Provided).await;
    until("it says what it waits for", || waiting.readiness.report().1.contains("is not there yet")).await;
    assert!(api_server.get(SECRET).is_none() && api_server.get(MUTATING).is_none());
    // Somebody provides it: here another replica.
    let provider = replica(&api_server, Source::Own).await;
    until("both are ready", || waiting.readiness.is_ready() && provider.readiness.is_ready()).await;
    let answer = call(waiting.address, &bundle(&api_server, VALIDATING).unwrap(), None).await.unwrap();
    assert_eq!(answer["response"]["allowed"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_does_not_wait_for_the_audit_trail() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let api_server = ApiServer::default();
    let replica = replica(&api_server, Source::Own).await;
    until("it is ready", || replica.readiness.is_ready()).await;
    let trusted = bundle(&api_server, MUTATING).unwrap();
    for _ in 0..20 {
        let answer = call(replica.address, &trusted, None).await.unwrap();
        assert_eq!(answer["response"]["allowed"], true);
        let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
        let patch: Value = serde_json::from_slice(&patch).unwrap();
        assert_eq!(patch[0]["value"], "bob");
    }
}
