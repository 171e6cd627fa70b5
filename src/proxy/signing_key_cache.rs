//! The signing keys of a worker, derived once for each combination of credentials, signature
//! version, day and region.

use std::rc::Rc;
use std::sync::Arc;

use super::limited_cache::LimitedCache;
use super::signing::{SigningKeyError, derive_key, signing_scheme};
use crate::address::ResolvedEndpoint;
use crate::credentials::Credentials;
use crate::oss::Region;
use crate::sign::{SignatureVersion, SigningKey, SigningScheme, SigningTime};
use crate::time::UtcDay;

/// A cache of signing keys.
#[derive(Default)]
pub(super) struct SigningKeyCache(LimitedCache<SigningKeyOrigin, SigningKey, ENTRIES_MAX>);

/// The input that a signing key is derived from.
struct SigningKeyOrigin {
    credentials: Arc<Credentials>,
    scope: KeyScope,
}

#[derive(PartialEq, Eq)]
enum KeyScope {
    V4(UtcDay, Region),
    V1,
}

impl SigningKeyCache {
    /// Returns the key that signs requests to an endpoint at `now`, as [`super::signing_key`] does.
    /// Derives it on a miss.
    pub(super) fn get(
        &self,
        credentials: &Arc<Credentials>,
        version: SignatureVersion,
        endpoint: &ResolvedEndpoint,
        now: &SigningTime,
    ) -> Result<Rc<SigningKey>, SigningKeyError> {
        let wanted = signing_scheme(version, endpoint, now)?;
        if let Some(prepared) = self.0.get(|origin| origin.serves(credentials, &wanted)) {
            return Ok(prepared);
        }
        let prepared = derive_key(credentials, wanted)?;
        let scope = match wanted {
            SigningScheme::V4 { day, region } => KeyScope::V4(day, region.clone()),
            SigningScheme::V1 => KeyScope::V1,
        };
        let origin = SigningKeyOrigin { credentials: Arc::clone(credentials), scope };
        Ok(self.0.insert(origin, prepared))
    }
}

impl SigningKeyOrigin {
    fn serves(&self, credentials: &Arc<Credentials>, wanted: &SigningScheme<'_>) -> bool {
        let same_scope = match (&self.scope, wanted) {
            (KeyScope::V4(day, region), SigningScheme::V4 { day: wanted_day, region: wanted_region }) => {
                day == wanted_day && region == *wanted_region
            }
            (KeyScope::V1, SigningScheme::V1) => true,
            (KeyScope::V4(..), SigningScheme::V1) | (KeyScope::V1, SigningScheme::V4 { .. }) => false,
        };
        same_scope && Arc::ptr_eq(&self.credentials, credentials)
    }
}

/// The capacity of the cache: a few regions and credentials at a time, on the days before and after
/// midnight.
const ENTRIES_MAX: usize = 64;
