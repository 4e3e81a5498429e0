//! Volumes as containers see them.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::cluster::{container, once, with_cluster};
use crate::api::server::NAMESPACE;

#[test]
fn objects_of_the_api_are_files() {
    with_cluster(async |cluster| {
        let ca = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "authority"}});
        cluster.server.create::<ConfigMap>(ca).await.unwrap();
        let map = json!({"metadata": {"name": "map"}, "data": {"one": "1", "two": "2"}});
        cluster.server.create::<ConfigMap>(map).await.unwrap();
        let secret = json!({"metadata": {"name": "secret"}, "stringData": {"key": "hidden"}});
        cluster.server.create::<Secret>(secret).await.unwrap();
        let account = "/var/run/secrets/kubernetes.io/serviceaccount";
        let files = [
            "cat=/map/one".to_owned(),
            "cat=/two".to_owned(),
            "cat=/secret/key".to_owned(),
            "cat=/about/labels".to_owned(),
            format!("cat={account}/namespace"),
            format!("cat={account}/ca.crt"),
            format!("cat={account}/token"),
            "write=/map/new".to_owned(),
        ];
        let commands: Vec<&str> = files.iter().map(String::as_str).collect();
        let mut spec = once(
            &commands,
            json!({"automountServiceAccountToken": true, "volumes": [
                {"name": "map", "configMap": {"name": "map"}},
                {"name": "secret", "secret": {"secretName": "secret", "defaultMode": 0o400}},
                {"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            ]}),
        );
        let mounts = spec["containers"][0]["volumeMounts"].as_array_mut().unwrap();
        mounts.extend([
            json!({"name": "map", "mountPath": "/map"}),
            json!({"name": "map", "mountPath": "/two", "subPath": "two"}),
            json!({"name": "secret", "mountPath": "/secret"}),
            json!({"name": "about", "mountPath": "/about"}),
        ]);
        cluster.run("reader", spec).await;
        cluster.until_phase("reader", "Succeeded").await;
        let log = cluster.log("reader").await;
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[..6], ["1", "2", "hidden", "app=\"reader\"", NAMESPACE, "authority"], "{log}");
        assert_eq!(lines[6].split('.').count(), 3, "a token: {log}");
        assert!(lines[7].contains("Read-only file system"), "{log}");
    });
}

#[test]
fn files_follow_their_objects() {
    with_cluster(async |cluster| {
        let map = json!({"metadata": {"name": "live"}, "data": {"file": "old"}});
        cluster.server.create::<ConfigMap>(map).await.unwrap();
        let volume = json!({"volumes": [{"name": "live", "configMap": {"name": "live"}}]});
        let mut spec = once(&["await=/live/file=new", "cat=/live/file"], volume);
        let mounts = spec["containers"][0]["volumeMounts"].as_array_mut().unwrap();
        mounts.push(json!({"name": "live", "mountPath": "/live"}));
        cluster.run("follower", spec).await;
        cluster.until_phase("follower", "Running").await;
        let maps: Api<ConfigMap> = Api::namespaced(cluster.server.client.clone(), NAMESPACE);
        let change = Patch::Merge(json!({"data": {"file": "new"}}));
        maps.patch("live", &PatchParams::default(), &change).await.unwrap();
        cluster.until_phase("follower", "Succeeded").await;
        assert_eq!(cluster.log("follower").await, "new\n");
    });
}

#[test]
fn a_claimed_volume_outlives_its_pods_and_belongs_to_their_group() {
    with_cluster(async |cluster| {
        let data = cluster.directory.path().join("data");
        let volume = json!({"metadata": {"name": "disk"}, "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": data, "type": "DirectoryOrCreate"},
        }});
        let volume: PersistentVolume = serde_json::from_value(volume).unwrap();
        Api::all(cluster.server.client.clone()).create(&PostParams::default(), &volume).await.unwrap();
        let claim = json!({"metadata": {"name": "claim"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "disk",
        }});
        cluster.server.create::<PersistentVolumeClaim>(claim).await.unwrap();
        let spec = |commands: &[&str]| {
            let mut main = container("main", commands);
            main["volumeMounts"].as_array_mut().unwrap().push(json!({"name": "data", "mountPath": "/data"}));
            json!({
                "restartPolicy": "Never",
                "securityContext": {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
                "containers": [main],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "claim"}}],
            })
        };
        cluster.run("writer", spec(&["write=/data/file"])).await;
        let waiting = cluster.event("writer", "FailedMount").await;
        assert!(waiting.ends_with("persistentvolumeclaim \"claim\" is not bound"), "{waiting}");
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(cluster.server.client.clone(), NAMESPACE);
        let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
        claims.patch_status("claim", &PatchParams::default(), &bound).await.unwrap();
        cluster.until_phase("writer", "Succeeded").await;
        assert_eq!(cluster.log("writer").await, "wrote /data/file\n");
        cluster.run("reader", spec(&["cat=/data/file"])).await;
        cluster.until_phase("reader", "Succeeded").await;
        assert_eq!(cluster.log("reader").await, "written\n");
    });
}
