//! Being somebody else: a ServiceAccount with the rights of an operator who may clear blocks, decide and cancel.

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use serde_json::json;

use crate::cluster::{Cluster, NAMESPACE, unique};

/// An operator with a name and a client of their own.
pub struct Operator {
    /// As the API server knows them.
    pub username: String,
    /// Acts as them.
    pub client: Client,
}

/// Makes an operator who may clear blocks, decide about remediations and cancel notifications.
pub async fn operator(cluster: &Cluster) -> Result<Operator> {
    let name = unique("operator");
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        namespace: Some(NAMESPACE.to_owned()),
        ..ObjectMeta::default()
    };
    let create = PostParams::default();
    let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), NAMESPACE);
    let account = ServiceAccount { metadata: metadata.clone(), ..ServiceAccount::default() };
    accounts.create(&create, &account).await.context("failed to create the operator's ServiceAccount")?;

    let rule = |resource: &str, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec!["kubernaut.ai".to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    let rules = vec![
        rule("workflowexecutions", &["get"]),
        rule("workflowexecutions/status", &["get", "patch", "update"]),
        rule("remediationapprovalrequests", &["get"]),
        rule("remediationapprovalrequests/status", &["get", "patch", "update"]),
        rule("notificationrequests", &["get", "delete"]),
    ];
    let role = Role { metadata: metadata.clone(), rules: Some(rules) };
    let binding = RoleBinding {
        metadata,
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "Role".to_owned(),
            name: name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: name.clone(),
            namespace: Some(NAMESPACE.to_owned()),
            api_group: None,
        }]),
    };
    Api::namespaced(cluster.client.clone(), NAMESPACE)
        .create(&create, &role)
        .await
        .context("failed to create a Role")?;
    Api::namespaced(cluster.client.clone(), NAMESPACE)
        .create(&create, &binding)
        .await
        .context("failed to create a RoleBinding")?;

    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let token =
        accounts.create_token_request(&name, &create, &request).await.context("failed to request a token")?;
    let token = token.status.context("the API server answered a TokenRequest without a token")?.token;
    let mut config = cluster.config.clone();
    config.auth_info = serde_json::from_value(json!({ "token": token }))?;
    let username = format!("system:serviceaccount:{NAMESPACE}:{name}");
    Ok(Operator { username, client: Client::try_from(config)? })
}
