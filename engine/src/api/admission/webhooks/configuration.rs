//! Webhook configurations, read from the store and parsed once for each change.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use tokio::sync::watch;

use crate::api::selector::LabelSelector;
use crate::expression::Expression;
use crate::store::{GroupResource, Store};

/// Group of the configurations. No webhook is called for what is in it: a broken one could never be repaired.
pub const GROUP: &str = "admissionregistration.k8s.io";

const MUTATING: &str = "mutatingwebhookconfigurations";
const VALIDATING: &str = "validatingwebhookconfigurations";
const DEFAULT_TIMEOUT: u64 = 10;

/// One webhook of one configuration.
#[derive(Debug)]
pub struct Webhook {
    /// Name of the configuration and position in it: what tells it from every other.
    pub id: String,
    /// Name, as messages write it.
    pub name: String,
    /// Which writes it wants to see.
    pub rules: Vec<Rule>,
    /// A rule for another served version of the resource counts too.
    pub equivalent: bool,
    /// Of the object's namespace.
    pub namespace_selector: LabelSelector,
    /// Of the object, before or after.
    pub object_selector: LabelSelector,
    /// All have to hold.
    pub conditions: Vec<Condition>,
    /// Whether a call that fails refuses the write.
    pub fail: bool,
    /// It may be called for what is not stored.
    pub dry_run: bool,
    /// It wants to see what webhooks after it changed.
    pub reinvoke: bool,
    /// How long a call may take.
    pub timeout: Duration,
    /// Where it is.
    pub target: Target,
    /// Authorities that may sign its certificate, PEM.
    pub ca_bundle: Vec<u8>,
}

/// Which writes a webhook wants to see; `*` means all in every list.
#[derive(Debug, Default)]
pub struct Rule {
    pub operations: Vec<String>,
    pub groups: Vec<String>,
    pub versions: Vec<String>,
    pub resources: Vec<String>,
    /// `*`, `Namespaced` or `Cluster`.
    pub scope: String,
}

/// A condition; one that does not compile never holds and is an error each time.
#[derive(Debug)]
pub struct Condition {
    pub name: String,
    pub expression: Result<Expression, String>,
}

/// Where a webhook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Anywhere.
    Url(String),
    /// Behind a Service of this cluster.
    Service { namespace: String, name: String, port: u16, path: String },
}

/// All webhooks of a moment, in the order in which they are called.
#[derive(Debug, Default)]
pub struct Webhooks {
    pub mutating: Vec<Arc<Webhook>>,
    pub validating: Vec<Arc<Webhook>>,
}

/// The webhooks as of the last change of a configuration.
#[derive(Default)]
pub struct Configurations {
    sources: OnceLock<[watch::Receiver<u64>; 2]>,
    cached: Mutex<([u64; 2], Arc<Webhooks>)>,
}

impl Configurations {
    /// The webhooks as of now.
    pub fn current(&self, store: &Store) -> Arc<Webhooks> {
        let collections = [MUTATING, VALIDATING].map(|plural| GroupResource::new(GROUP, plural));
        let sources = self.sources.get_or_init(|| collections.each_ref().map(|each| store.subscribe(each)));
        let stamp = sources.each_ref().map(|source| *source.borrow());
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.0 != stamp {
            let [mutating, validating] = collections.each_ref().map(|collection| {
                // In the order of names, which is the order of the store.
                let objects = store.snapshot(collection).objects;
                let read = objects.values().flat_map(|object| read(&object.value()));
                read.map(Arc::new).collect()
            });
            *cached = (stamp, Arc::new(Webhooks { mutating, validating }));
        }
        cached.1.clone()
    }
}

/// The webhooks of one configuration.
pub fn read(configuration: &Value) -> Vec<Webhook> {
    let name = configuration["metadata"]["name"].as_str().unwrap_or_default();
    let kind = configuration["kind"].as_str().unwrap_or_default();
    let webhooks = configuration["webhooks"].as_array().into_iter().flatten();
    webhooks.enumerate().map(|(index, webhook)| one(format!("{kind}/{name}/{index}"), webhook)).collect()
}

fn one(id: String, webhook: &Value) -> Webhook {
    let text = |field: &str| webhook[field].as_str().unwrap_or_default();
    let conditions = webhook["matchConditions"].as_array().into_iter().flatten();
    let conditions = conditions.map(|condition| Condition {
        name: condition["name"].as_str().unwrap_or_default().to_owned(),
        expression: Expression::compile(condition["expression"].as_str().unwrap_or_default()),
    });
    let client = &webhook["clientConfig"];
    // Whitespace inside is allowed and common: YAML block scalars.
    let bundle: String = client["caBundle"].as_str().unwrap_or_default().split_ascii_whitespace().collect();
    Webhook {
        id,
        name: text("name").to_owned(),
        rules: webhook["rules"].as_array().into_iter().flatten().map(rule).collect(),
        equivalent: text("matchPolicy") != "Exact",
        namespace_selector: LabelSelector::from_object(&webhook["namespaceSelector"]).unwrap_or_default(),
        object_selector: LabelSelector::from_object(&webhook["objectSelector"]).unwrap_or_default(),
        conditions: conditions.collect(),
        fail: text("failurePolicy") != "Ignore",
        dry_run: ["None", "NoneOnDryRun"].contains(&text("sideEffects")),
        reinvoke: text("reinvocationPolicy") == "IfNeeded",
        timeout: Duration::from_secs(webhook["timeoutSeconds"].as_u64().unwrap_or(DEFAULT_TIMEOUT)),
        target: target(client),
        ca_bundle: BASE64.decode(bundle).unwrap_or_default(),
    }
}

fn rule(rule: &Value) -> Rule {
    let list = |field: &str| {
        let list = rule[field].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(String::from).collect()
    };
    Rule {
        operations: list("operations"),
        groups: list("apiGroups"),
        versions: list("apiVersions"),
        resources: list("resources"),
        scope: rule["scope"].as_str().unwrap_or("*").to_owned(),
    }
}

fn target(client: &Value) -> Target {
    if let Some(url) = client["url"].as_str() {
        return Target::Url(url.to_owned());
    }
    let service = &client["service"];
    let text = |field: &str| service[field].as_str().unwrap_or_default().to_owned();
    let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok());
    Target::Service {
        namespace: text("namespace"),
        name: text("name"),
        port: port.unwrap_or(443),
        path: text("path"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::Expect;

    #[test]
    fn absent_fields_have_upstreams_defaults() {
        let configuration = json!({"kind": "MutatingWebhookConfiguration", "metadata": {"name": "c"}, "webhooks": [
            {"name": "a.example.com", "sideEffects": "None", "clientConfig":
                {"service": {"namespace": "ns", "name": "svc"}, "caBundle": "UEV\nN"}},
            {"name": "b.example.com", "failurePolicy": "Ignore", "matchPolicy": "Exact", "timeoutSeconds": 3,
                "sideEffects": "Some", "reinvocationPolicy": "IfNeeded", "clientConfig": {"url": "https://x/y"},
                "matchConditions": [{"name": "broken", "expression": "object =="}]},
        ]});
        let read = read(&configuration);
        let [first, second] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!(first.ca_bundle, b"PEM");
        let service =
            Target::Service { namespace: "ns".into(), name: "svc".into(), port: 443, path: String::new() };
        assert_eq!(first.target, service);
        assert!(first.fail && first.equivalent && first.dry_run && !first.reinvoke);
        assert_eq!(first.timeout, Duration::from_secs(10));
        assert!(!second.fail && !second.equivalent && !second.dry_run && second.reinvoke);
        assert_eq!((&second.target, second.timeout.as_secs()), (&Target::Url("https://x/y".into()), 3));
        assert!(second.conditions[0].expression.is_err());
    }

    #[test]
    fn a_change_is_seen_at_once_and_webhooks_come_in_the_order_of_names() {
        let (store, configurations) = (Store::new(10), Configurations::default());
        let names = |store| {
            let current = configurations.current(store);
            current.validating.iter().map(|webhook| webhook.name.clone()).collect::<Vec<_>>()
        };
        assert!(names(&store).is_empty());
        for name in ["b", "a"] {
            let value = json!({"metadata": {"name": name}, "webhooks": [{"name": format!("1.{name}")}, {"name": format!("2.{name}")}]});
            let key = (String::new(), name.to_owned());
            store.put(&GroupResource::new(GROUP, VALIDATING), &key, Expect::Absent, value).unwrap();
        }
        assert_eq!(names(&store), ["1.a", "2.a", "1.b", "2.b"]);
    }
}
