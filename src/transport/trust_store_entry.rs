//! A trust store with the id by which destinations refer to it.

use super::tls::TrustStore;

/// The id of a trust store of a transport. Pooled connections are matched by it: in a
/// later transport with the same pool, an id refers to the same trust store or to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TrustStoreId(pub usize);

/// A trust store with its id.
#[derive(Clone)]
pub struct TrustStoreEntry {
    /// The id, by which destinations refer to the trust store.
    pub(crate) id: TrustStoreId,
    /// The trust store.
    pub(crate) store: TrustStore,
}
