//! What goes wrong is said as on any other node, and what can be put right goes on.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::cluster::{Cluster, container, once, with_cluster};

/// A pod whose container is like `main` with other fields; its status when it waits for `reason`.
async fn waits_for(cluster: &Cluster, name: &str, fields: Value, reason: &str) -> String {
    let mut main = container("main", &["exit=0"]);
    main.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    cluster.run(name, json!({"restartPolicy": "Never", "containers": [main]})).await;
    let waiting =
        cluster.until_container(name, |container| container["state"]["waiting"]["reason"] == reason).await;
    waiting["state"]["waiting"]["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_image_that_cannot_be_had_is_named_with_the_cause() {
    with_cluster(async |cluster| {
        for (name, image, policy, reason, expected) in [
            ("absent", "registry.test/absent:1", "IfNotPresent", "ErrImagePull", "(not found)"),
            (
                "elsewhere",
                "registry.test/elsewhere:1",
                "IfNotPresent",
                "ErrImagePull",
                "no match for platform linux/",
            ),
            (
                "never",
                "registry.test/app:1",
                "Never",
                "ErrImageNeverPull",
                "Container image \"registry.test/app:1\" is not present with pull policy of Never",
            ),
            ("malformed", "UPPER", "IfNotPresent", "InvalidImageName", "invalid reference format"),
        ] {
            let fields = json!({"image": image, "imagePullPolicy": policy});
            let message = waits_for(cluster, name, fields, reason).await;
            assert!(message.contains(expected), "{name}: {message}");
        }
        let failed = cluster.event("absent", "Failed").await;
        assert!(failed.starts_with("Failed to pull image \"registry.test/absent:1\": "), "{failed}");
    });
}

#[test]
fn a_program_for_another_machine_is_an_exec_format_error() {
    with_cluster(async |cluster| {
        let mut spec = once(&[], json!({}));
        spec["containers"][0]["image"] = json!("registry.test/foreign:1");
        spec["containers"][0]["command"] = json!(["/bin/foreign"]);
        cluster.run("foreign", spec).await;
        let ended = cluster
            .until_container("foreign", |container| container["state"]["terminated"].is_object())
            .await;
        let ended = &ended["state"]["terminated"];
        assert_eq!((&ended["reason"], &ended["exitCode"]), (&json!("StartError"), &json!(128)));
        assert_eq!(ended["message"], "exec \"/bin/foreign\": exec format error");
        assert_eq!(cluster.log("foreign").await, "exec \"/bin/foreign\": exec format error\n");
    });
}

#[test]
fn a_container_that_lacks_something_waits_until_it_is_there() {
    with_cluster(async |cluster| {
        let env =
            json!({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "x"}}}]});
        let message = waits_for(cluster, "env", env, "CreateContainerConfigError").await;
        assert_eq!(message, "configmap \"late\" not found");
        let volume = json!({"volumes": [{"name": "v", "configMap": {"name": "late"}}]});
        cluster.run("volume", once(&["exit=0"], volume)).await;
        assert_eq!(
            cluster.event("volume", "FailedMount").await,
            "MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found"
        );
        cluster
            .until_container("volume", |container| {
                container["state"]["waiting"]["reason"] == "ContainerCreating"
            })
            .await;
        let late = json!({"metadata": {"name": "late"}, "data": {"x": "1"}});
        cluster.server.create::<ConfigMap>(late).await.unwrap();
        cluster.until_phase("env", "Succeeded").await;
        cluster.until_phase("volume", "Succeeded").await;
    });
}

#[test]
fn root_is_refused_where_it_must_not_be() {
    with_cluster(async |cluster| {
        let context = json!({"securityContext": {"runAsNonRoot": true}});
        let message = waits_for(cluster, "root", context, "CreateContainerConfigError").await;
        assert!(
            message.starts_with("container has runAsNonRoot and image will run as root (pod: "),
            "{message}"
        );
        cluster.delete("root", None).await;
        cluster.until_gone("root").await;
    });
}
