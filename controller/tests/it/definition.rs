//! The custom resource, as the API server sees it: what it refuses, what `kubectl get` shows, what the rights are for.

use api::workflow_execution::WorkflowExecution;
use http::Request;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NAMESPACE, execution};

#[tokio::test(flavor = "multi_thread")]
async fn the_specification_cannot_be_changed_but_labels_can() {
    let cluster = Cluster::start().await;
    cluster.execute("fixed", json!({"parameters": {"REPLICAS": "3"}})).await;
    let api = cluster.executions();
    for change in [
        json!({"spec": {"targetResource": "prod/deployment/other"}}),
        json!({"spec": {"parameters": {"REPLICAS": "4"}}}),
        json!({"spec": {"executionEngine": "job"}}),
    ] {
        let refusal = api.patch("fixed", &PatchParams::default(), &Patch::Merge(&change)).await;
        let message = refusal.expect_err("the specification was changed").to_string();
        assert!(message.contains("spec is immutable after creation (ADR-001)"), "{change}: {message}");
    }
    let relabel = json!({"metadata": {"labels": {"mine": "now"}}});
    api.patch("fixed", &PatchParams::default(), &Patch::Merge(&relabel)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_definition_does_not_allow_is_refused() {
    let cluster = Cluster::start().await;
    for (spec, said) in [
        (json!({"executionEngine": "ansible"}), "executionEngine"),
        (json!({"targetResource": Value::Null}), "targetResource"),
        (json!({"workflowRef": {"workflowId": "w", "version": "1"}}), "containerImage"),
    ] {
        let mut object = serde_json::to_value(execution("refused", json!({}))).unwrap();
        for (field, value) in spec.as_object().unwrap() {
            object["spec"][field] = value.clone();
            if value.is_null() {
                object["spec"].as_object_mut().unwrap().remove(field);
            }
        }
        let refusal = post(&cluster, &object).await.expect_err("it was accepted").to_string();
        assert!(refusal.contains(said), "{spec}: {refusal}");
    }
    // A reason outside the enumeration never gets into a status: 2.8.3.
    cluster.execute("status", json!({})).await;
    let status = json!({"status": {"failureDetails": {
        "failedTaskIndex": 0, "failedTaskName": "", "reason": "RaceConditionError", "message": "",
        "failedAt": "2026-01-10T12:00:00Z", "executionTimeBeforeFailure": "", "naturalLanguageSummary": "",
    }}});
    let refusal =
        cluster.executions().patch_status("status", &PatchParams::default(), &Patch::Merge(status)).await;
    assert!(refusal.expect_err("it was accepted").to_string().contains("RaceConditionError"));
}

async fn post(cluster: &Cluster, object: &Value) -> Result<Value, kube::Error> {
    let uri = format!("/apis/kubernaut.ai/v1alpha1/namespaces/{NAMESPACE}/workflowexecutions");
    let request = Request::post(uri).header("content-type", "application/json");
    cluster.client.request(request.body(serde_json::to_vec(object).unwrap()).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_phase_workflow_target_duration_and_age() {
    let cluster = Cluster::start().await;
    cluster.execute("shown", json!({})).await;
    let status = json!({"status": {"phase": "Completed", "duration": "2m30s"}});
    cluster.executions().patch_status("shown", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let uri = format!("/apis/kubernaut.ai/v1alpha1/namespaces/{NAMESPACE}/workflowexecutions");
    let request = Request::get(uri).header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let table: Value = cluster.client.request(request.body(Vec::new()).unwrap()).await.unwrap();
    let columns = table["columnDefinitions"].as_array().unwrap().iter();
    let columns: Vec<_> = columns.map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(columns, ["Name", "Phase", "WorkflowID", "Target", "Duration", "Age"]);
    let cells = &table["rows"][0]["cells"];
    assert_eq!(
        cells.as_array().unwrap()[..5],
        ["shown", "Completed", "restart", "prod/deployment/shown", "2m30s"],
        "{cells}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_are_found_by_their_short_name() {
    let cluster = Cluster::start().await;
    let list = cluster.client.list_api_group_resources("kubernaut.ai/v1alpha1").await.unwrap();
    let resource = list.resources.iter().find(|resource| resource.name == "workflowexecutions").unwrap();
    assert_eq!(resource.short_names, Some(vec!["wfe".to_owned()]));
    assert_eq!((resource.singular_name.as_str(), resource.namespaced), ("workflowexecution", true));
}

/// The controller may do what it does, and no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn the_controller_may_neither_run_nor_change_anything_else() {
    let cluster = Cluster::start().await;
    let theirs = kube::Api::<WorkflowExecution>::namespaced(cluster.as_controller(), NAMESPACE);
    let refusal = theirs.create(&PostParams::default(), &execution("own", json!({}))).await;
    assert!(refusal.expect_err("it was accepted").to_string().contains("forbidden"));
    let secrets = kube::Api::<k8s_openapi::api::core::v1::Secret>::all(cluster.as_controller());
    assert!(secrets.list(&Default::default()).await.is_err());
    let jobs = kube::Api::<k8s_openapi::api::batch::v1::Job>::namespaced(cluster.as_controller(), NAMESPACE);
    assert!(jobs.list(&Default::default()).await.is_err(), "children live in one namespace only");
}
