//! Which engines the cluster has. Jobs are always there; Tekton comes and goes with its CRDs.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

use super::tekton::resource::GROUP_VERSION;
use crate::chain;

/// How often the cluster is asked again.
const AGAIN: Duration = Duration::from_secs(30);

/// Whether Tekton is there, as last seen; cheap to clone.
#[derive(Clone, Debug)]
pub struct Served {
    tekton: Arc<watch::Sender<bool>>,
}

impl Served {
    /// Asks the cluster of `client`.
    pub async fn look(client: &Client) -> Result<Self, kube::Error> {
        let tekton = Arc::new(watch::Sender::new(tekton(client).await?));
        Ok(Self { tekton })
    }

    /// Whether PipelineRuns can be made.
    pub fn tekton(&self) -> bool {
        *self.tekton.borrow()
    }

    /// Waits until PipelineRuns can be made.
    pub async fn until_tekton(&self) {
        // Fails only when every clone of `self` is gone.
        let _ = self.tekton.subscribe().wait_for(|served| *served).await;
    }

    /// Asks again, once.
    pub async fn look_again(&self, client: &Client) {
        match tekton(client).await {
            Ok(served) => {
                let changed =
                    self.tekton.send_if_modified(|before| std::mem::replace(before, served) != served);
                if changed {
                    tracing::info!(served, "engine tekton");
                }
            }
            Err(error) => tracing::warn!(error = %chain(&error), "failed to ask whether Tekton is installed"),
        }
    }

    /// Asks again and again.
    pub async fn keep_looking(self, client: Client) {
        loop {
            tokio::time::sleep(AGAIN).await;
            self.look_again(&client).await;
        }
    }
}

async fn tekton(client: &Client) -> Result<bool, kube::Error> {
    match client.list_api_group_resources(GROUP_VERSION).await {
        Ok(list) => Ok(["pipelineruns", "taskruns"]
            .iter()
            .all(|plural| list.resources.iter().any(|resource| resource.name == *plural))),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}
