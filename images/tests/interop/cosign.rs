//! What we sign, cosign verifies; what was changed or signed by somebody else, it does not.

use std::path::Path;
use std::process::{Command, Output};

use images::registry::{Options, serve};
use images::sign::{Signer, sign};

use crate::content::{client, layout};
use crate::registries::{destination, images_in, push_to};

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("these tests need openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A key and its public half.
fn key(dir: &Path, name: &str) -> [String; 2] {
    let [private, public] = ["key", "pub"].map(|end| dir.join(format!("{name}.{end}")).display().to_string());
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &private]);
    openssl(&["pkey", "-in", &private, "-pubout", "-out", &public]);
    [private, public]
}

async fn verify(public: &str, reference: &str) -> Output {
    let arguments =
        ["verify", "--key", public, "--insecure-ignore-tlog=true", "--allow-http-registry", reference];
    let arguments = arguments.map(str::to_string);
    let verify = move || {
        Command::new("cosign").args(arguments).output().expect(
            "these tests need cosign\n  hint: go install github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5",
        )
    };
    tokio::task::spawn_blocking(verify).await.unwrap()
}

#[tokio::test]
async fn cosign_verifies_what_was_signed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let registry = serve(Options::on_loopback(dir.path().join("registry"))).await.unwrap();
    let layout = layout(dir.path());
    let images = images_in(&layout);
    let pushed = push_to(&registry.host(), &layout, &images).await;
    let [private, public] = key(dir.path(), "ours");
    let [_, foreign] = key(dir.path(), "theirs");
    let signer = Signer::read(Path::new(&private)).unwrap();
    let reference = &pushed.references["one"];

    let unsigned = verify(&public, reference).await;
    assert!(!unsigned.status.success());
    assert_eq!(sign(&pushed, &destination(&registry.host()), &client(), &signer).await.unwrap(), 2);
    let output = verify(&public, reference).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&images[0].index.digest.to_string()), "{said}");
    assert!(!verify(&foreign, reference).await.status.success(), "another key must not do");
}
