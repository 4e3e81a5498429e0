//! ServiceAccount: every pod runs as an account of its namespace and finds that account's token where clients look for it.

use serde_json::{Value, json};

/// Account of pods that name none.
pub const DEFAULT: &str = "default";

/// Where clients in pods look for token, authority and namespace.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Start of the name of the volume; a suffix makes it unlike any other name.
const VOLUME: &str = "kube-api-access-";
/// Pods that mirror a static pod of the node are left alone.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The name of the account a pod has to run as; `None` when pods like it are left alone.
pub fn account_of(pod: &Value) -> Option<&str> {
    if pod["metadata"]["annotations"][MIRROR].is_string() {
        return None;
    }
    let name = pod["spec"]["serviceAccountName"].as_str().filter(|name| !name.is_empty());
    Some(name.unwrap_or(DEFAULT))
}

/// Makes `pod` run as `account`. The volume's name ends in `suffix`.
pub fn inject(pod: &mut Value, account: &Value, suffix: &str) {
    let name = account["metadata"]["name"].clone();
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    spec.insert("serviceAccountName".into(), name.clone());
    spec.insert("serviceAccount".into(), name);
    let secrets = spec.get("imagePullSecrets").and_then(Value::as_array);
    if secrets.is_none_or(Vec::is_empty)
        && let Some(own) = account["imagePullSecrets"].as_array().filter(|own| !own.is_empty())
    {
        spec.insert("imagePullSecrets".into(), Value::from(own.clone()));
    }
    let wanted = spec.get("automountServiceAccountToken").and_then(Value::as_bool);
    let wanted = wanted.or(account["automountServiceAccountToken"].as_bool());
    if wanted == Some(false) {
        return;
    }
    let present = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let present = present.filter_map(|volume| volume["name"].as_str());
    let present = present.into_iter().find(|name| name.starts_with(VOLUME)).map(String::from);
    let volume = present.clone().unwrap_or_else(|| format!("{VOLUME}{suffix}"));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            used |= mount(container, &volume);
        }
    }
    if used && present.is_none() {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Some(volumes) = volumes.as_array_mut() {
            volumes.push(json!({"name": volume, "projected": sources()}));
        }
    }
}

/// Mounts the volume, unless something is mounted at that path already.
fn mount(container: &mut Value, volume: &str) -> bool {
    let Some(container) = container.as_object_mut() else { return false };
    let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
    if mounts.is_null() {
        *mounts = json!([]);
    }
    let Some(mounts) = mounts.as_array_mut() else { return false };
    if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
        return false;
    }
    mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
    true
}

/// Token, authority and namespace. The odd lifetime is upstream's mark of tokens nobody asked for by hand.
fn sources() -> Value {
    json!({"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
        ]}},
    ]})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injected(mut pod: Value, account: Value) -> Value {
        let mut account = account;
        account["metadata"] = json!({"name": "bot"});
        inject(&mut pod, &account, "abcde");
        pod
    }

    /// Volumes, and the mounts of every container, by name.
    #[track_caller]
    fn check(pod: &Value, volumes: &[&str], mounts: &[&[&str]]) {
        let names = |list: &Value| -> Vec<String> {
            let list = list.as_array().into_iter().flatten();
            list.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&pod["spec"]["volumes"]), volumes);
        let containers = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
        let containers = containers.into_iter().flatten().flatten();
        let found: Vec<_> = containers.map(|container| names(&container["volumeMounts"])).collect();
        assert_eq!(found, mounts);
    }

    #[test]
    fn every_container_finds_the_token() {
        let pod = json!({"spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}});
        let pod = injected(pod, json!({"imagePullSecrets": [{"name": "registry"}]}));
        let volume = "kube-api-access-abcde";
        check(&pod, &[volume], &[&[volume], &[volume]]);
        assert_eq!(pod["spec"]["serviceAccountName"], "bot");
        assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
        let sources = &pod["spec"]["volumes"][0]["projected"]["sources"];
        assert_eq!(sources[0]["serviceAccountToken"]["expirationSeconds"], 3607);
        // A second pass, after a webhook changed the pod, adds nothing.
        let again = injected(pod.clone(), json!({}));
        assert_eq!(again, pod);
    }

    #[test]
    fn a_mount_at_the_place_is_kept() {
        let own = json!({"name": "own", "mountPath": MOUNT_PATH});
        let pod = json!({"spec": {"containers": [{"name": "a", "volumeMounts": [own]}]}});
        check(&injected(pod, json!({})), &[], &[&["own"]]);
    }

    #[test]
    fn the_pod_decides_about_the_token_before_the_account() {
        let pod = |wanted: Value| json!({"spec": {"containers": [{"name": "a"}], "automountServiceAccountToken": wanted}});
        let never = json!({"automountServiceAccountToken": false});
        check(&injected(pod(Value::Null), never.clone()), &[], &[&[]]);
        check(&injected(pod(json!(false)), json!({})), &[], &[&[]]);
        let volume = "kube-api-access-abcde";
        check(&injected(pod(json!(true)), never), &[volume], &[&[volume]]);
    }

    #[test]
    fn pods_run_as_default_unless_they_name_an_account() {
        assert_eq!(account_of(&json!({"spec": {}})), Some("default"));
        assert_eq!(account_of(&json!({"spec": {"serviceAccountName": "bot"}})), Some("bot"));
        assert_eq!(account_of(&json!({"metadata": {"annotations": {MIRROR: "x"}}})), None);
    }
}
