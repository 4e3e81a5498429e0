//! The API over TLS sockets, as clients outside of the process reach it.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engine::api::{Api, server};
use engine::pki::{MASTERS, Pki};
use futures::StreamExt;
use http::{StatusCode, Version};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::server::{NAMESPACE, start};

/// A server on a loopback port.
struct Listening {
    api: Arc<Api>,
    pki: Pki,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

async fn listen() -> Listening {
    // The one of another test serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pki = Pki::generate().unwrap();
    let api = start().await.api;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(server::serve(api.clone(), listener, pki.server_config().unwrap()));
    Listening { api, pki, address, serving }
}

impl Listening {
    async fn client(&self, user: &str, group: Option<&str>) -> Client {
        let credential = self.pki.client(user, group).unwrap();
        let kubeconfig = self.pki.kubeconfig(&format!("https://{}", self.address), "test", &credential);
        let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
        Client::try_from(config.await.unwrap()).unwrap()
    }
}

#[tokio::test]
async fn a_certificate_says_who_comes() {
    let listening = listen().await;
    let client = listening.client("alice", Some("staff")).await;
    let review = kube::Api::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let user = review.unwrap().status.unwrap().user_info.unwrap();
    assert_eq!(user.username.as_deref(), Some("alice"));
    assert_eq!(user.groups.unwrap(), ["staff", "system:authenticated"]);
}

#[tokio::test]
async fn both_versions_of_http_are_spoken() {
    let listening = listen().await;
    let authority = reqwest::Certificate::from_pem(listening.pki.ca_pem().as_bytes()).unwrap();
    let builder = || reqwest::Client::builder().tls_certs_only([authority.clone()]);
    let url = format!("https://{}/healthz", listening.address);
    for (client, version) in [(builder().http1_only(), Version::HTTP_11), (builder(), Version::HTTP_2)] {
        let client = client.build().unwrap();
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!((answer.version(), answer.text().await.unwrap().as_str()), (version, "ok"));
        let head = client.head(&url).send().await.unwrap();
        assert_eq!((head.status(), head.text().await.unwrap().as_str()), (StatusCode::OK, ""));
    }
}

#[tokio::test]
async fn a_server_ends_with_watches_and_idle_connections_open() {
    let listening = listen().await;
    let client = listening.client("admin", Some(MASTERS)).await;
    let maps = kube::Api::<ConfigMap>::namespaced(client, NAMESPACE);
    let mut events = pin!(maps.watch(&WatchParams::default(), "0").await.unwrap());
    let created = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
    maps.create(&PostParams::default(), &created).await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap();
    assert!(matches!(first, Some(Ok(WatchEvent::Added(_)))), "{first:?}");
    let mut silent = TcpStream::connect(listening.address).await.unwrap();
    silent.write_all(b"no").await.unwrap();
    listening.api.closing.cancel();
    tokio::time::timeout(Duration::from_secs(10), listening.serving).await.expect("it goes on").unwrap();
    assert!(TcpStream::connect(listening.address).await.is_err(), "still listening");
}
