//! Scenarios run side by side. Those that kill a component and those that cannot bear it are never under way at the same time;
//! the others do not mind.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// By component: how many scenarios that need it alive are under way, or, below zero, how many that disrupt it.
type Rooms = BTreeMap<&'static str, i32>;

static ROOMS: Mutex<Rooms> = Mutex::new(Rooms::new());
static LEFT: Notify = Notify::const_new();

/// Keeps the other kind of scenarios out while it lives.
pub struct Guard {
    component: &'static str,
    sign: i32,
}

/// Nobody kills `component` while this is held. Taken before the first connection to the cluster, it comes before the disruptions,
/// which take longer and can run beside the next ones.
pub async fn peace(component: &'static str) -> Guard {
    enter(component, 1).await
}

/// Nobody holds the [`peace`] of `component` while this is held; others may disrupt it as well.
pub async fn disrupt(component: &'static str) -> Guard {
    enter(component, -1).await
}

async fn enter(component: &'static str, sign: i32) -> Guard {
    loop {
        // Made before the look, so that nobody leaves unnoticed in between.
        let left = LEFT.notified();
        if admit(&mut rooms(), component, sign) {
            return Guard { component, sign };
        }
        left.await;
    }
}

fn admit(rooms: &mut Rooms, component: &'static str, sign: i32) -> bool {
    let room = rooms.entry(component).or_default();
    let free = *room * sign >= 0;
    *room += if free { sign } else { 0 };
    free
}

fn rooms() -> MutexGuard<'static, Rooms> {
    ROOMS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Guard {
    fn drop(&mut self) {
        *rooms().entry(self.component).or_default() -= self.sign;
        LEFT.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_is_in_a_room_at_a_time() {
        let mut rooms = Rooms::new();
        assert!(admit(&mut rooms, "oven", 1) && admit(&mut rooms, "oven", 1));
        assert!(!admit(&mut rooms, "oven", -1));
        assert!(admit(&mut rooms, "kettle", -1) && admit(&mut rooms, "kettle", -1));
        assert!(!admit(&mut rooms, "kettle", 1));
    }
}
