//! A bounded cache of a worker: most requests share a few values.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// A cache that never holds more than `LIMIT` entries and evicts the oldest insertion.
///
/// A lookup compares the entries one by one, the newest first, and allocates nothing. For the few
/// entries of a worker that costs less than building a key and hashing it.
pub(super) struct LimitedCache<K, V, const LIMIT: usize>(RefCell<VecDeque<(K, Rc<V>)>>);

impl<K, V, const LIMIT: usize> LimitedCache<K, V, LIMIT> {
    /// Returns the value of the first entry whose key is the wanted one.
    pub(super) fn get(&self, is_wanted: impl Fn(&K) -> bool) -> Option<Rc<V>> {
        let entries = self.0.borrow();
        entries.iter().find(|(key, _)| is_wanted(key)).map(|(_, value)| Rc::clone(value))
    }

    /// Adds an entry, after [`LimitedCache::get`] has found none, and returns its value.
    pub(super) fn insert(&self, key: K, value: V) -> Rc<V> {
        let value = Rc::new(value);
        let mut entries = self.0.borrow_mut();
        entries.truncate(LIMIT - 1);
        entries.push_front((key, Rc::clone(&value)));
        value
    }
}

impl<K, V, const LIMIT: usize> Default for LimitedCache<K, V, LIMIT> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

#[cfg(test)]
mod tests {
    use super::LimitedCache;

    #[test]
    fn a_full_cache_evicts_the_oldest_insertion_even_after_a_hit() {
        let cache = LimitedCache::<u8, u8, 3>::default();
        let get = |wanted| cache.get(|key| *key == wanted).map(|value| *value);
        for key in 1..=3 {
            assert_eq!(*cache.insert(key, 10 * key), 10 * key);
        }
        assert_eq!(get(1), Some(10));
        cache.insert(4, 40);
        assert_eq!([1, 2, 3, 4].map(get), [None, Some(20), Some(30), Some(40)]);
    }
}
