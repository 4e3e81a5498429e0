//! Work on every core.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Runs `work` on every item with as many threads as there are cores; the results keep the order of the items.
pub(super) fn in_parallel<T: Sync, R: Send, E: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get()).min(items.len());
    let queue = Mutex::new(items.iter().enumerate());
    let results = Mutex::new(BTreeMap::new());
    let next = || queue.lock().ok().and_then(|mut queue| queue.next());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((position, item)) = next() {
                    let result = work(item);
                    if let Ok(mut results) = results.lock() {
                        results.insert(position, result);
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    results.into_values().collect()
}
