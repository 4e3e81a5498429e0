//! A registry with three small images, over HTTP on the loopback.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use engine::node::image::Digest;
use serde_json::{Value, json};

/// The host name by which images are known.
pub const HOST: &str = "registry.test";

/// Manifests by `repository:tag` and everything by digest.
type Content = BTreeMap<String, Vec<u8>>;

/// Serves the images; returns the base URL.
pub async fn serve() -> String {
    let mut content = Content::new();
    let program = image(&mut content, "amd64", &[("etc/where", b"image", 0o644)]);
    content.insert("app:1".to_owned(), program);
    // The first bytes of an executable of some other machine.
    let foreign = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0";
    let foreign = image(&mut content, "amd64", &[("bin/foreign", foreign, 0o755)]);
    content.insert("foreign:1".to_owned(), foreign);
    let elsewhere = json!({"schemaVersion": 2, "manifests": [
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(b"").to_string(), "size": 0,
         "platform": {"os": "linux", "architecture": "riscv64"}},
    ]});
    content.insert("elsewhere:1".to_owned(), elsewhere.to_string().into_bytes());
    let router = Router::new()
        .route("/v2/{repository}/manifests/{version}", get(manifest))
        .route("/v2/{repository}/blobs/{digest}", get(blob))
        .with_state(Arc::new(content));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn manifest(
    State(content): State<Arc<Content>>,
    Path((repository, version)): Path<(String, String)>,
) -> Result<Vec<u8>, StatusCode> {
    let named = content.get(&format!("{repository}:{version}"));
    named.or_else(|| content.get(&version)).cloned().ok_or(StatusCode::NOT_FOUND)
}

async fn blob(
    State(content): State<Arc<Content>>,
    Path((_repository, digest)): Path<(String, String)>,
) -> Result<Vec<u8>, StatusCode> {
    content.get(&digest).cloned().ok_or(StatusCode::NOT_FOUND)
}

/// Adds the blobs of an image of one layer; returns its manifest.
fn image(content: &mut Content, architecture: &str, files: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(*mode);
        archive.append_data(&mut header, path, *bytes).unwrap();
    }
    let archive = archive.into_inner().unwrap();
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    compressed.write_all(&archive).unwrap();
    let layer = compressed.finish().unwrap();
    let configuration = json!({
        "architecture": architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&archive).to_string()]},
    });
    let config = configuration.to_string().into_bytes();
    let mut add = |media_type: &str, bytes: Vec<u8>| -> Value {
        let digest = Digest::of(&bytes).to_string();
        let size = bytes.len();
        content.insert(digest.clone(), bytes);
        json!({"mediaType": media_type, "digest": digest, "size": size})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": add("application/vnd.oci.image.config.v1+json", config),
        "layers": [add("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
    });
    manifest.to_string().into_bytes()
}
