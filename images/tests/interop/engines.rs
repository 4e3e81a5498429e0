//! What we push, other people's engines pull under the digest we gave it; what they push, our client reads back.
//!
//! Each engine has a directory and a socket of its own and ends with its test; nothing of the machine's own engines is touched.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use images::document::{Index, MANIFEST, Manifest};
use images::plan::{BuildRequest, Platforms, plan};
use images::registry::{self, Running, serve};
use images::{BuiltImage, Layout, build, recipe, toolchain};

use crate::content::client;
use crate::registries::push_to;
use crate::workspace::workspace;

/// A program that serves others; ends with the value.
struct Daemon {
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Politely, so that it takes its mounts away.
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        self.child.wait().unwrap();
    }
}

impl Daemon {
    /// Starts it and waits until `ready` answers.
    fn start(mut command: Command, log: &Path, hint: &str, ready: impl Fn() -> bool) -> Daemon {
        let log_file = std::fs::File::create(log).unwrap();
        let child = command
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}\n  hint: {hint}"));
        let mut daemon = Daemon { child };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !ready() {
            let ended = daemon.child.try_wait().unwrap();
            let said = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(ended.is_none() && Instant::now() < deadline, "{command:?} does not serve:\n{}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
        daemon
    }
}

/// Runs a command to its end; gives what it prints.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("these tests need {program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// A registry of ours with a real image in it: `team/greeter:v1`.
struct Pushed {
    registry: Running,
    layout: Layout,
    image: BuiltImage,
}

impl Pushed {
    async fn to_ours(dir: &Path) -> Pushed {
        let root = workspace(dir);
        let cache = root.join("target/slipway");
        let request = BuildRequest {
            images: vec!["greeter".to_string()],
            platforms: Platforms::Host,
            profile: None,
            compression: None,
            source_date_epoch: 1_700_000_000,
            container: None,
            toolchains: toolchain::Facts::gather(&root, &cache.join("toolchains")),
            origin: None,
            cache,
            root,
        };
        let plan = plan(&recipe::load(&request.root).unwrap(), &request).unwrap();
        let layout = Layout::open(&plan.layout).unwrap();
        let images = tokio::task::spawn_blocking(move || build(&plan, &|_| ())).await.unwrap().unwrap();
        let registry = serve(registry::Options::on_loopback(dir.join("registry"))).await.unwrap();
        push_to(&registry.host(), &layout, &images).await;
        Pushed { registry, layout, image: images.into_iter().next().unwrap() }
    }

    fn reference(&self) -> String {
        format!("{}/team/greeter:v1", self.registry.host())
    }

    /// The config of its only manifest: what an engine calls the image's id.
    fn config(&self) -> String {
        let manifest: Manifest = self.layout.document(&self.image.manifests[0].manifest).unwrap();
        manifest.config.digest.to_string()
    }

    /// The config of what an engine pushed to `repository`, whether it made an index of it or not.
    async fn config_in(&self, repository: &str) -> String {
        let repository = client().repository(&self.registry.host(), repository).unwrap();
        let mut raw = repository.manifest("v1").await.unwrap().expect("it was pushed");
        if let Ok(index) = serde_json::from_slice::<Index>(&raw.bytes)
            && let Some(first) = index.manifests.first()
        {
            raw = repository.manifest(&first.digest.to_string()).await.unwrap().unwrap();
        }
        let manifest: Manifest = serde_json::from_slice(&raw.bytes).unwrap();
        assert!(manifest.media_type.is_none_or(|kind| kind == MANIFEST || kind.contains("docker")));
        manifest.config.digest.to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_pulls_by_digest_unpacks_and_pushes_the_same_back() {
    let dir = tempfile::tempdir().unwrap();
    let pushed = Pushed::to_ours(dir.path()).await;
    let at = |name: &str| dir.path().join("containerd").join(name).display().to_string();
    std::fs::create_dir_all(at("")).unwrap();
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = {:?}\n[plugins.\"io.containerd.internal.v1.opt\"]\npath = {:?}\n",
        at("root"),
        at("state"),
        at("socket"),
        at("opt")
    );
    std::fs::write(at("config.toml"), config).unwrap();
    let mut command = Command::new("containerd");
    command.args(["--config", &at("config.toml")]);
    let socket = at("socket");
    let answers = || Path::new(&socket).exists();
    let _daemon = Daemon::start(command, Path::new(&at("log")), "apt-get install containerd", answers);
    let ctr = |arguments: &[&str]| run("ctr", &[&["--address", &socket], arguments].concat());

    let (from, back) = (pushed.reference(), pushed.reference().replace("team/", "back/"));
    ctr(&["images", "pull", "--plain-http", "--snapshotter", "native", &from]);
    let listed = ctr(&["images", "list", &format!("name=={from}")]);
    assert!(listed.contains(&pushed.image.index.digest.to_string()), "{listed}");
    let checked = ctr(&["images", "check", "--snapshotter", "native", &format!("name=={from}")]);
    assert!(checked.contains("complete") && checked.contains("true"), "{checked}");
    ctr(&["images", "push", "--plain-http", &back, &from]);
    let copied = client().repository(&pushed.registry.host(), "back/greeter").unwrap();
    assert_eq!(copied.head_manifest("v1").await.unwrap().unwrap().digest, pushed.image.index.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_pulls_the_image_by_its_digest_and_pushes_it() {
    let dir = tempfile::tempdir().unwrap();
    let pushed = Pushed::to_ours(dir.path()).await;
    let at = |name: &str| dir.path().join(name).display().to_string();
    let socket = format!("unix://{}", at("docker.sock"));
    let mut command = Command::new("dockerd");
    command.args(["--host", &socket, "--data-root", &at("data"), "--exec-root", &at("exec")]);
    command.args([
        "--pidfile",
        &at("pid"),
        "--bridge",
        "none",
        "--iptables=false",
        "--storage-driver",
        "vfs",
    ]);
    let socket_answers = socket.clone();
    let answers = move || {
        let info = Command::new("docker").args(["--host", &socket_answers, "info"]).output();
        info.expect("these tests need docker\n  hint: apt-get install docker.io").status.success()
    };
    let _daemon = Daemon::start(command, Path::new(&at("log")), "apt-get install docker.io", answers);
    let docker = |arguments: &[&str]| run("docker", &[&["--host", &socket], arguments].concat());

    let (from, back) = (pushed.reference(), pushed.reference().replace("team/", "back/"));
    docker(&["pull", "--quiet", &from]);
    let seen = docker(&["image", "inspect", "--format", "{{.Id}} {{index .RepoDigests 0}}", &from]);
    let (id, by_digest) = seen.trim().split_once(' ').unwrap();
    assert_eq!(id, pushed.config());
    assert!(by_digest.ends_with(&pushed.image.index.digest.to_string()), "{seen}");
    docker(&["tag", &from, &back]);
    docker(&["push", "--quiet", &back]);
    assert_eq!(pushed.config_in("back/greeter").await, pushed.config());
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_pulls_the_image_by_its_digest_and_pushes_it() {
    let dir = tempfile::tempdir().unwrap();
    let pushed = Pushed::to_ours(dir.path()).await;
    let at = |name: &str| dir.path().join(name).display().to_string();
    let storage = ["--root", &at("storage"), "--runroot", &at("run"), "--storage-driver", "vfs"];
    let podman = |arguments: &[&str]| run("podman", &[&storage, arguments].concat());

    let (from, back) = (pushed.reference(), pushed.reference().replace("team/", "back/"));
    podman(&["pull", "--quiet", "--tls-verify=false", &from]);
    let seen = podman(&["image", "inspect", "--format", "{{.Id}} {{.RepoDigests}}", &from]);
    assert!(seen.starts_with(pushed.config().trim_start_matches("sha256:")), "{seen}");
    assert!(seen.contains(&pushed.image.index.digest.to_string()), "{seen}");
    podman(&["push", "--quiet", "--tls-verify=false", &from, &format!("docker://{back}")]);
    assert_eq!(pushed.config_in("back/greeter").await, pushed.config());
}
