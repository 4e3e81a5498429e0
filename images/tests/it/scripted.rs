//! A server that follows a script: it sees each request and answers it, damages the answer, or lets a real registry answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use futures::StreamExt;

/// A request that was received.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// How many requests with this method and path came before.
    pub nth: usize,
}

impl Seen {
    pub fn is(&self, method: &str, path: &str) -> bool {
        self.method.as_str() == method && self.path.split('?').next() == Some(path)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// The connection ends after so many bytes of the body.
    cut: Option<usize>,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        let status = StatusCode::from_u16(status).unwrap();
        Reply { status, headers: HeaderMap::new(), body: Bytes::new(), cut: None }
    }

    pub fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Reply {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value.as_ref()).unwrap());
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Reply {
        self.body = body.into();
        self
    }

    pub fn cut_after(mut self, bytes: usize) -> Reply {
        self.cut = Some(bytes);
        self
    }

    fn into_response(self) -> Response {
        let Reply { status, headers, body, cut } = self;
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        *response.body_mut() = match cut {
            None => Body::from(body),
            Some(cut) => {
                response.headers_mut().insert("content-length", HeaderValue::from(body.len()));
                let pieces = [Ok(body.slice(..cut)), Err(std::io::Error::other("cut"))];
                // The second piece is only made when the first has left.
                Body::from_stream(futures::stream::iter(pieces).then(async |piece| {
                    tokio::task::yield_now().await;
                    piece
                }))
            }
        };
        response
    }
}

type Script = Box<dyn Fn(&Seen) -> Option<Reply> + Send + Sync>;

struct Shared {
    script: Script,
    upstream: Option<SocketAddr>,
    http: reqwest::Client,
    seen: Mutex<Vec<Seen>>,
    /// Headers of every answer of the registry behind.
    said: Mutex<HeaderMap>,
}

/// The running server.
pub struct Scripted {
    shared: Arc<Shared>,
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scripted {
    /// Answers by the script; what it has no answer for is answered with 404.
    pub async fn new(script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> Scripted {
        Scripted::start(None, Box::new(script)).await
    }

    /// Answers by the script; what it has no answer for goes to the registry behind.
    pub async fn before(
        upstream: SocketAddr,
        script: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static,
    ) -> Scripted {
        Scripted::start(Some(upstream), Box::new(script)).await
    }

    async fn start(upstream: Option<SocketAddr>, script: Script) -> Scripted {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let shared =
            Arc::new(Shared { script, upstream, http, seen: Mutex::default(), said: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Scripted { shared, address, task }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Methods in the order they came.
    pub fn methods(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.method.to_string()).collect()
    }

    /// Adds a header to what the registry behind answers from now on.
    pub fn say(&self, name: &'static str, value: &'static str) {
        self.shared.said.lock().unwrap().insert(name, HeaderValue::from_static(value));
    }

    pub fn forget(&self) {
        self.shared.seen.lock().unwrap().clear();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().to_string();
    // A broken body is seen as far as it came, and goes no further.
    let body = to_bytes(body, 64 << 20).await;
    let is_broken = body.is_err();
    let body = body.unwrap_or_default();
    let seen = {
        let mut all = shared.seen.lock().unwrap();
        let nth = all.iter().filter(|seen| seen.method == parts.method && seen.path == path).count();
        let seen = Seen { method: parts.method, path, headers: parts.headers, body, nth };
        all.push(seen.clone());
        seen
    };
    if let Some(reply) = (shared.script)(&seen) {
        return reply.into_response();
    }
    let Some(upstream) = shared.upstream else { return Reply::status(404).into_response() };
    if is_broken {
        return Reply::status(400).into_response();
    }
    let mut headers = seen.headers.clone();
    headers.remove("host");
    let url = format!("http://{upstream}{}", seen.path);
    let request = shared.http.request(seen.method.clone(), url).headers(headers).body(seen.body.clone());
    let answer = request.send().await.unwrap();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    response.headers_mut().extend(shared.said.lock().unwrap().clone());
    if seen.method != Method::HEAD {
        *response.body_mut() = Body::from(answer.bytes().await.unwrap());
    }
    response
}
