//! Starting a container: its image, then what it needs, then its process.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use nix::fcntl::OFlag;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ground::Ground;
use super::instance::{Instance, stop_signal};
use super::observed::Ended;
use crate::controllers::events::Note;
use crate::node::cgroup::Cgroup;
use crate::node::container::identity::{Accounts, identity};
use crate::node::container::{command, environment};
use crate::node::exec::{Inside, writing_end};
use crate::node::image::{Image, PullError, Reference};
use crate::node::probe::check::Target;
use crate::node::rooted::Root;
use crate::node::sandbox::launch::launch;
use crate::node::sandbox::spec::{Launch, Place, Process, Rootfs};
use crate::node::{Node, log, references};
use crate::schema::quantity::nanos;

/// Exit code of a container whose program could not be executed.
const NOT_EXECUTED: i32 = 128;

/// What a container is started from.
pub(crate) struct Order {
    /// Its pod.
    pub pod: Arc<Pod>,
    /// The container.
    pub container: Container,
    /// What it stands on.
    pub ground: Arc<Ground>,
    /// The pod's directory on the node.
    pub directory: PathBuf,
    /// How many instances there were before.
    pub attempt: i32,
    /// Cancelled when it is no longer wanted.
    pub abandoned: CancellationToken,
}

/// A started container and the task that writes its log.
pub(crate) struct Started {
    /// The container.
    pub instance: Arc<Instance>,
    /// Ends with its output.
    pub output: JoinHandle<io::Result<()>>,
}

/// Why there is no running container.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// It was given up.
    Abandoned,
    /// It could not be tried.
    Held {
        /// As in `state.waiting`.
        reason: &'static str,
        /// As in `state.waiting`.
        message: String,
    },
    /// It was tried, and the kernel refused; the log says so too.
    Refused {
        /// What becomes its status.
        ended: Ended,
        /// Its log.
        log: Arc<log::Log>,
    },
}

fn held(reason: &'static str) -> impl Fn(String) -> NotStarted {
    move |message| NotStarted::Held { reason, message }
}

/// Starts a container.
pub(crate) async fn start(node: &Node, order: &Order) -> Result<Started, NotStarted> {
    let abandoned = order.abandoned.cancelled();
    let prepared = tokio::select! {
        () = abandoned => return Err(NotStarted::Abandoned),
        prepared = prepare(node, order) => prepared?,
    };
    let note = Note::normal("Created", format!("Created container: {}", order.container.name));
    node.tell(&order.pod, Some(&order.container.name), note);
    // From here on it is not interrupted: a process half started would be nobody's.
    execute(node, order, prepared).await
}

/// Everything but the process.
struct Prepared {
    image: Image,
    image_id: String,
    id: String,
    launch: Launch,
    words: PathBuf,
    cgroup: Option<Cgroup>,
}

async fn prepare(node: &Node, order: &Order) -> Result<Prepared, NotStarted> {
    let Order { pod, container, ground, directory, attempt, abandoned: _ } = order;
    let (reference, image) = fetch(node, order).await?;
    let configuration = held("CreateContainerConfigError");
    let namespace = pod.namespace().unwrap_or_default();
    let names = references::of_environment(container);
    let found = references::read(&node.client, &namespace, &names).await;
    let found = found.map_err(|error| configuration(error.to_string()))?;
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false);
    let services =
        environment::of_services(&node.services.cache().all(), &namespace, links, node.options.api_server);
    let placement = node.placement(ground.address());
    let variables = environment::variables(pod, container, &found, services, &placement);
    let variables = variables.map_err(&configuration)?;
    let execution = &image.configuration.config;
    let user = execution.user.clone().unwrap_or_default();
    let context = container.security_context.clone().unwrap_or_default();
    let identity = identity(pod, &container.name, &context, &user, &accounts(&image.layers));
    let identity = identity.map_err(&configuration)?;
    let creation = held("CreateContainerError");
    let own = directory.join("containers").join(&container.name);
    let (words, scratch) = (own.join(format!("words-{attempt}")), own.join("root"));
    make_places(&words, &scratch)
        .map_err(|error| creation(format!("preparing {}: {error}", own.display())))?;
    let mounts = ground.mounts(container, &variables, &words).await.map_err(&configuration)?;
    let rootfs = Rootfs {
        layers: image.layers.clone(),
        scratch,
        read_only: context.read_only_root_filesystem == Some(true),
        privileged: identity.privileged,
        mounts,
    };
    let args = command::command(container, execution, &|name| variables.get(name).cloned());
    if args.is_empty() {
        return Err(creation("no command specified".to_owned()));
    }
    let process = Process {
        args,
        env: environment::merged(execution.env.as_deref().unwrap_or_default(), &ground.host_name, &variables),
        cwd: command::directory(container, execution),
        uid: identity.uid,
        gid: identity.gid,
        groups: identity.groups,
        capabilities: identity.capabilities,
        no_new_privileges: identity.no_new_privileges,
    };
    let image_id = format!("{}/{}@{}", reference.host, reference.repository, image.named);
    let id = uuid::Uuid::new_v4().simple().to_string();
    let limit = container.resources.as_ref().and_then(|resources| resources.limits.as_ref()?.get("memory"));
    let limit = limit.and_then(|limit| u64::try_from(nanos(&limit.0)? / 1_000_000_000).ok());
    let cgroup = match (&node.cgroups, limit) {
        (Some(groups), Some(limit)) => {
            let made = groups.make(&id, limit);
            Some(made.map_err(|error| creation(format!("limiting memory: {error}")))?)
        }
        _ => None,
    };
    let entrance = cgroup.as_ref().map(Cgroup::entrance);
    let place = Place::Container { namespaces: ground.sandbox.paths(), cgroup: entrance, rootfs };
    Ok(Prepared {
        image,
        image_id,
        id: format!("slipway://{id}"),
        launch: Launch { place, process },
        words,
        cgroup,
    })
}

/// Files and directories of one instance.
fn make_places(words: &Path, scratch: &Path) -> io::Result<()> {
    fs::create_dir_all(scratch)?;
    fs::write(words, "")?;
    // Whoever the container runs as may leave a message.
    fs::set_permissions(words, fs::Permissions::from_mode(0o666))
}

/// Brings the image in, as the pull policy says.
async fn fetch(node: &Node, order: &Order) -> Result<(Reference, Image), NotStarted> {
    let Order { pod, container, .. } = order;
    let tell = |note| node.tell(pod, Some(&container.name), note);
    let name = container.image.as_deref().unwrap_or_default();
    let reference: Reference = name.parse().map_err(|_malformed| {
        let message =
            format!("Failed to apply default image tag {name:?}: couldn't parse image name {name:?}: invalid reference format");
        tell(Note::warning("InspectFailed", message.clone()));
        held("InvalidImageName")(message)
    })?;
    let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
    let present = if policy == "Always" { None } else { node.images.present(&reference) };
    if let Some(image) = present {
        tell(Note::normal("Pulled", format!("Container image {name:?} already present on machine")));
        return Ok((reference, image));
    }
    if policy == "Never" {
        let message = format!("Container image {name:?} is not present with pull policy of Never");
        tell(Note::warning("ErrImageNeverPull", message.clone()));
        return Err(held("ErrImageNeverPull")(message));
    }
    tell(Note::normal("Pulling", format!("Pulling image {name:?}")));
    let begun = Instant::now();
    match node.images.pull(&reference).await {
        Ok(image) => {
            let took = begun.elapsed().as_millis();
            tell(Note::normal("Pulled", format!("Successfully pulled image {name:?} in {took}ms")));
            Ok((reference, image))
        }
        Err(error) => {
            let message = pull_failure(&reference, &error);
            tell(Note::warning("Failed", format!("Failed to pull image {name:?}: {message}")));
            tell(Note::warning("Failed", "Error: ErrImagePull"));
            Err(held("ErrImagePull")(message))
        }
    }
}

fn pull_failure(reference: &Reference, error: &PullError) -> String {
    format!("failed to pull and unpack image \"{reference}\": {error}")
}

/// The accounts an image knows: of the topmost layer that has them.
fn accounts(layers: &[PathBuf]) -> Accounts {
    let read = |path: &str| {
        layers.iter().find_map(|layer| {
            let file = Root::open(layer).ok()?.resolve(Path::new(path), OFlag::O_RDONLY).ok()?;
            io::read_to_string(fs::File::from(file)).ok()
        })
    };
    Accounts {
        passwd: read("/etc/passwd").unwrap_or_default(),
        group: read("/etc/group").unwrap_or_default(),
    }
}

async fn execute(node: &Node, order: &Order, prepared: Prepared) -> Result<Started, NotStarted> {
    let Prepared { image, image_id, id, launch: what, words, cgroup } = prepared;
    let Order { pod, container, ground, directory, attempt, .. } = order;
    let broken = |error: io::Error| held("CreateContainerError")(error.to_string());
    let path = directory.join("logs").join(&container.name).join(format!("{attempt}.log"));
    let log = log::Log::create(path, log::LIMIT).map_err(broken)?;
    let (stdout, from_stdout) = writing_end().map_err(broken)?;
    let (stderr, from_stderr) = writing_end().map_err(broken)?;
    let since = Timestamp::now();
    let running = match launch(&what, stdout, stderr).await {
        Ok(running) => running,
        Err(error) => {
            let message = error.to_string();
            node.tell(pod, Some(&container.name), Note::warning("Failed", format!("Error: {message}")));
            // Who looks at the log finds the cause there too, as with other runtimes.
            let line = format!("{message}\n");
            if let Err(error) = log::collect(Arc::clone(&log), &b""[..], line.as_bytes()).await {
                tracing::debug!(%error, "cannot write a log");
            }
            let finished = Timestamp::now();
            let ended = Ended {
                code: NOT_EXECUTED,
                reason: "StartError",
                message,
                started: since,
                finished,
                id: Some(id),
            };
            return Err(NotStarted::Refused { ended, log });
        }
    };
    node.tell(
        pod,
        Some(&container.name),
        Note::normal("Started", format!("Started container {}", container.name)),
    );
    let output = tokio::spawn(log::collect(Arc::clone(&log), from_stdout, from_stderr));
    let inside = Inside { pid: running.pid(), process: what.process };
    let host = ground.address().map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
    let ports = container.ports.clone().unwrap_or_default();
    let target = Arc::new(Target { host, ports, inside });
    let stop_signal = stop_signal(image.configuration.config.stop_signal.as_deref());
    let over = CancellationToken::new();
    let instance =
        Arc::new(Instance { id, image_id, since, target, log, words, stop_signal, running, over, cgroup });
    Ok(Started { instance, output })
}
