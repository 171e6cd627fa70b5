//! The build order of sources: each after the source it needs, otherwise in configuration order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// A queue of the sources that can be built. Reporting a source as built releases the sources that
/// need it.
///
/// The order is that of repeated passes over the configuration, each of which builds what it can.
/// The order decides under which of several names a source runs. Each source is visited once,
/// however long a chain of roles is.
pub(super) struct BuildOrder<'a> {
    /// Sources that can be built now, each as its pass and index.
    ready: BinaryHeap<Reverse<(usize, usize)>>,
    /// Sources whose needed source is not built yet, by the name of the needed source.
    waiting: HashMap<&'a str, Vec<usize>>,
    /// Pass and index of the source that was returned last.
    current: (usize, usize),
}

impl<'a> BuildOrder<'a> {
    /// Creates the order for sources that each need the source of this name, if any.
    pub(super) fn new(needs: impl Iterator<Item = Option<&'a str>>) -> Self {
        let mut ready = BinaryHeap::new();
        let mut waiting = HashMap::<_, Vec<_>>::new();
        for (index, needed) in needs.enumerate() {
            match needed {
                Some(name) => waiting.entry(name).or_default().push(index),
                None => ready.push(Reverse((0, index))),
            }
        }
        Self { ready, waiting, current: (0, 0) }
    }

    /// Returns the index of the source to build next; `None` if the others need a missing source.
    pub(super) fn next(&mut self) -> Option<usize> {
        let Reverse(next) = self.ready.pop()?;
        self.current = next;
        Some(next.1)
    }

    /// Records that the source returned last is built under this name.
    pub(super) fn built(&mut self, name: &str) {
        let (pass, built) = self.current;
        for index in self.waiting.remove(name).into_iter().flatten() {
            // The current pass is already past the sources before it.
            let pass = if index > built { pass } else { pass + 1 };
            self.ready.push(Reverse((pass, index)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BuildOrder;

    /// Returns the order for sources, each with its name and the name of the source it needs.
    fn order(sources: &[(&str, Option<&str>)]) -> String {
        let mut order = BuildOrder::new(sources.iter().map(|(_, needed)| *needed));
        let mut names = Vec::new();
        while let Some(index) = order.next() {
            names.push(sources[index].0);
            order.built(sources[index].0);
        }
        names.join(" ")
    }

    #[test]
    fn a_source_is_built_after_the_one_it_needs_and_otherwise_in_the_order_of_the_file() {
        assert_eq!(order(&[("a", None), ("b", Some("a")), ("c", None), ("d", Some("b"))]), "a b c d");
        assert_eq!(order(&[("a", Some("b")), ("b", Some("c")), ("c", None), ("d", None)]), "c d b a");
        assert_eq!(order(&[("a", Some("c")), ("b", Some("c")), ("c", None), ("d", Some("c"))]), "c d a b");
        assert_eq!(order(&[("a", Some("d")), ("b", None), ("c", Some("a")), ("d", Some("b"))]), "b d a c");
    }

    #[test]
    fn sources_in_a_circle_and_those_that_need_nothing_known_are_left_out() {
        assert_eq!(order(&[("a", Some("b")), ("b", Some("a")), ("c", None), ("d", Some("x"))]), "c");
        assert_eq!(order(&[("a", Some("a"))]), "");
    }
}
