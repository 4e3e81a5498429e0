//! Remembering for a short while what the API server said, so that not every request is two more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{User, Verb};

/// A right that was taken away is used at most this much longer.
const LIFETIME: Duration = Duration::from_secs(60);
/// More would be a flood of made-up tokens; those are not remembered anyway.
const MAX_ENTRIES: usize = 1024;

type Key = ([u8; 32], Verb);

/// Tokens that were accepted for a verb, and whose they are. Only their digests are kept.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: Mutex<HashMap<Key, (User, Instant)>>,
}

impl Cache {
    pub(super) fn get(&self, token: &str, verb: Verb, now: Instant) -> Option<User> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, until) = entries.get(&key(token, verb))?;
        (now < *until).then(|| user.clone())
    }

    pub(super) fn put(&self, token: &str, verb: Verb, user: User, now: Instant) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, (_, until)| now < *until);
        }
        if entries.len() < MAX_ENTRIES {
            entries.insert(key(token, verb), (user, now + LIFETIME));
        }
    }
}

fn key(token: &str, verb: Verb) -> Key {
    (Sha256::digest(token.as_bytes()).into(), verb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_is_remembered_for_its_verb_and_for_a_while() {
        let (cache, now) = (Cache::default(), Instant::now());
        cache.put("t", Verb::Get, User("alice".into()), now);
        assert_eq!(cache.get("t", Verb::Get, now), Some(User("alice".into())));
        assert_eq!(cache.get("t", Verb::Update, now), None);
        assert_eq!(cache.get("u", Verb::Get, now), None);
        assert_eq!(cache.get("t", Verb::Get, now + LIFETIME), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let (cache, now) = (Cache::default(), Instant::now());
        for nth in 0..=MAX_ENTRIES {
            cache.put(&nth.to_string(), Verb::Get, User("alice".into()), now);
        }
        assert_eq!(cache.entries.lock().unwrap().len(), MAX_ENTRIES);
        cache.put("later", Verb::Get, User("bob".into()), now + LIFETIME);
        assert_eq!(cache.entries.lock().unwrap().len(), 1);
    }
}
