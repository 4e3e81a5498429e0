//! Scenarios run side by side. Those that kill a component wait until those that cannot bear it are through, and the other way
//! round.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static PEACE: RwLock<()> = RwLock::const_new(());

/// Nothing is killed while this is held.
pub async fn peace() -> RwLockReadGuard<'static, ()> {
    PEACE.read().await
}

/// Nobody else holds [`peace`], or disrupts, while this is held.
pub async fn disrupt() -> RwLockWriteGuard<'static, ()> {
    PEACE.write().await
}
