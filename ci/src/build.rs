//! Images, built away from the thread that waits for signals.

use images::client::{Client, Credentials, Options, hosts_from_certificates};
use images::{BuildPlan, BuiltImage, base};

use crate::event::{Event, EventSink};
use crate::exit::{Failure, Reason};

/// Builds what the plan says, on bases that are fetched first.
pub async fn build(plan: &BuildPlan, events: &EventSink) -> Result<Vec<BuiltImage>, Failure> {
    if base::needed(plan) {
        base::fetch(plan, &client()?).await?;
    }
    let (plan, events) = (plan.clone(), events.clone());
    let build = move || images::build(&plan, &|event| events.emit(Event::Build(event)));
    let built = tokio::task::spawn_blocking(build).await;
    let ending = || Failure::says(Reason::Unforeseen, "build the images: the process is ending", None);
    Ok(built.map_err(|_| ending())??)
}

/// A client with the credentials and certificates docker and podman keep for this user.
pub fn client() -> Result<Client, Failure> {
    let credentials = Credentials::load(|name| std::env::var(name).ok())
        .map_err(|error| Failure::new(Reason::Cluster, &error, error.hint()))?;
    let hosts = hosts_from_certificates(&["/etc/containers/certs.d".into(), "/etc/docker/certs.d".into()]);
    Ok(Client::new(Options { credentials, hosts, ..Options::default() }))
}
