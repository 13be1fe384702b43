//! A cache of bounded weight in two generations: what was not asked for while a generation filled is let go.

use core::hash::Hash;
use std::collections::HashMap;

/// Values by key, at most so much weight in all.
pub(crate) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    young_weight: usize,
    weight_max: usize,
}

impl<K: Eq + Hash + Clone, V: Clone> Cache<K, V> {
    /// A cache that holds at most about `weight_max`.
    pub(crate) fn new(weight_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), young_weight: 0, weight_max }
    }

    /// The value of a key; being asked for keeps it for another generation.
    pub(crate) fn find(&mut self, key: &K, weigh: impl Fn(&V) -> usize) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let value = self.old.remove(key)?;
        self.insert(key.clone(), value.clone(), weigh(&value));
        Some(value)
    }

    /// Keeps a value.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: usize) {
        if self.young_weight + weight > self.weight_max / 2 {
            self.old = core::mem::take(&mut self.young);
            self.young_weight = 0;
        }
        self.young_weight += weight;
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_is_bounded_and_what_is_asked_for_stays() {
        let mut cache = Cache::new(100);
        for key in 0..1000_u32 {
            cache.insert(key, key, 10);
            assert_eq!(cache.find(&0, |_| 10), Some(0));
            assert!(cache.young.len() + cache.old.len() <= 11);
        }
        assert_eq!(cache.find(&5, |_| 10), None);
    }
}
