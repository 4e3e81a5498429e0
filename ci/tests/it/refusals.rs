//! What the mirror's commands refuse: the exit code, the reason, and what helps.

use std::sync::Arc;

use images::client::{Client, Options, Source};
use images::document::{CONFIG, Descriptor, MANIFEST, Manifest, Raw};
use images::registry::{self, Running, serve};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::workspace::Workspace;

/// An image of a config and nothing else.
async fn publish(registry: &Running, name: &str, tag: &str, content: &str) {
    let repository = Client::new(Options::default()).repository(&registry.host(), name).unwrap();
    let config = json!({"os": "linux", "architecture": "amd64", "for": content});
    let config = Raw::of(CONFIG, &config).unwrap();
    let source = Source::Bytes(config.bytes.clone());
    repository.push_blob(&config.descriptor(), &source, None, &(Arc::new(|_| ()) as _)).await.unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        artifact_type: None,
        config: config.descriptor(),
        layers: Vec::<Descriptor>::new(),
        subject: None,
        annotations: Default::default(),
    };
    repository.put_manifest(&Raw::of(MANIFEST, &manifest).unwrap(), &[tag]).await.unwrap();
}

/// A workspace that mirrors `library/one` of a registry, with two tags there.
async fn world() -> (Workspace, Running) {
    let workspace = Workspace::new();
    let registry = serve(registry::Options::on_loopback(workspace.root().join("registry"))).await.unwrap();
    for tag in ["v1", "v2"] {
        publish(&registry, "library/one", tag, tag).await;
    }
    declare(&workspace, &registry.host(), &registry.host());
    (workspace, registry)
}

fn declare(workspace: &Workspace, source: &str, destination: &str) {
    let rule = format!(
        "[[image]]\nsource = \"{source}/library/one\"\ndestination = \"{destination}/own/one\"\ntags = [\"v1\"]\n"
    );
    workspace.write("images/mirror.toml", &rule);
}

/// Runs a command that is refused: nothing is given, and what is said has the reason and the last line that helps.
#[track_caller]
fn check<'a>(
    workspace: &'a Workspace,
    arguments: &'a [&'a str],
    code: i32,
    reason: &'a str,
    help: &'a str,
) -> impl Future<Output = ()> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let ran = workspace.run(&[&["mirror"], arguments].concat()).await;
        assert_eq!(ran.code, code, "{caller}: {arguments:?}: {ran:#?}");
        assert!(ran.said.contains(&format!("error: {reason}")), "{caller}: {arguments:?}: {ran:#?}");
        let last = ran.said.lines().last().unwrap_or_default();
        assert_eq!(last.trim(), format!("= hint: {help}"), "{caller}: {arguments:?}: {ran:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_lock_nothing_is_proven_carried_or_rolled_back() {
    let (workspace, registry) = world().await;
    let help = "make the lock: cargo xtask mirror sync";
    let image = format!("{}/own/one:v1", registry.host());
    for (arguments, doing) in [
        (&["verify"][..], "verify the mirror"),
        (&["bundle", "there"], "bundle the mirror"),
        (&["rollback", &image], "roll back"),
    ] {
        check(&workspace, arguments, 10, &format!("{doing}: images/mirror.lock has no images"), help).await;
    }
    assert!(!workspace.root().join("there").exists());
    std::fs::remove_file(workspace.root().join("images/mirror.toml")).unwrap();
    let help =
        "declare what is mirrored in images/mirror.toml: `[[image]]` with `source`, `destination` and `tags`";
    check(&workspace, &["plan"], 3, "read the mirror declaration in", help).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_carried_out_as_it_was_saved_or_not_at_all() {
    let (workspace, registry) = world().await;
    let help = "make one: cargo xtask mirror plan --out p.json";
    check(&workspace, &["sync", "--plan", "p.json"], 2, "read the plan p.json", help).await;
    workspace.write("p.json", "{}");
    check(&workspace, &["sync", "--plan", "p.json"], 2, "read the plan p.json", help).await;

    for (flags, help) in [
        (&["plan", "--out", "p.json"][..], "make a new one: cargo xtask mirror plan --out p.json"),
        (
            &["plan", "--update", "--out", "p.json"],
            "make a new one: cargo xtask mirror plan --update --out p.json",
        ),
    ] {
        workspace.ends(&[&["mirror"], flags].concat(), 10).await;
        publish(&registry, "library/one", "v1", help).await;
        let reason = format!(
            "carry out the plan p.json: {}/own/one:v1: it moved since the plan was saved",
            registry.host()
        );
        check(&workspace, &["sync", "--plan", "p.json"], 10, &reason, help).await;
        assert!(!workspace.root().join("images/mirror.lock").exists());
    }
    // A registry that does not answer is no plan that moved.
    registry.stop().await;
    let ran = workspace.run(&["mirror", "sync", "--plan", "p.json"]).await;
    assert_eq!(ran.code, 14, "{ran:#?}");
    assert!(ran.said.contains("error: look at `"), "{ran:#?}");
    let ran = workspace.run(&["mirror", "sync", "--update", "--plan", "p.json"]).await;
    assert_eq!(ran.code, 2, "{ran:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_moved_goes_back() {
    let (workspace, registry) = world().await;
    workspace.ends(&["mirror", "sync"], 0).await;
    let image = format!("{}/own/one", registry.host());
    let known = format!("it names: {image}:v1");
    let backup = "only a tag that was moved has one; moving it is done by: cargo xtask mirror sync --update";
    for (wanted, code, reason, help) in [
        (image.clone(), 2, "roll back: no tag is named".to_owned(), format!("write `{image}:<tag>`")),
        (
            format!("{image}:v1"),
            10,
            format!("roll back `{image}:v1`: there is no previous digest under `v1.previous`"),
            backup.to_owned(),
        ),
        (
            format!("{image}:v9"),
            10,
            format!("roll back `{image}:v9`: the lock does not name it"),
            known.clone(),
        ),
        (format!("{image}s:v1"), 10, format!("roll back `{image}s:v1`: the lock does not name it"), known),
    ] {
        check(&workspace, &["rollback", &wanted], code, &reason, &help).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_about_what_no_rule_names_is_told_what_there_is() {
    let (workspace, registry) = world().await;
    let host = registry.host();
    let known = format!("the sources are: {host}/library/one");
    let reason = format!("no rule of images/mirror.toml names `{host}/library/two`");
    check(&workspace, &["why", &format!("{host}/library/two:v1")], 2, &reason, &known).await;
    check(&workspace, &["why", "One"], 2, "", "write `<registry>/<repository>[:<tag>]`").await;
}

/// A registry that has one answer to everything; it lives as long as the test.
async fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    host
}

const WHO: &str = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// An index, and one more read.
const NEARLY_USED_UP: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\nContent-Length: 500\r\nDocker-Content-Digest: sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nratelimit-limit: 100;w=21600\r\nratelimit-remaining: 1;w=21600\r\ndocker-ratelimit-source: 192.0.2.1\r\nConnection: close\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_quota_does_not_last_for_is_not_begun() {
    let (workspace, registry) = world().await;
    let source = answering(NEARLY_USED_UP).await;
    declare(&workspace, &source, &registry.host());
    let forecast = format!(
        "{source}: at least 2 metered reads; 1 of 100 are left, which is not enough, in windows of 6 h, counted for 192.0.2.1"
    );
    let told = workspace.ends(&["mirror", "plan"], 10).await;
    assert!(told.contains(&forecast), "{told}");
    let help =
        "wait until the registry's window is over, log in with an account that has more, or narrow the rules";
    check(&workspace, &["sync"], 12, &format!("mirror from {forecast}"), help).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_to_log_in() {
    let (workspace, registry) = world().await;
    let closed = answering(WHO).await;
    let help = format!("log in with `docker login {closed}`");
    for (source, destination, refused) in
        [(&closed, &registry.host(), "library/one"), (&registry.host(), &closed, "own/one")]
    {
        declare(&workspace, source, destination);
        let reason = format!("look at `{closed}/{refused}:v1`");
        check(&workspace, &["plan"], 11, &reason, &help).await;
        check(&workspace, &["sync"], 11, &reason, &help).await;
    }
    // Nobody is asked what a plan is for that cannot be looked at.
    workspace.write("p.json", r#"{"update": false, "steps": []}"#);
    check(&workspace, &["sync", "--plan", "p.json"], 11, "look at `", &help).await;
}
