//! The public keys of token issuers, fetched over HTTP as JWK sets. The keys outlive a reload, and
//! are kept while an issuer does not respond.

mod issuer_keys;
mod key_request;
mod key_sets;

pub(crate) use issuer_keys::{IssuerKeys, KeySetStatus};
pub(crate) use key_request::KeySetConfig;
pub(crate) use key_sets::FetchedKeySets;
