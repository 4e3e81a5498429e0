//! Where the product stands: a registry with its images, a cluster that pulls from it, and the components deployed there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use images::client::{self, Credentials};
use images::push::{self, push};
use images::{BuiltImage, Destination, Layout};
use kind::{Lifetime, RegistryMirror, UpPlan};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use manifests::{NotReady, ReadyError, Rendered};

use crate::event::{Event, EventSink, PushEvent, RunEvent};
use crate::exit::{Failure, Reason};
use crate::plan::{self, Plan, REGISTRY_HOST};
use crate::registry::Registry;
use crate::run::Run;

/// The files of a run that later stages begin with.
pub const IMAGES: &str = "images.json";
const REFERENCES: &str = "references.json";

/// A cluster that answers, and how to talk to it.
pub struct Site {
    /// The cluster; the embedded engine may live as long as this does.
    pub cluster: kind::Cluster,
    /// A client with an administrator's rights.
    pub client: Client,
    /// Image name → reference by digest.
    pub references: BTreeMap<String, String>,
    /// Lives as long as the cluster is used.
    registry: Option<Registry>,
}

impl Site {
    /// A cluster that can pull these images.
    pub fn new(
        cluster: kind::Cluster,
        client: Client,
        references: BTreeMap<String, String>,
        registry: Option<Registry>,
    ) -> Site {
        Site { cluster, client, references, registry }
    }

    /// Lets go of what lives in this process.
    pub async fn close(self) {
        let Site { cluster, client, references: _, registry } = self;
        drop((client, cluster));
        if let Some(registry) = registry {
            registry.close().await;
        }
    }

    /// The references that are deployed, when the cluster is continued with.
    fn references_before(run: &Run) -> Result<BTreeMap<String, String>, Failure> {
        earlier(run, REFERENCES)?.read_json(REFERENCES).map_err(Failure::from)
    }
}

/// The images of the last run that built some.
pub fn images_before(run: &Run) -> Result<Vec<BuiltImage>, Failure> {
    earlier(run, IMAGES)?.read_json(IMAGES).map_err(Failure::from)
}

fn earlier(run: &Run, file: &str) -> Result<Run, Failure> {
    run.before(file).ok_or_else(|| {
        let hint = Some("run the pipeline once without `--from`".to_owned());
        Failure::says(Reason::Usage, format!("continue an earlier run: none has left `{file}`"), hint)
    })
}

/// Opens the registry the plan wants. One of somebody else's has nothing to be opened.
pub async fn open_registry(plan: &Plan, cluster: &plan::Cluster) -> Result<Option<Registry>, Failure> {
    match &plan.registry {
        plan::Registry::Other(_) => Ok(None),
        plan::Registry::Own(directory) => {
            Registry::open(directory, &cluster.directory, cluster.lifetime).await.map(Some)
        }
    }
}

/// Pushes images. The references are those the nodes use.
pub async fn push_images(
    plan: &Plan,
    images: &[BuiltImage],
    registry: Option<&Registry>,
    events: &EventSink,
) -> Result<BTreeMap<String, String>, Failure> {
    let destination = match (registry, &plan.registry) {
        (Some(registry), _) => Destination::registry(registry.address.to_string()),
        (None, plan::Registry::Other(name)) => {
            let (host, prefix) = name.split_once('/').unwrap_or((name, ""));
            Destination { prefix: prefix.to_owned(), ..Destination::registry(host) }
        }
        (None, plan::Registry::Own(_)) => Destination::registry(REGISTRY_HOST),
    };
    if let Some(registry) = registry {
        events.emit(Event::Push(PushEvent::RegistryReady { address: registry.address.to_string() }));
    }
    let credentials = Credentials::load(|name| std::env::var(name).ok())
        .map_err(|error| Failure::new(Reason::Declaration, &error, error.hint()))?;
    let client = client::Client::new(client::Options { credentials, ..client::Options::default() });
    let layout = home_layout(plan)?;
    let started = Instant::now();
    let sent: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let counted = sent.clone();
    let observer: push::Observer = Arc::new(move |event| {
        if let push::PushEvent::Blob { repository, bytes, .. } = event {
            *counted.lock().unwrap_or_else(PoisonError::into_inner).entry(repository).or_default() += bytes;
        }
    });
    let pushed = push(&layout, images, &destination, &client, &observer).await?;
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    let mut references = pushed.references;
    for image in images {
        if registry.is_some() {
            references.insert(image.name.clone(), image.reference(REGISTRY_HOST).to_string());
        }
        events.emit(Event::Push(PushEvent::Pushed {
            image: image.name.clone(),
            reference: references.get(&image.name).cloned().unwrap_or_default(),
            bytes: sent.get(&destination.repository(&image.name)).copied().unwrap_or(0),
            took: started.elapsed(),
        }));
    }
    Ok(references)
}

fn home_layout(plan: &Plan) -> Result<Layout, Failure> {
    Layout::open(&plan.layout).map_err(|error| Failure::new(Reason::Build, &error, error.hint()))
}

/// Brings the cluster up, or finds it up. Every image has to have something for its nodes.
pub async fn bring_up(
    cluster: &plan::Cluster,
    registry: Option<&Registry>,
    images: &[BuiltImage],
    events: &EventSink,
) -> Result<(kind::Cluster, Client), Failure> {
    let mirrors = registry
        .map(|registry| RegistryMirror { host: REGISTRY_HOST.to_owned(), endpoint: registry.endpoint() });
    let plan = UpPlan {
        spec: cluster.spec.clone(),
        provider: cluster.provider.clone(),
        directory: cluster.directory.clone(),
        store: cluster.store.clone(),
        engine: cluster.engine.clone(),
        mirrors: mirrors.into_iter().collect(),
        lifetime: cluster.lifetime,
        deadline: cluster.deadline,
    };
    let up = kind::up(&plan, &|event| events.emit(Event::Cluster(event))).await?;
    events.emit(Event::Run(RunEvent::NodesKnown { architecture: up.node_architecture.clone() }));
    let check = |image| images::proof::check_node(image, &up.node_architecture);
    images.iter().try_for_each(check)?;
    let client = client(&up.kubeconfig).await?;
    Ok((up, client))
}

/// Leaves what is needed to look at the cluster, and to continue with it, in the run's folder.
pub fn keep(
    run: &Run,
    references: &BTreeMap<String, String>,
    cluster: &kind::Cluster,
) -> Result<(), Failure> {
    let kubeconfig = fs::read(&cluster.kubeconfig).map_err(|error| {
        Failure::says(Reason::Cluster, format!("read `{}`: {error}", cluster.kubeconfig.display()), None)
    })?;
    run.write("kubeconfig", kubeconfig)?;
    run.write_json(REFERENCES, references)?;
    Ok(())
}

/// Takes down what lives in the cluster's directory, and its registry.
pub async fn take_down(directory: &Path, events: &EventSink) -> Result<Option<String>, Failure> {
    let name = kind::down(directory, &|event| events.emit(Event::Cluster(event))).await?;
    crate::registry::stop(directory).await?;
    Ok(name)
}

/// Ends the registry of a cluster that did not come up. One that answers, though not as wanted, keeps it.
pub async fn close_registry_unless_up(directory: &Path) {
    if !matches!(kind::status(directory).await, Ok(kind::Status::Running(_))) {
        // What is reported is why the cluster did not come up; `cluster down` ends what cannot be ended here.
        let _ = crate::registry::stop(directory).await;
    }
}

/// A client with the rights of the cluster's kubeconfig.
pub async fn client(kubeconfig: &Path) -> Result<Client, Failure> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        let message = format!("use the kubeconfig `{}`", kubeconfig.display());
        let mut failure = Failure::new(Reason::Cluster, error, None);
        failure.problem.causes.insert(0, std::mem::replace(&mut failure.problem.message, message));
        failure
    };
    let read = Kubeconfig::read_from(kubeconfig).map_err(|error| failed(&error))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    Client::try_from(config.map_err(|error| failed(&error))?).map_err(|error| failed(&error))
}

/// Final objects, kept as the YAML that is applied.
pub fn render(
    deploy: &plan::Deploy,
    references: &BTreeMap<String, String>,
    run: &Run,
) -> Result<Rendered, Failure> {
    let mut references = references.clone();
    references.extend(deploy.copies.clone());
    let rendered = manifests::render(&deploy.components, &references, &deploy.without)?;
    for (number, component) in rendered.components.iter().enumerate() {
        run.write(&format!("manifests/{number:02}-{}.yaml", component.name), component.to_yaml())?;
    }
    Ok(rendered)
}

/// Applies the objects once and waits for them; what is not ready is explained.
pub async fn deploy(
    client: &Client,
    rendered: &Rendered,
    run: &Run,
    events: &EventSink,
) -> Result<(), Failure> {
    let observer = |event| events.emit(Event::Deploy(event));
    let applied = manifests::apply(client, rendered, &observer).await?;
    match manifests::ready(client, &applied, &observer).await {
        Ok(_) => Ok(()),
        Err(error) => {
            if let ReadyError::NotReady(components) = &error {
                explain(client, components, run, events).await;
            }
            let hint = Some(format!(
                "what was seen is in `{}`; the YAML in `{}`",
                run.file("diagnosis").display(),
                run.file("manifests").display()
            ));
            Err(Failure::new(Reason::Deploy, &error, hint))
        }
    }
}

/// How long a look at a component that is not ready may take.
const LOOKS_WITHIN: Duration = Duration::from_secs(15);

/// Says why components are not ready, and keeps what was seen. That this fails is no news: the failure itself is reported.
async fn explain(client: &Client, components: &[NotReady], run: &Run, events: &EventSink) {
    for component in components {
        let warn = |message: String| events.emit(Event::Run(RunEvent::Warning { message, hint: None }));
        let notes = component.notes();
        let look = manifests::diagnose::snapshot(client, &component.component, &notes);
        let snapshot = match tokio::time::timeout(LOOKS_WITHIN, look).await {
            Ok(Ok(snapshot)) => snapshot,
            Ok(Err(error)) => {
                warn(format!("component `{}` could not be looked at: {error}", component.component));
                continue;
            }
            Err(_) => {
                warn(format!("component `{}` could not be looked at in time", component.component));
                continue;
            }
        };
        if let Err(error) = run.write_json(&format!("diagnosis/{}.json", component.component), &snapshot) {
            warn(error.to_string());
        }
        events.emit(Event::Run(RunEvent::Diagnosed(manifests::explain(&snapshot))));
    }
}

/// What an earlier run has left up: its references and its cluster, which has to answer.
pub async fn continue_with(
    plan: &Plan,
    cluster: &plan::Cluster,
    run: &Run,
    events: &EventSink,
) -> Result<Site, Failure> {
    let references = Site::references_before(run)?;
    match kind::status(&cluster.directory).await? {
        kind::Status::Running(_) => {}
        kind::Status::None | kind::Status::Gone { .. } => {
            let hint = format!("leave it up first: cargo xtask ci {} --keep", plan.pipeline);
            let message = format!("continue with the cluster `{}`: it is not up", cluster.name);
            return Err(Failure::says(Reason::Cluster, message, Some(hint)));
        }
    }
    let registry = open_registry(plan, cluster).await?;
    let (up, client) = bring_up(cluster, registry.as_ref(), &[], events).await?;
    keep(run, &references, &up)?;
    Ok(Site::new(up, client, references, registry))
}

/// Whether the cluster is to be left up.
pub fn stays(cluster: &plan::Cluster) -> bool {
    cluster.lifetime == Lifetime::Detached
}

/// What to tell whoever left the cluster up.
pub fn how_to_leave(cluster: &plan::Cluster) -> String {
    let name = &cluster.name;
    format!(
        "cluster `{name}` is left up; `cargo xtask cluster kubeconfig --name {name}` leads to it, `cargo xtask cluster down --name {name}` takes it down"
    )
}
