//! What the identification of a client depends on, besides its request.

use super::connection_peer::ConnectionPeer;
use super::derived_keys::DerivedKeys;
use super::directory::CallerDirectory;
use super::jwt_key_set::JwtKeySource;
use super::settings::IdentityKinds;
use super::signature_clock::SignatureClock;
use super::verified_tokens::VerifiedTokens;
use crate::oss::SigningProduct;
use crate::time::Timestamp;

/// The callers, and the settings and the state with which their requests are verified.
#[derive(Clone, Copy)]
pub(crate) struct IdentityContext<'a> {
    /// All callers.
    pub(crate) directory: &'a CallerDirectory,
    /// The kinds of identity that the listener accepts.
    pub(crate) kinds: IdentityKinds,
    /// The peer of the connection.
    pub(crate) peer: &'a ConnectionPeer,
    /// The product of the upstream, in addition to OSS.
    pub(crate) product: SigningProduct,
    /// The derived keys of the worker.
    pub(crate) keys: &'a DerivedKeys,
    /// The verified tokens of the worker.
    pub(crate) verified_tokens: &'a VerifiedTokens,
    /// The keys of issuers whose keys are fetched.
    pub(crate) jwt_keys: &'a dyn JwtKeySource,
    /// The current time, corrected by OSS, for the times that clients sign.
    pub(crate) signature_clock: &'a dyn SignatureClock,
    /// The current time of the clock of the proxy, for the lifetimes of tokens, handed-out keys and
    /// certificates. No upstream can move it.
    pub(crate) clock_now: Timestamp,
}
