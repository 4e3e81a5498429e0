//! What every namespace has: the ServiceAccount `default` and the ConfigMap with the cluster's certificate authority.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

use super::cache::{Change, Key};
use super::context::{Context, ROOT_CA};
use super::queue::{Queue, Tasks};

/// Name of the ServiceAccount of pods that name none.
const SERVICE_ACCOUNT: &str = "default";
/// Key of the certificate in the ConfigMap.
const CERTIFICATE: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal \
     service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
);

/// Registers the handlers and starts the workers.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.namespaces.on_change({
        let queue = queue.clone();
        move |change| {
            change.new.iter().for_each(|namespace| queue.add(Key::new("", namespace.name_any())));
        }
    });
    context.service_accounts.on_change({
        let queue = queue.clone();
        move |change| {
            if let (None, Some(namespace)) = (&change.new, namespace_of(change)) {
                queue.add(namespace);
            }
        }
    });
    context.root_ca.on_change({
        let queue = queue.clone();
        move |change| namespace_of(change).into_iter().for_each(|namespace| queue.add(namespace))
    });
    let context = context.clone();
    tasks.work("namespace content", 2, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, &key.name).await }
    });
}

fn namespace_of<K: Resource>(change: &Change<K>) -> Option<Key> {
    Some(Key::new("", change.latest()?.namespace()?))
}

async fn sync(context: &Context, name: &str) -> Result<Option<Duration>, kube::Error> {
    let Some(namespace) = context.namespaces.cache().get(&Key::new("", name)) else { return Ok(None) };
    let Missing { service_account, root_ca } = missing(
        &namespace,
        context.service_accounts.cache().get(&Key::new(name, SERVICE_ACCOUNT)).is_some(),
        context.root_ca.cache().get(&Key::new(name, ROOT_CA)).as_deref(),
        &context.options.root_ca,
    );
    if let Some(account) = service_account {
        tolerate_existing(context.create(&context.service_accounts, &account).await)?;
    }
    match root_ca {
        Some(map) if map.metadata.resource_version.is_some() => {
            context.replace(&context.root_ca, &map).await?
        }
        Some(map) => tolerate_existing(context.create(&context.root_ca, &map).await)?,
        None => {}
    }
    Ok(None)
}

/// Somebody else was faster; the watch brings theirs.
fn tolerate_existing<K>(answer: Result<K, kube::Error>) -> Result<(), kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}

/// What has to be written.
#[derive(Debug, Default)]
struct Missing {
    service_account: Option<ServiceAccount>,
    /// With a resourceVersion when it replaces one that says something else.
    root_ca: Option<ConfigMap>,
}

/// The decision; pure.
fn missing(
    namespace: &Namespace,
    has_account: bool,
    root_ca: Option<&ConfigMap>,
    certificate: &str,
) -> Missing {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    if namespace.metadata.deletion_timestamp.is_some() || phase == Some("Terminating") {
        return Missing::default();
    }
    let metadata = |name: &str| ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.name_any()),
        ..ObjectMeta::default()
    };
    let account = ServiceAccount { metadata: metadata(SERVICE_ACCOUNT), ..ServiceAccount::default() };
    let data = Some(BTreeMap::from([(CERTIFICATE.to_owned(), certificate.to_owned())]));
    let map = match root_ca {
        Some(current) if current.data == data => None,
        Some(current) => Some(ConfigMap { data, ..current.clone() }),
        None => {
            let mut metadata = metadata(ROOT_CA);
            metadata.annotations =
                Some(BTreeMap::from([(DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned())]));
            Some(ConfigMap { metadata, data, ..ConfigMap::default() })
        }
    };
    Missing { service_account: (!has_account).then_some(account), root_ca: map }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// `expected`: whether an account is created, and what happens to the ConfigMap.
    fn check(phase: &str, has_account: bool, data: Value, expected: (bool, &str)) {
        let namespace = json!({"metadata": {"name": "ns"}, "status": {"phase": phase}});
        let map =
            json!({"metadata": {"name": ROOT_CA, "namespace": "ns", "resourceVersion": "7"}, "data": data});
        let map: Option<ConfigMap> = data.is_object().then(|| serde_json::from_value(map).unwrap());
        let Missing { service_account, root_ca } =
            missing(&serde_json::from_value(namespace).unwrap(), has_account, map.as_ref(), "PEM");
        let write = match &root_ca {
            None => "nothing",
            Some(map) if map.metadata.resource_version.is_some() => "replace",
            Some(_) => "create",
        };
        assert_eq!((service_account.is_some(), write), expected);
        if let Some(map) = root_ca {
            assert_eq!(map.data.unwrap()["ca.crt"], "PEM");
        }
    }

    #[test]
    fn a_namespace_gets_what_it_lacks() {
        check("Active", false, Value::Null, (true, "create"));
        check("Active", true, json!({"ca.crt": "PEM"}), (false, "nothing"));
        check("Active", true, json!({"ca.crt": "old"}), (false, "replace"));
        check("Active", true, json!({"ca.crt": "PEM", "more": ""}), (false, "replace"));
    }

    #[test]
    fn a_namespace_that_goes_gets_nothing() {
        check("Terminating", false, Value::Null, (false, "nothing"));
    }
}
