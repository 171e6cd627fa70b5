//! A call to STS, before it is authenticated.

use zeroize::Zeroizing;

use crate::oss::encode_strict;

/// A call without its authentication.
pub(super) struct StsCall {
    pub(super) action: &'static str,
    pub(super) form: Zeroizing<Vec<u8>>,
    /// The form fields as name-value pairs, which RPC signs.
    pub(super) fields: Vec<(&'static str, Zeroizing<String>)>,
}

impl StsCall {
    pub(super) fn new(action: &'static str, fields: Vec<(&'static str, Zeroizing<String>)>) -> Self {
        // Percent-encoding makes at most three bytes of one. The buffer therefore never grows,
        // which would leave a copy of a secret behind.
        let room = fields.iter().map(|(name, value)| name.len() + 2 + 3 * value.len()).sum();
        let mut form = Zeroizing::new(String::with_capacity(room));
        for (name, value) in &fields {
            if !form.is_empty() {
                form.push('&');
            }
            form.push_str(name);
            form.push('=');
            encode_strict(value.as_bytes(), &mut form);
        }
        let form = Zeroizing::new(std::mem::take(&mut *form).into_bytes());
        Self { action, form, fields }
    }
}

/// The values that differ between two calls.
#[derive(Clone, Copy)]
pub(super) struct CallStamp<'a> {
    /// The time, as `2026-01-31T12:00:00Z`.
    pub(super) at: &'a str,
    pub(super) nonce: &'a str,
}

/// The content type of a call.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
/// The version of the STS API.
pub(super) const VERSION: &str = "2015-04-01";
