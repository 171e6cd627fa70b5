//! Settings of the audit log: its destination, its format, and what it shows of object keys.

use std::fmt;
use std::path::PathBuf;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The settings of the audit log.
#[derive(Debug)]
pub(crate) struct AuditSettings {
    /// The destination of the records.
    pub(crate) sink: AuditSinkAddress,
    /// The format of a record.
    pub(crate) format: AuditFormat,
    /// The form of object keys in records.
    pub(crate) keys: KeyVisibility,
    /// The handling of requests whose record cannot be written.
    pub(crate) on_failure: AuditFailureMode,
}

/// The destination of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AuditSinkAddress {
    /// A file, to which records are appended.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// A Unix stream socket.
    Unix(PathBuf),
    /// A TCP server, as `HOST:PORT`.
    Tcp(String),
    /// The socket of the local syslog service.
    Syslog(PathBuf),
}

/// The format of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditFormat {
    /// One JSON object of this proxy.
    Json,
    /// An API Activity event of OCSF.
    Ocsf,
}

/// The handling of requests whose record cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditFailureMode {
    /// The request waits, and is rejected in the end.
    Block,
    /// The request is served, and the record is counted as dropped.
    Drop,
}

/// The form of object keys in records.
pub(crate) enum KeyVisibility {
    /// The whole key.
    Plain,
    /// The key up to its last slash.
    Prefix,
    /// The HMAC-SHA256 of the key, in hexadecimal digits.
    Hash(Hmac<Sha256>),
    /// Nothing.
    Hidden,
}

impl KeyVisibility {
    /// Returns the form that hashes keys with `secret`. The secret keeps keys that can be guessed
    /// from being recognized.
    pub(crate) fn hashed_with(secret: &str) -> Self {
        // Any length of a key is valid for HMAC.
        Hmac::new_from_slice(secret.as_bytes()).map_or(Self::Hidden, Self::Hash)
    }

    /// Returns the name of the form in the configuration.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Prefix => "prefix",
            Self::Hash(_) => "hash",
            Self::Hidden => "none",
        }
    }

    /// Returns the form of a key; `None` if nothing of it may be shown.
    pub(super) fn show(&self, key: &str) -> Option<String> {
        match self {
            Self::Plain => Some(key.to_owned()),
            Self::Prefix => Some(key.rfind('/').map_or(String::new(), |end| key[..=end].to_owned())),
            Self::Hash(keyed) => {
                let mut keyed = keyed.clone();
                keyed.update(key.as_bytes());
                Some(base16ct::lower::encode_string(&keyed.finalize().into_bytes()))
            }
            Self::Hidden => None,
        }
    }
}

impl AuditSinkAddress {
    /// Returns the greatest length in bytes of the permissions in one record. Syslog services accept
    /// messages of 8 KiB; other readers get lines that are still easy to handle.
    pub(super) fn record_part(&self) -> usize {
        match self {
            Self::Syslog(_) => 4 * 1024,
            Self::File(_) | Self::Stdout | Self::Unix(_) | Self::Tcp(_) => 32 * 1024,
        }
    }
}

impl fmt::Debug for KeyVisibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyVisibility").field(&self.as_str()).finish()
    }
}

impl fmt::Display for AuditSinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdout => f.write_str("standard output"),
            Self::Unix(path) | Self::Syslog(path) => write!(f, "the socket {}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KeyVisibility;

    #[test]
    fn keys_are_shown_as_far_as_the_setting_permits() {
        let rows = [
            (KeyVisibility::Plain, Some("a/b/c.txt")),
            (KeyVisibility::Prefix, Some("a/b/")),
            (KeyVisibility::Hidden, None),
            // printf 'a/b/c.txt' | openssl dgst -sha256 -hmac Jefe
            (
                KeyVisibility::hashed_with("Jefe"),
                Some("675f95f750ab711b1b71f216f3572c2251f5208c399a7d22d8e84aebc8ede7b2"),
            ),
        ];
        for (form, expected) in rows {
            assert_eq!(form.show("a/b/c.txt").as_deref(), expected, "{form:?}");
        }
        assert_eq!(KeyVisibility::Prefix.show("c.txt").as_deref(), Some(""));
        let secret = format!("{:?}", KeyVisibility::hashed_with("Jefe"));
        assert_eq!(secret, "KeyVisibility(\"hash\")");
    }
}
