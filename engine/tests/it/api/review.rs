//! Tokens, and questions about who somebody is and what they may do.

use engine::api::server::client;
use engine::api::user::User;
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec, TokenReview};
use k8s_openapi::api::authorization::v1::{
    SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview,
};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::server::{NAMESPACE, Server, named, refusal, start};

async fn token(server: &Server, spec: Value) -> Result<String, kube::Error> {
    let accounts = Api::<ServiceAccount>::namespaced(server.client.clone(), NAMESPACE);
    let spec: TokenRequestSpec = serde_json::from_value(spec).unwrap();
    let request = TokenRequest { metadata: named("bot"), spec, ..TokenRequest::default() };
    let answer = accounts.create_token_request("bot", &PostParams::default(), &request).await?;
    assert!(answer.status.as_ref().unwrap().expiration_timestamp.0 > jiff::Timestamp::now());
    Ok(answer.status.unwrap().token)
}

async fn with_bot() -> Server {
    let server = start().await;
    server.create::<ServiceAccount>(json!({"metadata": {"name": "bot"}})).await.unwrap();
    server
}

const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

#[tokio::test]
async fn a_requested_token_lets_its_account_in_until_the_account_is_gone() {
    let server = with_bot().await;
    let token = token(&server, json!({"audiences": []})).await.unwrap();
    let (code, answer) = server.post_as(&token, WHOAMI, &json!({})).await;
    assert_eq!(code, 201);
    assert_eq!(answer["status"]["userInfo"]["username"], "system:serviceaccount:work:bot");
    assert_eq!(
        (&answer["kind"], &answer["apiVersion"]),
        (&json!("SelfSubjectReview"), &json!("authentication.k8s.io/v1"))
    );
    let accounts = Api::<ServiceAccount>::namespaced(server.client.clone(), NAMESPACE);
    accounts.delete("bot", &DeleteParams::default()).await.unwrap();
    let (code, answer) = server.post_as(&token, WHOAMI, &json!({})).await;
    assert_eq!((code.as_u16(), &answer["reason"]), (401, &json!("Unauthorized")));
}

#[tokio::test]
async fn a_token_for_another_audience_is_told_by_review_only() {
    let server = with_bot().await;
    let token = token(&server, json!({"audiences": ["vault"]})).await.unwrap();
    assert_eq!(server.post_as(&token, WHOAMI, &json!({})).await.0, 401);
    let review = async |audiences: &[&str]| {
        let review: TokenReview =
            serde_json::from_value(json!({"metadata": {}, "spec": {"token": token, "audiences": audiences}}))
                .unwrap();
        Api::all(server.client.clone()).create(&PostParams::default(), &review).await.unwrap().status.unwrap()
    };
    let told = review(&["vault", "other"]).await;
    assert_eq!((told.authenticated, told.audiences), (Some(true), Some(vec!["vault".to_owned()])));
    assert_eq!(told.user.unwrap().username.as_deref(), Some("system:serviceaccount:work:bot"));
    let told = review(&[]).await;
    assert_ne!(told.authenticated, Some(true));
    assert!(told.error.unwrap().contains("invalid bearer token"));
}

#[tokio::test]
async fn a_token_is_bound_to_a_pod_of_its_account() {
    let server = with_bot().await;
    let pod = |name: &str, account: &str| {
        json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "uid": name}, "spec": {"serviceAccountName": account}})
    };
    server.store("", "pods", pod("mine", "bot"));
    server.store("", "pods", pod("other", "default"));
    let bound = |name: &str, uid: &str| json!({"audiences": [], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}});
    let issued = token(&server, bound("mine", "mine")).await.unwrap();
    let (_, answer) = server.post_as(&issued, WHOAMI, &json!({})).await;
    let extra = &answer["status"]["userInfo"]["extra"];
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["mine"]));
    assert_eq!(refusal(token(&server, bound("mine", "another")).await).0, 409);
    assert_eq!(refusal(token(&server, bound("other", "other")).await).0, 400);
    assert_eq!(
        refusal(token(&server, bound("gone", "")).await),
        (404, r#"pods "gone" not found"#.to_owned())
    );
}

#[tokio::test]
async fn access_reviews_say_what_the_server_would_do() {
    let server = start().await;
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]}]);
    server.create::<Role>(json!({"metadata": {"name": "reader"}, "rules": rules})).await.unwrap();
    let binding = json!({"metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "readers"}]});
    server.create::<RoleBinding>(binding).await.unwrap();
    let wanted = |verb: &str, subresource: &str| json!({"verb": verb, "resource": "pods", "subresource": subresource, "namespace": NAMESPACE});
    let asked = async |verb: &str, subresource: &str| {
        let spec =
            json!({"user": "rob", "groups": ["readers"], "resourceAttributes": wanted(verb, subresource)});
        let review: SubjectAccessReview =
            serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let answer = Api::all(server.client.clone()).create(&PostParams::default(), &review).await.unwrap();
        answer.status.unwrap().allowed
    };
    assert!(asked("get", "log").await);
    assert!(!asked("delete", "").await);

    let rob = client(&server.api, User::authenticated("rob", vec!["readers".to_owned()]));
    let review = json!({"metadata": {}, "spec": {"resourceAttributes": wanted("get", "")}});
    let review: SelfSubjectAccessReview = serde_json::from_value(review).unwrap();
    let answer = Api::all(rob.clone()).create(&PostParams::default(), &review).await.unwrap();
    assert!(answer.status.unwrap().allowed);
    let review = json!({"metadata": {}, "spec": {"namespace": NAMESPACE}});
    let review: SelfSubjectRulesReview = serde_json::from_value(review).unwrap();
    let answer = Api::all(rob.clone()).create(&PostParams::default(), &review).await.unwrap().status.unwrap();
    let of_pods = answer
        .resource_rules
        .iter()
        .find(|rule| rule.resources.as_ref().is_some_and(|all| all.contains(&"pods".to_owned())));
    assert_eq!(of_pods.unwrap().verbs, ["get"]);
    let whoami = Api::all(rob).create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    assert_eq!(whoami.status.unwrap().user_info.unwrap().username.as_deref(), Some("rob"));
}
