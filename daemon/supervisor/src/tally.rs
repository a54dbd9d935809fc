//! Counts what is under way, per key and in all, so that no one caller can have more of agentd
//! than its share.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// A count of what is under way. Cheap to clone; clones share the count.
#[derive(Debug)]
pub(crate) struct Tally<K> {
    most_of_one: usize,
    most: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

/// One thing that is under way; over when dropped.
#[derive(Debug)]
pub(crate) struct Share<K: Eq + Hash> {
    key: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K> Clone for Tally<K> {
    fn clone(&self) -> Self {
        Self { most_of_one: self.most_of_one, most: self.most, taken: Arc::clone(&self.taken) }
    }
}

impl<K: Clone + Eq + Hash> Tally<K> {
    /// At most `most` at a time, and at most `most_of_one` of them under one key.
    pub(crate) fn new(most_of_one: usize, most: usize) -> Self {
        Self { most_of_one, most, taken: Arc::default() }
    }

    /// Begins one more under `key`, unless that is too many.
    pub(crate) fn take(&self, key: K) -> Option<Share<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&key).copied().unwrap_or(0);
        if own >= self.most_of_one || all >= self.most {
            return None;
        }
        taken.insert(key.clone(), own + 1);
        Some(Share { key, taken: Arc::clone(&self.taken) })
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_more_than_its_share_and_what_is_dropped_is_free_again() {
        let tally = Tally::new(2, 3);
        let first = tally.take("a").unwrap();
        let _second = tally.take("a").unwrap();
        assert!(tally.take("a").is_none(), "two of one key");
        let _third = tally.clone().take("b").unwrap();
        assert!(tally.take("c").is_none(), "three in all");
        drop(first);
        assert!(tally.take("c").is_some());
        assert_eq!(
            tally.taken.lock().unwrap().len(),
            2,
            "a key with nothing under way is forgotten"
        );
    }
}
