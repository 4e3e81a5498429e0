//! Containers without a kubelet: what a process sees and may do.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine::node::sandbox::capability;
use engine::node::sandbox::launch::{Exit, LaunchError, Running, launch};
use engine::node::sandbox::network::PodNetwork;
use engine::node::sandbox::pod::PodSandbox;
use engine::node::sandbox::spec::{Launch, Mount, Place, Process, Rootfs};
use futures::TryStreamExt;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use rtnetlink::packet_route::link::LinkAttribute;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::role::ROLE;

/// Runs a test in a network of its own.
pub fn in_own_network<T>(test: impl AsyncFnOnce() -> T) -> T {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test())
}

struct Bench {
    directory: tempfile::TempDir,
    network: PodNetwork,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for layer in ["layers/base/etc", "layers/base/bin", "layers/top/data", "scratch"] {
            fs::create_dir_all(directory.path().join(layer)).unwrap();
        }
        fs::write(directory.path().join("layers/base/etc/where"), "base").unwrap();
        fs::write(directory.path().join("layers/top/data/file"), "top").unwrap();
        Self { directory, network: PodNetwork::create(Ipv4Addr::new(10, 244, 0, 1)).await.unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn pod(&self, name: &str) -> PodSandbox {
        PodSandbox::create(name.to_owned(), Some(self.network.clone())).await.unwrap()
    }

    /// A container of two layers whose program is this binary.
    fn container(&self, pod: &PodSandbox, commands: &[&str]) -> Launch {
        let mounts = vec![Mount {
            source: std::env::current_exe().unwrap(),
            sub_path: None,
            target: PathBuf::from("/bin/program"),
            read_only: true,
        }];
        let rootfs = Rootfs {
            layers: vec![self.path("layers/top"), self.path("layers/base")],
            scratch: self.path("scratch"),
            read_only: false,
            privileged: false,
            mounts,
        };
        let place = Place::Container { namespaces: pod.paths(), cgroup: None, rootfs };
        Launch { place, process: program(commands) }
    }
}

fn program(commands: &[&str]) -> Process {
    Process {
        args: ["program", ROLE, "program"].iter().chain(commands).map(|text| (*text).to_owned()).collect(),
        env: vec!["PATH=/usr/bin:/bin".to_owned()],
        cwd: PathBuf::from("/"),
        uid: 0,
        gid: 0,
        groups: vec![],
        capabilities: capability::granted(false, &[], &[]).unwrap(),
        no_new_privileges: false,
    }
}

fn rootfs(launch: &mut Launch) -> &mut Rootfs {
    match &mut launch.place {
        Place::Container { rootfs, .. } => rootfs,
        Place::Inside { .. } => panic!("not a new container"),
    }
}

/// A process under test and the reading end of what it prints.
struct Started {
    running: Running,
    output: pipe::Receiver,
}

impl Started {
    async fn end(mut self) -> (Exit, String) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).await.unwrap();
        (self.running.wait().await.unwrap(), text)
    }

    /// Reads until the program has printed `line`.
    async fn wait_for(&mut self, line: &str) {
        let mut text = Vec::new();
        while !String::from_utf8_lossy(&text).contains(line) {
            let byte = self.output.read_u8().await;
            text.push(byte.unwrap_or_else(|_| panic!("ended after {:?}", String::from_utf8_lossy(&text))));
        }
    }
}

async fn start(what: &Launch) -> Result<Started, LaunchError> {
    let (sender, output) = pipe::pipe().unwrap();
    let stdout: OwnedFd = sender.into_blocking_fd().unwrap();
    let stderr = stdout.try_clone().unwrap();
    Ok(Started { running: launch(what, stdout, stderr).await?, output })
}

async fn run(what: &Launch) -> (Exit, String) {
    start(what).await.unwrap().end().await
}

async fn look(what: &Launch) -> Value {
    let (exit, text) = run(what).await;
    assert_eq!(exit, Exit { code: 0, signal: None }, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn a_container_sees_its_own_world_only() {
    in_own_network(async || {
        let bench = Bench::new().await;
        let pod = bench.pod("web-0").await;
        let mut container = bench.container(&pod, &["look"]);
        container.process.env.push("GREETING=hello".to_owned());
        container.process.cwd = PathBuf::from("/work/here");
        let seen = look(&container).await;
        assert_eq!(seen["pid"], 1);
        assert_eq!(seen["processes"], json!(["1"]));
        assert_eq!(seen["hostname"], "web-0");
        assert_eq!(seen["root"], json!(["bin", "data", "dev", "etc", "proc", "sys", "work"]));
        assert_eq!(seen["interfaces"], json!(["eth0", "lo"]));
        assert_eq!(seen["environment"], json!({"GREETING": "hello", "PATH": "/usr/bin:/bin"}));
        assert_eq!(seen["directory"], "/work/here");
        assert_eq!(seen["descriptors"].as_array().unwrap().len(), 4, "three and the one that lists: {seen}");
        let devices: Vec<&str> =
            seen["devices"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for device in [
            "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "urandom",
            "zero",
        ] {
            assert!(devices.contains(&device), "{device} in {devices:?}");
        }
    });
}

#[test]
fn what_a_container_writes_goes_with_it() {
    in_own_network(async || {
        let bench = Bench::new().await;
        let pod = bench.pod("p").await;
        let (_, text) =
            run(&bench.container(&pod, &["cat=/etc/where", "write=/etc/where", "write=/new"])).await;
        assert_eq!(text, "base\nwrote /etc/where\nwrote /new\n");
        let (_, text) = run(&bench.container(&pod, &["cat=/etc/where", "cat=/data/file"])).await;
        assert_eq!(text, "base\ntop\n");
        assert!(!bench.path("layers/top/new").exists());
        assert_eq!(fs::read_dir(bench.path("scratch")).unwrap().count(), 0);
    });
}

#[test]
fn a_read_only_root_leaves_volumes_writable() {
    in_own_network(async || {
        let bench = Bench::new().await;
        let pod = bench.pod("p").await;
        let volume = bench.path("volume");
        fs::create_dir(&volume).unwrap();
        let mut container =
            bench.container(&pod, &["write=/new", "write=/volume/a", "write=/fixed/b", "cat=/fixed/a"]);
        let rootfs = rootfs(&mut container);
        rootfs.read_only = true;
        for (target, read_only) in [("/volume", false), ("/fixed", true)] {
            rootfs.mounts.push(Mount {
                source: volume.clone(),
                sub_path: None,
                target: target.into(),
                read_only,
            });
        }
        let (_, text) = run(&container).await;
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("Read-only file system"), "{text}");
        assert_eq!(lines[1], "wrote /volume/a");
        assert!(lines[2].contains("Read-only file system"), "{text}");
        assert_eq!(lines[3], "written");
    });
}

#[test]
fn a_sub_path_cannot_leave_its_volume() {
    in_own_network(async || {
        let bench = Bench::new().await;
        let pod = bench.pod("p").await;
        let volume = bench.path("volume");
        fs::create_dir(&volume).unwrap();
        fs::write(bench.path("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(bench.path("secret"), volume.join("trap")).unwrap();
        let mut container = bench.container(&pod, &["write=/inner/file"]);
        let mut mount = Mount {
            source: volume.clone(),
            sub_path: Some("a/b".into()),
            target: "/inner".into(),
            read_only: false,
        };
        rootfs(&mut container).mounts.push(mount.clone());
        run(&container).await;
        assert!(volume.join("a/b/file").exists());
        let mut container = bench.container(&pod, &["cat=/inner"]);
        mount.sub_path = Some("trap".into());
        rootfs(&mut container).mounts.push(mount);
        let refused = start(&container).await.err().map(|error| error.to_string()).unwrap();
        assert!(refused.starts_with("finding subPath trap of volume"), "{refused}");
    });
}

#[test]
fn users_and_capabilities_are_what_was_asked_for() {
    in_own_network(async || {
        let bench = Bench::new().await;
        let pod = bench.pod("p").await;
        let root = look(&bench.container(&pod, &["look"])).await;
        assert_eq!(root["capabilities"], root["bounding"]);
        assert_ne!(root["capabilities"], "0000000000000000");
        let mut container = bench.container(&pod, &["look"]);
        container.process = Process {
            uid: 1000,
            gid: 2000,
            groups: vec![3000, 4000],
            capabilities: vec![],
            no_new_privileges: true,
            ..container.process
        };
        let user = look(&container).await;
        assert_eq!([&user["user"], &user["group"]], ["1000", "2000"]);
        assert_eq!(user["groups"], json!(["3000", "4000"]));
        assert_eq!([&user["capabilities"], &user["bounding"]], ["0000000000000000", "0000000000000000"]);
        assert_eq!(user["noNewPrivileges"], "1");
    });
}

#[test]
fn failures_name_the_step() {
    in_own_network(async || {
        let bench = Bench::new().await;
        let pod = bench.pod("p").await;
        let failure = async |container: Launch| match start(&container).await {
            Ok(_) => panic!("it started"),
            Err(error) => error.to_string(),
        };
        let mut container = bench.container(&pod, &[]);
        container.process.args = vec!["missing".to_owned()];
        assert_eq!(failure(container).await, "exec \"missing\": executable file not found in $PATH");
        let mut container = bench.container(&pod, &[]);
        container.process.args = vec!["/etc/where".to_owned()];
        assert_eq!(failure(container).await, "exec \"/etc/where\": permission denied");
        // The first bytes of an executable of some other machine.
        fs::write(
            bench.path("layers/base/bin/foreign"),
            b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0",
        )
        .unwrap();
        std::process::Command::new("chmod")
            .arg("755")
            .arg(bench.path("layers/base/bin/foreign"))
            .status()
            .unwrap();
        let mut container = bench.container(&pod, &[]);
        container.process.args = vec!["foreign".to_owned()];
        assert_eq!(failure(container).await, "exec \"/bin/foreign\": exec format error");
        let mut container = bench.container(&pod, &[]);
        let missing =
            Mount { source: "/nowhere".into(), sub_path: None, target: "/x".into(), read_only: false };
        rootfs(&mut container).mounts.push(missing);
        assert_eq!(
            failure(container).await,
            "mounting /nowhere on /x: No such file or directory (os error 2)"
        );
    });
}

#[test]
fn processes_are_signalled_and_their_end_is_told() {
    in_own_network(async || {
        let bench = Bench::new().await;
        let pod = bench.pod("p").await;
        assert_eq!(run(&bench.container(&pod, &["exit=3"])).await.0, Exit { code: 3, signal: None });
        let mut polite = start(&bench.container(&pod, &["until-term", "exit=5"])).await.unwrap();
        polite.wait_for("waiting").await;
        polite.running.signal(Signal::SIGTERM).unwrap();
        assert_eq!(polite.end().await.0, Exit { code: 5, signal: None });
        let stubborn = start(&bench.container(&pod, &["forever"])).await.unwrap();
        stubborn.running.signal(Signal::SIGKILL).unwrap();
        assert_eq!(stubborn.end().await.0, Exit { code: 137, signal: Some(9) });
    });
}

#[test]
fn a_command_runs_inside_a_running_container() {
    in_own_network(async || {
        let bench = Bench::new().await;
        let pod = bench.pod("p").await;
        let mut main = start(&bench.container(&pod, &["write=/mark", "until-term"])).await.unwrap();
        main.wait_for("waiting").await;
        let inside = |commands: &[&str]| Launch {
            place: Place::Inside { pid: main.running.pid() },
            process: program(commands),
        };
        let (exit, text) = run(&inside(&["cat=/mark", "exit=4"])).await;
        assert_eq!((exit.code, text.as_str()), (4, "written\n"));
        let seen = look(&inside(&["look"])).await;
        assert_eq!(seen["hostname"], "p");
        assert_eq!(seen["processes"].as_array().unwrap().len(), 2);
        main.running.signal(Signal::SIGKILL).unwrap();
        main.end().await;
    });
}

#[test]
fn pods_reach_each_other_and_the_node_and_leave_no_interface() {
    in_own_network(async || {
        let bench = Bench::new().await;
        let (server, client) = (bench.pod("server").await, bench.pod("client").await);
        let mut serving = start(&bench.container(&server, &["serve=8080", "forever"])).await.unwrap();
        serving.wait_for("listening").await;
        let address = format!("{}:8080", server.address().unwrap());
        let (_, text) =
            run(&bench.container(&client, &[&format!("fetch={address}"), "fetch=127.0.0.1:8080"])).await;
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], client.address().unwrap().to_string());
        assert!(lines[1].contains("refused"), "the other pod's loopback is not ours: {text}");
        let mut node = tokio::net::TcpStream::connect(&address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut node, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        node.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("10.244.0.1"), "{answer}");
        serving.running.signal(Signal::SIGKILL).unwrap();
        serving.end().await;
        drop((server, client));
        let deadline = Instant::now() + Duration::from_secs(10);
        while interfaces().iter().any(|name| name.starts_with("veth")) {
            assert!(Instant::now() < deadline, "{:?}", interfaces());
            tokio::task::yield_now().await;
        }
        assert!(interfaces().contains(&"pods".to_owned()));
    });
}

#[test]
fn the_gateway_keeps_its_hardware_address_while_pods_come_and_go() {
    in_own_network(async || {
        let bench = Bench::new().await;
        let before = gateway_hardware_address().await;
        for round in 0..3 {
            // Ports with lower addresses than the ones before and after them.
            let pods = [bench.pod("one").await, bench.pod("two").await];
            assert_eq!(gateway_hardware_address().await, before, "with pods, round {round}");
            drop(pods);
            assert_eq!(gateway_hardware_address().await, before, "without pods, round {round}");
        }
    });
}

async fn gateway_hardware_address() -> Vec<u8> {
    let (connection, handle, _messages) = rtnetlink::new_connection().unwrap();
    tokio::spawn(connection);
    let mut links = handle.link().get().match_name("pods".to_owned()).execute();
    let link = links.try_next().await.unwrap().unwrap();
    let address = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(address) => Some(address),
        _ => None,
    });
    address.unwrap()
}

fn interfaces() -> Vec<String> {
    let table = fs::read_to_string(Path::new("/proc/thread-self/net/dev")).unwrap();
    table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}
