//! Status, scale, binding and eviction.

use serde_json::json;

use super::*;

#[tokio::test]
async fn status_and_spec_are_written_apart() {
    let server = start().await;
    let path = at("apps/v1", "deployments/web");
    let created = post(
        &server,
        &at("apps/v1", "deployments"),
        &changed(&deployment("web"), json!({"status": {"replicas": 9}})),
    )
    .await
    .ok();
    assert_eq!(created["status"], json!({}));
    let both = json!({"spec": {"replicas": 5}, "status": {"replicas": 1, "observedGeneration": 1}});
    let reported = patch(&server, MERGE, &format!("{path}/status"), &both).await.ok();
    assert_eq!((&reported["spec"]["replicas"], &reported["status"]["replicas"]), (&json!(1), &json!(1)));
    assert_eq!(reported["metadata"]["generation"], 1);
    let wanted = patch(&server, MERGE, &path, &changed(&both, json!({"status": {"replicas": 2}}))).await.ok();
    assert_eq!((&wanted["spec"]["replicas"], &wanted["status"]["replicas"]), (&json!(5), &json!(1)));
    let managers = wanted["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|entry| entry["subresource"] == "status"));
}

#[tokio::test]
async fn a_scale_is_another_view_of_the_same_object() {
    let server = start().await;
    let path = at("apps/v1", "deployments/web/scale");
    post(&server, &at("apps/v1", "deployments"), &deployment("web")).await.ok();
    let scale = get(&server, &path).await.ok();
    assert_eq!((&scale["kind"], &scale["status"]["selector"]), (&json!("Scale"), &json!("app=web")));
    let scaled = put(&server, &path, &changed(&scale, json!({"spec": {"replicas": 3}}))).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 3);
    assert_eq!(put(&server, &path, &scale).await.refused().0, 409);
    patch(&server, MERGE, &path, &json!({"spec": {"replicas": 4}})).await.ok();
    let object = get(&server, &at("apps/v1", "deployments/web")).await.ok();
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(4), &json!(3)));
    let reply = patch(&server, MERGE, &path, &json!({"spec": {"replicas": -1}})).await;
    assert_eq!(
        reply.refused(),
        (
            422,
            r#"Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#
        )
    );
}

#[tokio::test]
async fn a_pod_is_bound_to_one_node() {
    let server = start().await;
    post(&server, &core("pods"), &pod("a")).await.ok();
    let binding = |node: &str| json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": node}});
    let reply = post(&server, &core("pods/a/binding"), &binding("n")).await;
    assert_eq!((reply.code, &reply.body["status"]), (201, &json!("Success")));
    let object = get(&server, &core("pods/a")).await.ok();
    assert_eq!(object["spec"]["nodeName"], "n");
    assert_eq!(
        (&object["status"]["conditions"][0]["type"], &object["status"]["conditions"][0]["status"]),
        (&json!("PodScheduled"), &json!("True"))
    );
    let reply = post(&server, &core("pods/a/binding"), &binding("m")).await;
    assert_eq!(
        reply.refused(),
        (409, r#"Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n""#)
    );
    assert_eq!(post(&server, &core("pods/a/binding"), &binding("")).await.refused().0, 422);
}

#[tokio::test]
async fn an_eviction_spends_the_budget_over_the_pod() {
    let server = start().await;
    for name in ["a", "b"] {
        let object = changed(&pod(name), json!({"metadata": {"labels": {"app": "x"}}}));
        post(&server, &core("pods"), &object).await.ok();
        patch(
            &server,
            MERGE,
            &core(&format!("pods/{name}/status")),
            &json!({"status": {"phase": "Running"}}),
        )
        .await
        .ok();
    }
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "x"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    let budgets = at("policy/v1", "poddisruptionbudgets");
    post(&server, &budgets, &budget).await.ok();
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}});
    patch(&server, MERGE, &format!("{budgets}/x/status"), &status).await.ok();
    let eviction =
        |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    assert_eq!(post(&server, &core("pods/a/eviction"), &eviction("a")).await.code, 201);
    assert_eq!(get(&server, &core("pods/a")).await.refused().0, 404);
    let reply = post(&server, &core("pods/b/eviction"), &eviction("b")).await;
    assert_eq!(reply.refused(), (429, "Cannot evict pod as it would violate the pod's disruption budget."));
    assert_eq!(reply.body["details"]["causes"][0]["reason"], "DisruptionBudget");
    get(&server, &core("pods/b")).await.ok();
}
