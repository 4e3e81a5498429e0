//! What a worker does: each action of a decision, begun here and finished in a task.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{FIRST_PAUSE, Message, Worker};
use crate::controllers::events::Note;
use crate::node::pod::decide::Action;
use crate::node::pod::ground::Ground;
use crate::node::pod::observed::{self, Phase, later};
use crate::node::pod::start::{Order, start};

impl Worker {
    /// Carries out one action; whether it changed what is decided next.
    pub(super) fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Prepare => self.prepare(),
            Action::Start(index) => self.start(index),
            Action::BackOff(index) => return self.show_back_off(index),
            Action::Abandon(index) => {
                if let Some(slot) = self.slots.get(index) {
                    slot.abandon.cancel();
                }
            }
            Action::Stop(index, grace, message) => self.stop(index, grace, message),
            Action::Condemn(verdict) => {
                self.node.tell(&self.pod, None, Note::normal(verdict.reason, verdict.message.clone()));
                self.observed.verdict = Some(verdict);
                return true;
            }
            Action::Clear => {
                self.clear();
                return true;
            }
            Action::Delete => {}
        }
        false
    }

    fn prepare(&mut self) {
        self.observed.ground = observed::Ground::Making;
        let (node, pod, directory, sender) =
            (Arc::clone(&self.node), Arc::clone(&self.pod), self.directory.clone(), self.sender.clone());
        tokio::spawn(async move {
            let ground = Ground::make(&node, &pod, &directory).await;
            let _ = sender.send(Message::Ground(ground));
        });
    }

    fn start(&mut self, index: usize) {
        let (Some(slot), Some(container), Some(ground)) =
            (self.slots.get_mut(index), self.observed.containers.get_mut(index), &self.ground)
        else {
            return;
        };
        slot.abandon = CancellationToken::new();
        let order = Order {
            pod: Arc::clone(&self.pod),
            container: slot.container.clone(),
            ground: Arc::clone(ground),
            directory: self.directory.clone(),
            attempt: container.instances(),
            abandoned: slot.abandon.clone(),
        };
        container.phase = Phase::Starting;
        let (node, sender) = (Arc::clone(&self.node), self.sender.clone());
        tokio::spawn(async move {
            let outcome = start(&node, &order).await;
            let _ = sender.send(Message::Started(index, outcome));
        });
    }

    /// A pull that failed is shown as backing off.
    fn show_back_off(&mut self, index: usize) -> bool {
        let Some(container) = self.observed.containers.get_mut(index) else { return false };
        let image = self.slots.get(index).and_then(|slot| slot.container.image.clone()).unwrap_or_default();
        let Phase::Held(held) = &mut container.phase else { return false };
        held.message = format!("Back-off pulling image {image:?}: {}: {}", held.reason, held.message);
        held.reason = "ImagePullBackOff";
        let name = Some(container.name.as_str());
        self.node.tell(&self.pod, name, Note::normal("BackOff", format!("Back-off pulling image {image:?}")));
        self.node.tell(&self.pod, name, Note::warning("Failed", "Error: ImagePullBackOff"));
        true
    }

    fn stop(&mut self, index: usize, grace: i64, message: String) {
        let (Some(slot), Some(container)) =
            (self.slots.get_mut(index), self.observed.containers.get_mut(index))
        else {
            return;
        };
        let (Some(instance), Some(run)) = (slot.instance.clone(), container.run_mut()) else { return };
        if run.stopping.is_none() {
            self.node.tell(&self.pod, Some(&slot.container.name), Note::normal("Killing", message));
        }
        run.stopping = Some(grace);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let (node, pod, container) = (Arc::clone(&self.node), Arc::clone(&self.pod), slot.container.clone());
        let task = tokio::spawn(async move {
            if let Err(failure) = instance.stop(container.lifecycle.as_ref(), grace).await {
                let note = Note::warning("FailedPreStopHook", format!("PreStopHook failed: {failure}"));
                node.tell(&pod, Some(&container.name), note);
            }
        });
        slot.attendants.push(task.abort_handle());
    }

    /// Takes the ground away. Files of logs stay until the object is gone.
    pub(super) fn clear(&mut self) {
        self.observed.ground = observed::Ground::Absent;
        self.refresh = None;
        drop(self.ground.take());
        for part in ["volumes", "containers", "files"] {
            let path = self.directory.join(part);
            if let Err(error) = fs::remove_dir_all(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove files of a pod");
            }
        }
    }

    pub(super) fn refresh_volumes(&mut self) {
        let Some(ground) = self.ground.clone().filter(|_| !self.refreshing) else { return };
        (self.refreshing, self.refresh) = (true, None);
        let (node, pod, sender) = (Arc::clone(&self.node), Arc::clone(&self.pod), self.sender.clone());
        tokio::spawn(async move {
            let mut volumes = ground.volumes.lock().await;
            let failed = volumes.refresh(&node.client, &pod, &node.placement(ground.address())).await;
            for error in &failed {
                node.tell(&pod, None, Note::warning("FailedMount", error.to_string()));
            }
            let soonest =
                later(Timestamp::now(), FIRST_PAUSE.saturating_mul(if failed.is_empty() { 1 } else { 20 }));
            let due = volumes.refresh_due().map(|due| due.max(soonest));
            drop(volumes);
            let _ = sender.send(Message::Refreshed(due));
        });
    }
}
