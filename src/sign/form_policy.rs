//! The policy that the proxy signs for a form upload ("PostObject", OSS API reference). It fixes the
//! value of each field, so that OSS accepts the form only as it was judged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::time::Timestamp;

/// The policy of a form upload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormPolicy<'a> {
    /// The end of its validity.
    pub(crate) expiration: Timestamp,
    /// The bucket.
    pub(crate) bucket: &'a str,
    /// The fields of the form, without those of the signature.
    pub(crate) fields: &'a [(String, String)],
    /// The least and the greatest length of the file.
    pub(crate) length_range: Option<(u64, u64)>,
}

impl FormPolicy<'_> {
    /// Returns the text of the field `policy`. `signing` are the fields of the signature.
    pub(super) fn to_text(self, signing: &[(&'static str, String)]) -> String {
        let equal = |name: &str, value: &str| json!(["eq", format!("${name}"), value]);
        let mut conditions = vec![json!({ "bucket": self.bucket })];
        let named = self.fields.iter().filter(|(name, _)| has_condition(name));
        conditions.extend(named.map(|(name, value)| equal(name, value)));
        conditions.extend(signing.iter().map(|(name, value)| equal(name, value)));
        if let Some((least, greatest)) = self.length_range {
            conditions.push(json!(["content-length-range", least, greatest]));
        }
        let expiration = self.expiration.iso_extended();
        let document: Value = json!({ "expiration": expiration, "conditions": conditions });
        STANDARD.encode(document.to_string())
    }
}

/// Returns whether OSS documents conditions on a field.
fn has_condition(name: &str) -> bool {
    const NAMES: [&str; 5] =
        ["key", "content-type", "cache-control", "success_action_redirect", "success_action_status"];
    NAMES.contains(&name) || name.starts_with("x-oss-")
}
