//! Access key ids of Alibaba Cloud. No caller has such an id, so a client that sends one was
//! configured with a real key.

/// Returns whether an id is one of Alibaba Cloud: long-lived, of STS, or of a temporary user.
pub(crate) fn is_real_key_id(id: &str) -> bool {
    ["LTAI", "STS.", "TMP."].iter().any(|prefix| id.starts_with(prefix))
}

/// Returns the beginning of an id, by which its owner can recognize the key.
pub(crate) fn beginning_of_key_id(id: &str) -> String {
    id.chars().take(8).chain(['…']).collect()
}
