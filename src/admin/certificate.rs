//! Listener certificates and the warning before they expire.

use crate::time::Timestamp;

/// The certificate of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenerCertificate {
    /// The address of the listener, as configured.
    pub(crate) listener: String,
    /// The time when it expires.
    pub(crate) expires: Timestamp,
}

impl ListenerCertificate {
    /// Returns a warning if the certificate has expired or expires soon.
    #[must_use]
    pub(crate) fn warning(&self, now: Timestamp) -> Option<String> {
        let Self { listener, expires } = self;
        let left_s = expires.unix_s() - now.unix_s();
        let state = match left_s {
            ..=0 => "expired at",
            1..WARN_WITHIN_S => "expires in less than 14 days, at",
            _ => return None,
        };
        Some(format!(
            "the certificate of the listener {listener} {state} {}; renew its cert_file",
            expires.rfc3339()
        ))
    }
}

/// Time before the expiry, in seconds, from which a certificate is reported.
const WARN_WITHIN_S: i64 = 14 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::{ListenerCertificate, Timestamp, WARN_WITHIN_S};

    #[test]
    fn a_certificate_is_warned_about_from_14_days_before_its_end() {
        let now = Timestamp::from_unix_s(1_700_000_000);
        for (left_s, words) in [
            (-1, Some("expired at 2023-11-14T22:13:19Z")),
            (0, Some("expired at")),
            (1, Some("expires in less than 14 days")),
            (WARN_WITHIN_S - 1, Some("expires in less than 14 days")),
            (WARN_WITHIN_S, None),
        ] {
            let expires = Timestamp::from_unix_s(now.unix_s() + left_s);
            let warning = ListenerCertificate { listener: "127.0.0.1:1".to_owned(), expires }.warning(now);
            match words {
                Some(words) => assert!(warning.expect("a warning").contains(words), "{left_s}"),
                None => assert_eq!(warning, None, "{left_s}"),
            }
        }
    }
}
