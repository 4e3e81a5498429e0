//! A client that remembers what is asked, and holds back or refuses what it is told to.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tokio::sync::watch;
use tower::service_fn;

/// A request, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// For example POST.
    pub method: Method,
    /// Without the query.
    pub path: String,
}

type Rule = Arc<dyn Fn(&Asked) -> bool + Send + Sync>;

/// See the module; cheap to clone.
#[derive(Clone)]
pub struct Spy {
    /// Asks as the one who is spied on.
    pub client: Client,
    asked: Arc<Mutex<Vec<Asked>>>,
    gate: watch::Sender<bool>,
}

impl Spy {
    /// Spies on `inner`. What `held` picks waits until [`Spy::open`].
    pub fn on(inner: Client, held: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let gate = watch::Sender::new(false);
        let held: Rule = Arc::new(held);
        let (log, opened) = (asked.clone(), gate.clone());
        let service = service_fn(move |request: Request<Body>| {
            let this = Asked { method: request.method().clone(), path: request.uri().path().to_owned() };
            let (inner, held, log, mut opened) =
                (inner.clone(), held.clone(), log.clone(), opened.subscribe());
            async move {
                if held(&this) {
                    opened.wait_for(|open| *open).await.unwrap();
                }
                log.lock().unwrap().push(this);
                let answer: Response<Body> = inner.send(request).await.unwrap();
                Ok::<_, Infallible>(answer)
            }
        });
        Self { client: Client::new(service, "default"), asked, gate }
    }

    /// Lets pass what was held back.
    pub fn open(&self) {
        self.gate.send_replace(true);
    }

    /// How often something was asked.
    pub fn count(&self, wanted: impl Fn(&Asked) -> bool) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| wanted(asked)).count()
    }
}
