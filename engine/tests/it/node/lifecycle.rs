//! Pods from their creation to their end.

use engine::controllers;
use engine::kubelet::LogRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Node, Pod, Service};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::cluster::{as_json, container, once, with_cluster};
use crate::api::server::NAMESPACE;

/// Status of one of a pod's conditions.
fn condition(pod: &Pod, type_: &str) -> String {
    let conditions = pod.status.as_ref().unwrap().conditions.as_ref().unwrap();
    conditions.iter().find(|condition| condition.type_ == type_).unwrap().status.clone()
}

#[test]
fn a_pod_runs_to_its_end_and_tells_how_it_was() {
    with_cluster(async |cluster| {
        let commands = ["say=hello", "complain=careful", "terminate-with=last words", "exit=3"];
        cluster.run("ends", once(&commands, json!({}))).await;
        let pod = cluster.until_phase("ends", "Failed").await;
        let status = as_json(&pod.status);
        let container = &status["containerStatuses"][0];
        let ended = &container["state"]["terminated"];
        assert_eq!(ended["exitCode"], 3, "{status:#}");
        assert_eq!((&ended["reason"], &ended["message"]), (&json!("Error"), &json!("last words")));
        assert!(
            container["imageID"].as_str().unwrap().starts_with("registry.test/app@sha256:"),
            "{status:#}"
        );
        assert_eq!(condition(&pod, "Ready"), "False");
        assert!(status["podIP"].as_str().unwrap().starts_with("10.244.0."), "{status:#}");
        assert_eq!((&status["hostIP"], &status["qosClass"]), (&json!("10.244.0.1"), &json!("BestEffort")));
        let mut lines: Vec<String> = cluster.log("ends").await.lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines, ["careful", "hello"]);
        assert_eq!(cluster.event("ends", "Started").await, "Started container main");
        cluster.run("well", once(&["exit=0"], json!({}))).await;
        let pod = cluster.until_phase("well", "Succeeded").await;
        assert_eq!(
            as_json(&pod.status)["containerStatuses"][0]["state"]["terminated"]["reason"],
            "Completed"
        );
        cluster.delete("well", None).await;
        cluster.until_gone("well").await;
    });
}

#[test]
fn a_crashing_container_is_restarted_with_pauses_and_its_logs_are_kept() {
    with_cluster(async |cluster| {
        cluster.run("loop", json!({"containers": [container("main", &["say=again", "exit=1"])]})).await;
        let waiting = cluster
            .until_container("loop", |container| {
                container["restartCount"] == 2
                    && container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            })
            .await;
        assert_eq!(waiting["lastState"]["terminated"]["exitCode"], 1);
        let message = waiting["state"]["waiting"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("back-off 600ms restarting failed container=main pod=loop_work("),
            "{message}"
        );
        assert!(
            cluster.event("loop", "BackOff").await.starts_with("Back-off restarting failed container main")
        );
        for previous in [false, true] {
            let request = LogRequest { pod: "loop".to_owned(), previous, ..LogRequest::default() };
            assert_eq!(cluster.log_of(request).await, "again\n");
        }
    });
}

#[test]
fn init_containers_prepare_what_the_main_one_finds() {
    with_cluster(async |cluster| {
        let with_shared = |mut container: serde_json::Value| {
            let mounts = container["volumeMounts"].as_array_mut().unwrap();
            mounts.push(json!({"name": "shared", "mountPath": "/shared"}));
            container
        };
        let spec = json!({
            "restartPolicy": "Never",
            "initContainers": [with_shared(container("first", &["write=/shared/file"]))],
            "containers": [with_shared(container("main", &["cat=/shared/file", "cat=/etc/where"]))],
            "volumes": [{"name": "shared", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        });
        cluster.run("prepared", spec).await;
        cluster.until_phase("prepared", "Succeeded").await;
        assert_eq!(cluster.log("prepared").await, "written\nimage\n");
    });
}

#[test]
fn a_pod_is_ready_when_its_probe_says_so_and_restarted_when_it_does_not_live() {
    with_cluster(async |cluster| {
        let probe = |port: u16| json!({"httpGet": {"path": "/", "port": port}, "periodSeconds": 1, "failureThreshold": 1});
        let mut serving = container("main", &["serve=8080", "forever"]);
        serving["readinessProbe"] = probe(8080);
        serving["ports"] = json!([{"containerPort": 8080}]);
        cluster.run("serving", json!({"containers": [serving]})).await;
        let pod = cluster.until("serving", |pod| condition_is(pod, "Ready", "True")).await;
        assert_eq!(condition(&pod, "ContainersReady"), "True");
        let mut dead = container("main", &["forever"]);
        dead["livenessProbe"] = probe(9);
        dead["readinessProbe"] = probe(9);
        cluster.run("dead", json!({"terminationGracePeriodSeconds": 1, "containers": [dead]})).await;
        let seen = cluster.until_container("dead", |container| container["restartCount"] == 1).await;
        assert_eq!(seen["ready"], false);
        assert_eq!(
            cluster.event("dead", "Killing").await,
            "Container main failed liveness probe, will be restarted"
        );
        let unhealthy = cluster.event("dead", "Unhealthy").await;
        assert!(unhealthy.contains("probe failed: Get \"http://10.244.0."), "{unhealthy}");
    });
}

fn condition_is(pod: &Pod, type_: &str, status: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == type_ && condition.status == status)
    })
}

#[test]
fn a_service_leads_to_a_pod_only_when_it_is_ready() {
    with_cluster(async |cluster| {
        let client = cluster.server.client.clone();
        let options =
            controllers::Options { root_ca: String::new(), volumes: cluster.directory.path().join("v") };
        let end = CancellationToken::new();
        let controllers = tokio::spawn(controllers::run(client.clone(), options, end.clone()));
        let gate = json!({"metadata": {"name": "gate"}, "data": {"file": "closed"}});
        cluster.server.create::<ConfigMap>(gate).await.unwrap();
        let service = json!({"metadata": {"name": "late"}, "spec": {"selector": {"app": "late"}, "ports": [{"port": 80}]}});
        cluster.server.create::<Service>(service).await.unwrap();
        let mut main = container("main", &["await=/gate/file=open", "serve=8080", "forever"]);
        main["volumeMounts"].as_array_mut().unwrap().push(json!({"name": "gate", "mountPath": "/gate"}));
        main["readinessProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
        let volumes = json!([{"name": "gate", "configMap": {"name": "gate"}}]);
        cluster.run("late", json!({"containers": [main], "volumes": volumes})).await;
        let pod = cluster.until_phase("late", "Running").await;
        let endpoints: Api<Endpoints> = Api::namespaced(client.clone(), NAMESPACE);
        let addresses = async |kind: &str| {
            let shown = |endpoints: Option<&Endpoints>| {
                endpoints.is_some_and(|endpoints| as_json(endpoints)["subsets"][0][kind].is_array())
            };
            let endpoints = await_condition(endpoints.clone(), "late", shown).await.unwrap();
            as_json(&endpoints)["subsets"][0][kind][0]["ip"].as_str().unwrap().to_owned()
        };
        let ip = pod.status.unwrap().pod_ip.unwrap();
        assert_eq!(addresses("notReadyAddresses").await, ip);
        let maps: Api<ConfigMap> = Api::namespaced(client, NAMESPACE);
        let open = Patch::Merge(json!({"data": {"file": "open"}}));
        maps.patch("gate", &PatchParams::default(), &open).await.unwrap();
        assert_eq!(addresses("addresses").await, ip);
        end.cancel();
        controllers.await.unwrap().unwrap();
    });
}

#[test]
fn deletion_gives_a_container_time_and_then_none() {
    with_cluster(async |cluster| {
        let polite = container("main", &["until-term", "say=bye", "exit=5"]);
        cluster.run("polite", json!({"terminationGracePeriodSeconds": 30, "containers": [polite]})).await;
        cluster.until_logged("polite", "waiting\n").await;
        let follow = LogRequest { pod: "polite".to_owned(), follow: true, ..LogRequest::default() };
        let (log, ()) = tokio::join!(cluster.log_of(follow), async {
            cluster.delete("polite", None).await;
            cluster.until_gone("polite").await;
        });
        assert_eq!(log, "waiting\nbye\n");
        assert_eq!(cluster.event("polite", "Killing").await, "Stopping container main");
        for grace in [1, 0] {
            let stubborn = container("main", &["forever"]);
            cluster.run("stubborn", json!({"containers": [stubborn]})).await;
            cluster.until_phase("stubborn", "Running").await;
            cluster.delete("stubborn", Some(grace)).await;
            cluster.until_gone("stubborn").await;
        }
    });
}

#[test]
fn hooks_run_after_the_start_and_before_the_end() {
    with_cluster(async |cluster| {
        let command = |commands: &[&str]| container("x", commands)["command"].clone();
        let mut hooked = container("main", &["until-term", "cat=/before", "exit=0"]);
        hooked["lifecycle"] = json!({
            "postStart": {"exec": {"command": command(&["write=/after"])}},
            "preStop": {"exec": {"command": command(&["write=/before"])}},
        });
        hooked["readinessProbe"] = json!({"exec": {"command": command(&["cat=/after"])}, "periodSeconds": 1});
        cluster.run("hooked", json!({"containers": [hooked]})).await;
        cluster.until("hooked", |pod| condition_is(pod, "Ready", "True")).await;
        cluster.until_logged("hooked", "waiting\n").await;
        let follow = LogRequest { pod: "hooked".to_owned(), follow: true, ..LogRequest::default() };
        let (log, ()) = tokio::join!(cluster.log_of(follow), cluster.delete("hooked", None));
        assert_eq!(log, "waiting\nwritten\n");
        cluster.until_gone("hooked").await;
        let mut broken = container("main", &["forever"]);
        broken["lifecycle"] = json!({"postStart": {"exec": {"command": command(&["exit=1"])}}});
        cluster.run("broken", json!({"terminationGracePeriodSeconds": 1, "containers": [broken]})).await;
        assert!(cluster.event("broken", "FailedPostStartHook").await.starts_with("PostStartHook failed"));
        cluster.until_container("broken", |container| container["restartCount"] == 1).await;
    });
}

#[test]
fn a_deadline_ends_a_pod_that_takes_too_long() {
    with_cluster(async |cluster| {
        let more = json!({"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 1});
        cluster.run("slow", once(&["until-term", "exit=0"], more)).await;
        let pod = cluster.until_phase("slow", "Failed").await;
        assert_eq!(pod.status.unwrap().reason.as_deref(), Some("DeadlineExceeded"));
    });
}

#[test]
fn a_container_knows_where_it_is() {
    with_cluster(async |cluster| {
        let mut main = container("main", &["look", "cat=/etc/resolv.conf"]);
        main["env"] = json!([
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "GREETING", "value": "from $(NODE)"},
        ]);
        main["securityContext"] = json!({
            "runAsUser": 1000, "runAsGroup": 2000, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
        });
        cluster.run("here", json!({"restartPolicy": "Never", "containers": [main]})).await;
        let pod = cluster.until_phase("here", "Succeeded").await;
        let log = cluster.log("here").await;
        let (seen, resolver) = log.split_once('\n').unwrap();
        let seen: serde_json::Value = serde_json::from_str(seen).unwrap();
        let environment = &seen["environment"];
        assert_eq!(environment["GREETING"], "from node-a");
        assert_eq!(environment["IP"], json!(pod.status.unwrap().pod_ip));
        assert_eq!(environment["HOSTNAME"], "here");
        assert_eq!(environment["KUBERNETES_SERVICE_HOST"], "10.96.0.1");
        assert_eq!([&seen["user"], &seen["group"], &seen["noNewPrivileges"]], ["1000", "2000", "1"]);
        assert!(resolver.starts_with("search work.svc.cluster.local "), "{resolver}");
    });
}

#[test]
fn the_node_is_registered_and_alive() {
    with_cluster(async |cluster| {
        let client = cluster.server.client.clone();
        let ready = |node: Option<&Node>| {
            let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
            conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
        };
        let nodes: Api<Node> = Api::all(client.clone());
        let node = await_condition(nodes, "node-a", ready).await.unwrap().unwrap();
        let node = as_json(&node);
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "node-a");
        assert_eq!(node["status"]["nodeInfo"]["operatingSystem"], "linux");
        assert!(node["status"]["allocatable"]["memory"].as_str().unwrap().ends_with("Ki"), "{node:#}");
        let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
        let held = |lease: Option<&Lease>| lease.is_some();
        let lease = await_condition(leases, "node-a", held).await.unwrap().unwrap();
        assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some("node-a"));
    });
}

#[test]
fn whatever_runs_ends_with_the_node() {
    with_cluster(async |cluster| {
        cluster.run("left", json!({"containers": [container("main", &["forever"])]})).await;
        cluster.until_phase("left", "Running").await;
        // An object that vanishes takes its pod along, whatever the grace.
        cluster.run("vanishes", json!({"containers": [container("main", &["forever"])]})).await;
        cluster.until_phase("vanishes", "Running").await;
        cluster.pods.delete("vanishes", &DeleteParams::default().grace_period(0)).await.unwrap();
    });
    // That nothing is left is what `with_cluster` checks.
}
