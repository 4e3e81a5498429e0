//! Each breakage on a small component, and what is said about it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{LogTail, Snapshot, explain};

/// Deployment `web` with one ready pod behind a Service.
fn healthy() -> Snapshot {
    let owned = |uid: &str| json!([{"uid": uid, "kind": "", "name": ""}]);
    let deployment = json!({
        "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop", "uid": "d"},
        "spec": {"replicas": 1}, "status": {"replicas": 1, "readyReplicas": 1},
    });
    let service = json!({
        "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    });
    let set = json!({
        "kind": "ReplicaSet",
        "metadata": {"name": "web-2", "namespace": "shop", "uid": "s2", "ownerReferences": owned("d"),
                     "annotations": {"deployment.kubernetes.io/revision": "2"}},
        "spec": {"replicas": 1}, "status": {"replicas": 1, "readyReplicas": 1},
    });
    let pod = json!({
        "kind": "Pod",
        "metadata": {"name": "web-2-a", "namespace": "shop", "uid": "p", "ownerReferences": owned("s2"),
                     "labels": {"app": "web"}},
        "spec": {"nodeName": "node-a", "containers": [{
            "name": "web", "image": "registry.test/web:1", "ports": [{"name": "http", "containerPort": 8080}],
        }]},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "web", "ready": true, "restartCount": 0, "state": {"running": {}},
        }]},
    });
    let slice = json!({
        "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"conditions": {"ready": true}}],
    });
    let node = json!({
        "kind": "Node", "metadata": {"name": "node-a"},
        "status": {"nodeInfo": {"architecture": "arm64"}, "conditions": [{"type": "Ready", "status": "True"}]},
    });
    Snapshot {
        component: "web".to_owned(),
        objects: vec![deployment, service],
        replica_sets: vec![set],
        pods: vec![pod],
        endpoint_slices: vec![slice],
        nodes: vec![node],
        ..Snapshot::default()
    }
}

/// Shorthands for what a breakage changes.
impl Snapshot {
    fn container(&mut self) -> &mut Value {
        &mut self.pods[0]["spec"]["containers"][0]
    }

    /// The container is in this state, and its pod behind no Service.
    fn state(&mut self, restarts: u32, state: Value) {
        let status = &mut self.pods[0]["status"]["containerStatuses"][0];
        (status["ready"], status["restartCount"], status["state"]) = (json!(false), json!(restarts), state);
        self.endpoint_slices[0]["endpoints"][0]["conditions"]["ready"] = json!(false);
    }

    fn waiting(&mut self, reason: &str, message: &str) {
        self.state(0, json!({"waiting": {"reason": reason, "message": message}}));
    }

    fn crashing(&mut self, reason: &str, code: i64, log: &str) {
        self.state(3, json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        let ended = json!({"terminated": {"exitCode": code, "reason": reason}});
        self.pods[0]["status"]["containerStatuses"][0]["lastState"] = ended;
        self.logged(log);
    }

    fn logged(&mut self, line: &str) {
        let [namespace, pod, container] = ["shop", "web-2-a", "web"].map(str::to_owned);
        let lines = vec!["starting".to_owned(), line.to_owned()];
        self.logs.push(LogTail { namespace, pod, container, previous: true, lines });
    }

    fn event(&mut self, kind: &str, name: &str, reason: &str, message: &str) {
        let object = json!({"kind": kind, "name": name, "namespace": "shop"});
        self.events
            .push(json!({"type": "Warning", "reason": reason, "message": message, "involvedObject": object}));
    }

    fn probed(&mut self, field: &str, target: Value, complaint: &str) {
        self.container()[field] = json!({"httpGet": target});
        self.event("Pod", "web-2-a", "Unhealthy", complaint);
    }

    fn webhook(&mut self, bundle: &str) {
        let service = json!({"name": "web", "namespace": "shop"});
        self.webhooks.push(json!({
            "kind": "MutatingWebhookConfiguration", "metadata": {"name": "web-mutating"},
            "webhooks": [{"name": "web.test", "clientConfig": {"service": service, "caBundle": bundle}}],
        }));
    }
}

type Breakage = (&'static str, fn(&mut Snapshot));

const BREAKAGES: &[Breakage] = &[
    ("image that was never pushed", |it| it.waiting("ErrImagePull", "registry.test/web:1: not found")),
    ("registry that is down", |it| {
        it.waiting("ImagePullBackOff", "Back-off pulling image");
        it.event(
            "Pod",
            "web-2-a",
            "Failed",
            "Failed to pull image: dial tcp 127.0.0.1:5000: connection refused",
        );
    }),
    ("registry that wants a login", |it| it.waiting("ErrImagePull", "401 Unauthorized")),
    ("image without the node's platform", |it| {
        it.waiting("ErrImagePull", "no match for platform in manifest");
    }),
    ("reference that is none", |it| it.waiting("InvalidImageName", "couldn't parse image name")),
    ("executable for another machine", |it| it.crashing("Error", 255, "exec /bin/web: exec format error")),
    ("Secret that is missing", |it| {
        it.stores.push(json!({"kind": "Secret", "metadata": {"name": "web-tls"}, "data": {}}));
        it.waiting("CreateContainerConfigError", "secret \"web-tsl\" not found");
    }),
    ("key that is missing", |it| {
        let data = json!({"logLevel": null});
        it.stores.push(json!({"kind": "ConfigMap", "metadata": {"name": "web"}, "data": data}));
        it.waiting("CreateContainerConfigError", "couldn't find key loglevel in ConfigMap shop/web");
    }),
    ("misspelt argument", |it| it.crashing("Error", 2, "error: unexpected argument '--prot' found")),
    ("missing right", |it| {
        let words = "cannot list the jobs: jobs.batch is forbidden: User \"system:serviceaccount:shop:web\" cannot list resource \"jobs\" in API group \"batch\" in the namespace \"shop\"";
        it.crashing("Error", 1, words);
    }),
    ("missing service account", |it| {
        it.pods.clear();
        let words = "error looking up service account shop/web: serviceaccount \"web\" not found";
        it.event("ReplicaSet", "web-2", "FailedCreate", words);
    }),
    ("quota", |it| {
        it.pods.clear();
        it.event(
            "ReplicaSet",
            "web-2",
            "FailedCreate",
            "pods \"web-2-a\" is forbidden: exceeded quota: small",
        );
    }),
    ("webhook of another CA", |it| {
        it.webhook("eA==");
        it.notes.push("WebhookConfiguration: webhook `web.test` is not trusted with the certificate in Secret/web-tls: the CA bundle did not sign it".to_owned());
    }),
    ("webhook that does not answer", |it| {
        it.webhook("eA==");
        it.notes.push(
            "failed calling webhook \"web.test\": failed to call webhook: connection refused".to_owned(),
        );
    }),
    ("webhook without a CA", |it| it.webhook("")),
    ("volume that is read-only", |it| {
        it.container()["volumeMounts"] = json!([{"name": "data", "mountPath": "/data", "readOnly": true}]);
        it.crashing("Error", 3, "attempt to write a readonly database");
    }),
    ("disk that is full", |it| {
        it.crashing("Error", 1, "write /data/db: No space left on device (os error 28)")
    }),
    ("claim without a volume", |it| {
        it.pods[0]["spec"]["volumes"] = json!([{"persistentVolumeClaim": {"claimName": "data"}}]);
        let metadata = json!({"name": "data", "namespace": "shop"});
        it.claims.push(
            json!({"kind": "PersistentVolumeClaim", "metadata": metadata, "status": {"phase": "Pending"}}),
        );
        it.event("PersistentVolumeClaim", "data", "ProvisioningFailed", "storageclass \"fast\" not found");
        it.waiting("ContainerCreating", "");
    }),
    ("readiness probe at a wrong port", |it| {
        it.state(0, json!({"running": {}}));
        let complaint = "Readiness probe failed: dial tcp 10.0.0.1:9999: connect: connection refused";
        it.probed("readinessProbe", json!({"path": "/readyz", "port": 9999}), complaint);
    }),
    ("readiness probe at an unknown name", |it| {
        it.state(0, json!({"running": {}}));
        it.probed("readinessProbe", json!({"path": "/readyz", "port": "https"}), "");
    }),
    ("readiness probe at a wrong path", |it| {
        it.state(0, json!({"running": {}}));
        let complaint = "Readiness probe failed: HTTP probe failed with statuscode: 404";
        it.probed("readinessProbe", json!({"path": "/ready", "port": "http"}), complaint);
    }),
    ("program that listens on loopback only", |it| {
        it.state(0, json!({"running": {}}));
        let complaint = "Readiness probe failed: dial tcp 10.0.0.1:8080: connect: connection refused";
        it.probed("readinessProbe", json!({"path": "/readyz", "port": "http"}), complaint);
        it.logged("listening on 127.0.0.1:8080");
    }),
    ("liveness probe without patience", |it| {
        it.state(4, json!({"running": {}}));
        let complaint = "Liveness probe failed: context deadline exceeded";
        it.probed("livenessProbe", json!({"path": "/healthz", "port": "http"}), complaint);
    }),
    ("selector that fits no pod", |it| {
        it.objects[1]["spec"]["selector"] = json!({"app": "wbe"});
        it.endpoint_slices.clear();
    }),
    ("target port that no container has", |it| {
        it.objects[1]["spec"]["ports"][0]["targetPort"] = json!("web");
        it.endpoint_slices.clear();
    }),
    ("node that is not ready", |it| {
        let ready = json!({"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."});
        it.nodes[0]["status"]["conditions"][0] = ready;
    }),
    ("pod that no node takes", |it| {
        let scheduled = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient memory."});
        it.pods[0]["status"] = json!({"phase": "Pending", "conditions": [scheduled]});
    }),
    ("too little memory", |it| {
        it.container()["resources"] = json!({"limits": {"memory": "32Mi"}});
        it.crashing("OOMKilled", 137, "caching everything");
    }),
    ("program that gives up", |it| it.crashing("Error", 1, "Error: cannot reach the database")),
    ("older revision that is never ready", |it| {
        let mut older = it.replica_sets[0].clone();
        older["metadata"]["name"] = json!("web-1");
        older["metadata"]["uid"] = json!("s1");
        older["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("1");
        older["status"] = json!({"replicas": 1, "readyReplicas": 0});
        it.replica_sets.push(older);
    }),
];

#[test]
fn each_breakage_is_told_with_its_cause_and_its_fix() {
    let mut told = String::new();
    for (breakage, damage) in BREAKAGES {
        let mut snapshot = healthy();
        damage(&mut snapshot);
        let diagnosis = explain(&snapshot);
        let likeliest = diagnosis.causes.first().unwrap_or_else(|| panic!("{breakage}: {diagnosis}"));
        writeln!(told, "{breakage}\n  cause: {}\n  fix: {}", likeliest.sentence, likeliest.hint).unwrap();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn nothing_is_found_wrong_with_what_is_well() {
    assert_eq!(explain(&healthy()).causes, []);
}

#[test]
fn a_consequence_comes_after_its_cause() {
    let mut snapshot = healthy();
    snapshot.waiting("ErrImagePull", "registry.test/web:1: not found");
    insta::assert_snapshot!(explain(&snapshot));
}

#[test]
fn a_picture_survives_being_saved() {
    let mut snapshot = healthy();
    snapshot.crashing("Error", 1, "Error: cannot reach the database");
    let saved = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(explain(&serde_json::from_str(&saved).unwrap()), explain(&snapshot));
}
