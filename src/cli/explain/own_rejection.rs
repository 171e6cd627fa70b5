//! Diagnoses errors of a proxy like this one that concern the identity of its client. Pure.

use std::fmt;

use super::clock_difference::ClockDifference;
use super::redact::printable;
use crate::caller::is_real_key_id;

/// The reason why a proxy has not identified its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OwnRejection {
    /// The access key id is of no caller.
    UnknownKey(String),
    /// The access key id is one of Alibaba Cloud.
    RealKey,
    /// No identity: the message.
    Unsigned(String),
    /// An identity of no caller: the message.
    NoIdentity(String),
    /// A part that the signature does not cover: the message.
    Uncovered(String),
    /// The clocks differ.
    Clock(ClockDifference),
    /// The day or the beginning of the signature does not fit to the time of the proxy, if that is
    /// known.
    OtherTime(Option<String>),
    /// A presigned URL, a key or a certificate has expired.
    Expired {
        /// The message.
        message: String,
        /// The end of its lifetime.
        end: Option<String>,
        /// The time of the proxy.
        server_time: Option<String>,
    },
    /// The signature cannot be read: the message.
    Malformed(String),
    /// The caller has reached one of its limits: the message.
    CallerLimit(String),
}

impl OwnRejection {
    /// Diagnoses the error with this `x-proxy-error` code. `of` returns the text of an element of
    /// the document by its name. Returns `None` for other errors.
    pub(super) fn diagnose(proxy_code: &str, of: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let shown = |name: &str| of(name).map(|text| shortened(text.trim()));
        let message = || shown("Message").unwrap_or_default();
        Some(match proxy_code {
            "no-identity" => match of("OSSAccessKeyId") {
                Some(id) if is_real_key_id(id.trim()) => Self::RealKey,
                Some(id) => Self::UnknownKey(shortened(id.trim())),
                None if of("EC").is_some_and(|number| number.trim() == UNSIGNED) => Self::Unsigned(message()),
                None => Self::NoIdentity(message()),
            },
            "bad-signature" => Self::Uncovered(message()),
            "clock-skew" if of("RequestTime").is_some() => {
                Self::Clock(ClockDifference::read(of, "the proxy"))
            }
            "clock-skew" => Self::OtherTime(shown("ServerTime")),
            "expired" => {
                Self::Expired { message: message(), end: shown("Expires"), server_time: shown("ServerTime") }
            }
            "malformed-signature" => Self::Malformed(message()),
            "caller-limit" => Self::CallerLimit(message()),
            _ => return None,
        })
    }
}

impl fmt::Display for OwnRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = || "unknown".to_owned();
        match self {
            Self::UnknownKey(id) => write!(
                f,
                "the access key id {id} is of no caller of the proxy, is revoked, or does not belong to the security token; `check` lists the ids of its callers"
            ),
            Self::RealKey => f.write_str(
                "the access key id is one of Alibaba Cloud; configure the client with a key that a caller of the proxy has",
            ),
            Self::NoIdentity(message) => f.write_str(message),
            Self::Unsigned(message) => write!(
                f,
                "{message}; if the client sends an identity, an intermediary removed it, or the listener does not accept that kind (identify)"
            ),
            Self::Uncovered(message) => write!(f, "{message}; an intermediary may have added the parameter"),
            Self::Clock(difference) => difference.fmt(f),
            Self::OtherTime(server_time) => write!(
                f,
                "the time of the signature does not fit to that of the proxy, which was {}; synchronise the clock of the client with NTP",
                server_time.clone().unwrap_or_else(unknown)
            ),
            Self::Expired { message, end, server_time } => {
                f.write_str(message)?;
                if let (Some(end), Some(server_time)) = (end, server_time) {
                    write!(f, " It ended at {end}, and the time of the proxy was {server_time}.")?;
                }
                f.write_str(" Presign a new URL, or obtain a new key or certificate")
            }
            Self::Malformed(message) => write!(
                f,
                "{message} The proxy accepts signatures V4 and V1 as the SDKs of OSS send them; an intermediary must not change them"
            ),
            Self::CallerLimit(message) => write!(
                f,
                "{message}; lower the concurrency of the client, or raise the `limits` of the caller"
            ),
        }
    }
}

/// The error number of a request without an identity.
const UNSIGNED: &str = "0003-00000905";

fn shortened(text: &str) -> String {
    printable(text.chars().take(300).collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::OwnRejection;

    /// A code, the elements of the document, and words of the cause.
    type RejectionRow<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

    #[test]
    fn each_rejection_of_a_client_has_a_cause() {
        const EARLY: &str = "2022-09-04T07:11:33.000Z";
        const LATE: &str = "2022-09-04T08:11:37.000Z";
        let rows: [RejectionRow<'_>; 13] = [
            ("no-identity", &[("OSSAccessKeyId", "team-a-9")], "id team-a-9 is of no caller"),
            ("no-identity", &[("OSSAccessKeyId", "LTAI5tReal")], "one of Alibaba Cloud"),
            ("no-identity", &[("Message", "not signed"), ("EC", "0003-00000905")], "not signed; if the"),
            ("no-identity", &[("Message", "the token is of no caller")], "the token is of no caller"),
            ("bad-signature", &[("Message", "no parameter acl")], "no parameter acl; an intermediary"),
            ("clock-skew", &[("RequestTime", EARLY), ("ServerTime", LATE)], "60 m behind that of the proxy"),
            ("clock-skew", &[("ServerTime", LATE)], "which was 2022-09-04T08:11:37.000Z"),
            (
                "expired",
                &[("Expires", EARLY), ("ServerTime", LATE)],
                "ended at 2022-09-04T07:11:33.000Z, and",
            ),
            ("expired", &[("Message", "The token is invalid.")], "The token is invalid. Presign"),
            ("malformed-signature", &[("Message", "AdditionalHeaders is empty.")], "is empty. The proxy"),
            ("caller-limit", &[("Message", "too many")], "raise the `limits`"),
            ("denied", &[], "-"),
            ("browser", &[], "-"),
        ];
        for (code, elements, words) in rows {
            let of = |wanted: &str| {
                let found = elements.iter().find(|(name, _)| *name == wanted);
                found.map(|(_, text)| (*text).to_owned())
            };
            let cause =
                OwnRejection::diagnose(code, of).map_or_else(|| "-".to_owned(), |cause| cause.to_string());
            assert!(cause.contains(words), "{code} {elements:?}: {cause}");
        }
    }
}
