//! Scenarios run side by side. Those that kill components and those that cannot bear it are never under way at the same time;
//! the others do not mind.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How many scenarios that need peace are under way, or, below zero, how many that disrupt it.
static ROOM: Mutex<i32> = Mutex::new(0);
static LEFT: Notify = Notify::const_new();

/// Keeps the other kind of scenarios out while it lives.
pub struct Guard {
    sign: i32,
}

/// Nothing is killed while this is held.
pub async fn peace() -> Guard {
    enter(1).await
}

/// Nobody holds [`peace`] while this is held; others may disrupt as well.
pub async fn disrupt() -> Guard {
    enter(-1).await
}

async fn enter(sign: i32) -> Guard {
    loop {
        // Made before the look, so that nobody leaves unnoticed in between.
        let left = LEFT.notified();
        if admit(&mut room(), sign) {
            return Guard { sign };
        }
        left.await;
    }
}

fn admit(room: &mut i32, sign: i32) -> bool {
    let free = *room * sign >= 0;
    *room += if free { sign } else { 0 };
    free
}

fn room() -> MutexGuard<'static, i32> {
    ROOM.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Guard {
    fn drop(&mut self) {
        *room() -= self.sign;
        LEFT.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_is_in_the_room_at_a_time() {
        let mut room = 0;
        assert!(admit(&mut room, 1) && admit(&mut room, 1));
        assert!(!admit(&mut room, -1));
        room -= 2;
        assert!(admit(&mut room, -1) && admit(&mut room, -1));
        assert!(!admit(&mut room, 1));
    }
}
