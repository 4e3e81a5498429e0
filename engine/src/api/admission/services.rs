//! Cluster IPs and node ports of Services. What is taken is read from the store, so nothing has to be given back when a
//! Service goes; only what was given out and is not stored yet is remembered, for a few seconds.

mod decide;
mod pool;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Attributes, Operation};
use crate::schema::FieldError;
use crate::status::{Cause, Status};
use crate::store::{Event, GroupResource, Key, Snapshot, Store};

/// How long what was given out is held for a Service that is not stored yet: longer than a write takes, shorter than a
/// person who tries again under another name would notice.
const HELD: Duration = Duration::from_secs(5);

/// Addresses and ports in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Taken {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<u16>,
}

impl Taken {
    /// Those one Service uses.
    fn by(service: &Value) -> Self {
        let spec = &service["spec"];
        let addresses = spec["clusterIP"].as_str().and_then(|address| address.parse().ok());
        let ports = spec["ports"].as_array().into_iter().flatten();
        let ports = ports.filter_map(|port| port["nodePort"].as_u64()).filter(|port| *port != 0);
        Self {
            addresses: addresses.into_iter().collect(),
            ports: ports.filter_map(|port| u16::try_from(port).ok()).collect(),
        }
    }

    fn add(&mut self, other: Self) {
        self.addresses.extend(other.addresses);
        self.ports.extend(other.ports);
    }
}

struct Held {
    until: Instant,
    by: Key,
    what: Taken,
    /// Of the store when it was given out.
    revision: u64,
}

impl Held {
    /// Whether the Service was written since: then the store tells what it uses, or that it is gone again.
    fn is_written(&self, store: &Store, services: &GroupResource) -> bool {
        let written = |event: &Event| event.object.namespace == self.by.0 && event.object.name == self.by.1;
        store.events_after(services, self.revision).is_ok_and(|(events, _)| events.iter().any(written))
    }
}

/// What was given out lately.
#[derive(Default)]
pub struct Allocations {
    held: Mutex<Vec<Held>>,
}

impl Allocations {
    /// Completes a Service that is created or updated.
    pub fn allocate(
        &self,
        store: &Store,
        attributes: &Attributes<'_>,
        service: &mut Value,
    ) -> Result<(), Status> {
        let old = attributes.old.filter(|_| attributes.operation == Operation::Update);
        let own: Key = (attributes.namespace.to_owned(), attributes.name.to_owned());
        // Held over the decision, so that two Services created at once do not get the same.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let services = GroupResource::new("", "services");
        held.retain(|each| each.until > now && !each.is_written(store, &services));
        let snapshot = store.snapshot(&services);
        let mut taken = in_use(&snapshot, &own);
        held.iter().filter(|each| each.by != own).for_each(|each| taken.add(each.what.clone()));
        let errors = decide::decide(service, old, &taken, &mut rand::random::<u32>);
        if !errors.is_empty() {
            return Err(invalid(attributes.name, &errors));
        }
        if !attributes.dry_run {
            let what = Taken::by(service);
            held.push(Held { until: now + HELD, by: own, what, revision: snapshot.revision });
        }
        Ok(())
    }
}

/// What all Services but `own` use.
fn in_use(services: &Snapshot, own: &Key) -> Taken {
    let mut taken = Taken::default();
    let others = services.objects.iter().filter(|(key, _)| *key != own);
    others.for_each(|(_, service)| taken.add(Taken::by(&service.value())));
    taken
}

fn invalid(name: &str, errors: &[FieldError]) -> Status {
    let causes: Vec<Cause> =
        errors.iter().map(|error| Cause::new(error.reason, &error.path, &error.message)).collect();
    Status::invalid("", "Service", name, &causes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::Write;
    use super::*;
    use crate::store::Expect;

    fn node_port(port: u16) -> Value {
        json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}})
    }

    #[test]
    fn what_is_not_stored_yet_is_held_and_what_was_deleted_is_free() {
        let (store, allocations) = (Store::new(10), Allocations::default());
        let services = GroupResource::new("", "services");
        let [first, second] = ["a", "b"].map(|name| Write::new(Operation::Create, "services", "ns", name));
        let allocate =
            |write: &Write, service: &mut Value| allocations.allocate(&store, &write.attributes(), service);
        let mut service = node_port(30080);
        allocate(&first, &mut service).unwrap();
        allocate(&first, &mut service.clone()).expect("the same Service tried again");
        let refused = allocate(&second, &mut node_port(30080)).unwrap_err();
        assert_eq!(
            refused.message(),
            r#"Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"#
        );
        let key = ("ns".to_owned(), "a".to_owned());
        let stored = store.put(&services, &key, Expect::Absent, service).unwrap();
        allocate(&second, &mut node_port(30080)).unwrap_err();
        store.remove(&services, &key, Expect::Revision(stored.revision), json!({})).unwrap();
        allocate(&second, &mut node_port(30080)).expect("deleted with its Service");
    }

    #[test]
    fn a_dry_run_holds_nothing() {
        let (store, allocations) = (Store::new(10), Allocations::default());
        let write = Write::new(Operation::Create, "services", "ns", "a");
        let dry = Attributes { dry_run: true, ..write.attributes() };
        allocations.allocate(&store, &dry, &mut node_port(30080)).unwrap();
        let other = Write::new(Operation::Create, "services", "ns", "b");
        allocations.allocate(&store, &other.attributes(), &mut node_port(30080)).unwrap();
    }
}
