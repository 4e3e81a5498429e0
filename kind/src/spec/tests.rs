use super::*;

const FULL: &str = r#"kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
name: slipway
networking:
  apiServerAddress: 127.0.0.1
  disableDefaultCNI: false
containerdConfigPatches:
  - |-
    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = "/etc/containerd/certs.d"
nodes:
  - role: control-plane
    image: kindest/node:v1.33.1@sha256:050072256b9a903bd914c0b2866828150cb229cea0efe5892e2b644d5dd3b34f
    extraPortMappings:
      - {containerPort: 30080, hostPort: 0, protocol: TCP}
    extraMounts:
      - {hostPath: ./data, containerPath: /data, readOnly: true}
  - role: worker
"#;

fn parsed(text: &str) -> ClusterSpec {
    ClusterSpec::parse(Path::new("kind/cluster.yaml"), text).unwrap()
}

#[test]
fn node_images_are_pulled_from_where_their_copies_are() {
    let text = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n  - {role: control-plane, image: a.example/node:v1}\n  - role: worker\n    image: \"a.example/node:v1.2\"\n";
    let copies = [("a.example/node:v1".to_owned(), "b.example/node@sha256:1".to_owned())];
    let spec = parsed(text).with_images(&copies.into());
    let images: Vec<_> = spec.nodes.iter().filter_map(|node| node.image.as_deref()).collect();
    assert_eq!(images, ["b.example/node@sha256:1", "a.example/node:v1.2"]);
    assert_eq!(spec.text, text.replacen("a.example/node:v1}", "b.example/node@sha256:1}", 1));
    assert_eq!(parsed(text).with_images(&Default::default()), parsed(text));
}

fn mistake(text: &str) -> String {
    ClusterSpec::parse(Path::new("kind/cluster.yaml"), text).unwrap_err().to_string()
}

#[test]
fn kinds_own_format_is_read() {
    let spec = parsed(FULL);
    assert_eq!(spec.name, "slipway");
    assert_eq!(
        spec.nodes.iter().map(|node| node.role).collect::<Vec<_>>(),
        [Role::ControlPlane, Role::Worker]
    );
    let mapping = spec.port_mappings().next().unwrap();
    assert_eq!(
        (mapping.container_port, mapping.host_port, mapping.listen_address.as_str()),
        (30080, 0, "127.0.0.1")
    );
}

#[test]
fn the_least_declaration_is_one_control_plane_called_kind() {
    let spec = parsed("kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n");
    assert_eq!((spec.name.as_str(), spec.nodes.len(), spec.nodes[0].role), ("kind", 1, Role::ControlPlane));
    assert_eq!(spec.ignored_by_embedded(), Vec::<String>::new());
}

#[test]
fn what_the_embedded_engine_ignores_is_named() {
    insta::assert_snapshot!(parsed(FULL).ignored_by_embedded().join("\n"), @r#"
    nodes[0].image: the embedded engine has no node image
    nodes[0].extraMounts: its node sees the host's files as they are
    nodes[1]: the embedded engine has one node
    containerdConfigPatches: the embedded engine has no containerd
    "#);
}

#[test]
fn mistakes_show_line_and_caret() {
    let head = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n";
    insta::assert_snapshot!(mistake(&format!("{head}nodes:\n  - role: control-plane\n    extraPortMapings: []\n")), @r#"
    kind/cluster.yaml:5:5: unknown field `extraPortMapings`, expected one of role, image, extraPortMappings, extraMounts, labels, kubeadmConfigPatches
      |
    5 |     extraPortMapings: []
      |     ^^^^^^^^^^^^^^^^
      = hint: did you mean `extraPortMappings`?
    "#);
    insta::assert_snapshot!(mistake(&format!("{head}nodes:\n  - role: controlplane\n")), @r#"
    kind/cluster.yaml:4:11: unknown variant `controlplane`, expected one of control-plane, worker
      |
    4 |   - role: controlplane
      |           ^^^^^^^^^^^^
      = hint: did you mean `control-plane`?
    "#);
    insta::assert_snapshot!(mistake(&format!("{head}nodes:\n  - extraPortMappings: [{{containerPort: 70000}}]\n")), @r#"
    kind/cluster.yaml:4:41: this is not a port (0 to 65535)
      |
    4 |   - extraPortMappings: [{containerPort: 70000}]
      |                                         ^
    "#);
    insta::assert_snapshot!(mistake("kind: Cluster\napiVersion: v1\n"), @r#"
    kind/cluster.yaml:2:1: `apiVersion` is `v1`, which is not a kind configuration
      |
    2 | apiVersion: v1
      | ^^^^^^^^^^
      = hint: write `apiVersion: kind.x-k8s.io/v1alpha4`
    "#);
    insta::assert_snapshot!(mistake("kind: Cluster\n"), @r#"
    kind/cluster.yaml:1:1: missing field `apiVersion`
      |
    1 | kind: Cluster
      | ^
    "#);
}
