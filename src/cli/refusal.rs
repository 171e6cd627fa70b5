//! Errors of OSS that show their cause. Neither another key nor a policy resolves them ("Error
//! responses" and the EC pages of the OSS documentation). Pure.
//!
//! Two of them are recognised by text, because OSS documents no code that identifies them: overdue
//! payments by a part of the code, and a rejection of V1 by the message.

use super::exit::CommandExit;
use crate::address::OssName;
use crate::oss::Region;

/// An error of OSS about the endpoint, the account or the version of the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownRefusal {
    /// The bucket is in the path, where it must be in the host.
    PathStyle,
    /// The account may not use default public names.
    PublicEndpoint,
    /// The account is disabled.
    AccountDisabled,
    /// The account has overdue payments.
    Arrears,
    /// V1 is not accepted.
    OnlyV4,
}

impl KnownRefusal {
    /// Returns the error with this code, this number (EC) and this message.
    pub(super) fn find(code: &str, number: Option<&str>, message: &str) -> Option<Self> {
        let lower = code.to_ascii_lowercase();
        Some(match (code, number) {
            ("SecondLevelDomainForbidden", _) => Self::PathStyle,
            ("PublicEndpointForbidden", _) | (_, Some("0048-00000401")) => Self::PublicEndpoint,
            (_, Some("0003-00000806")) => Self::Arrears,
            _ if lower.contains("arrear") || lower.contains("overdue") => Self::Arrears,
            ("UserDisable", _) => Self::AccountDisabled,
            // The second number is that of a CloudBox.
            (_, Some("0002-00000080" | "0002-00000034")) => Self::OnlyV4,
            _ if rejects_v1(message) => Self::OnlyV4,
            _ => return None,
        })
    }

    pub(super) fn exit(self) -> CommandExit {
        match self {
            Self::PathStyle | Self::PublicEndpoint | Self::OnlyV4 => CommandExit::Config,
            Self::AccountDisabled | Self::Arrears => CommandExit::Credentials,
        }
    }

    /// Returns the cause.
    pub(super) fn cause(self) -> &'static str {
        match self {
            Self::PathStyle => "the bucket is in the path, but this endpoint accepts it only in the host",
            Self::PublicEndpoint => {
                "the endpoint: since 2025-03-20 OSS rejects data operations of new accounts on its default public names, for buckets in mainland regions"
            }
            Self::AccountDisabled => {
                "the account that owns the bucket or the key is disabled, because of overdue payments or a security issue"
            }
            Self::Arrears => "the account has overdue payments",
            Self::OnlyV4 => {
                "the signature version: OSS rejects V1 for this account or bucket, and accepts only V4"
            }
        }
    }

    /// Returns the remedy.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::PathStyle => {
                "set addressing = \"virtual\", with an endpoint under the domain of OSS; a client that connects to OSS directly must use the host BUCKET.ENDPOINT"
            }
            Self::PublicEndpoint => {
                "inside Alibaba Cloud use the internal endpoint (internal = true); elsewhere bind a domain to the bucket, and add a [[route]] with `bucket`, `region`, the domain as `endpoint` and addressing = \"cname\"; more permissions do not help"
            }
            Self::AccountDisabled => {
                "pay the overdue balance of the account, or follow the security notice in its console; other keys or more permissions do not help"
            }
            Self::Arrears => {
                "pay the overdue balance of the account, then retry; other keys or more permissions do not help"
            }
            Self::OnlyV4 => "set signature = \"v4\" and `region`",
        }
    }
}

/// Returns whether a message says that V1 is not accepted. The numbers of such errors are
/// documented as unstable.
fn rejects_v1(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let is_about_version = message.contains("signature") || message.contains("signing");
    is_about_version
        && (message.contains("only v4")
            || message.contains("v1")
                && ["support", "no longer", "forbidden"].iter().any(|word| message.contains(word)))
}

/// Returns the region that an endpoint of OSS names.
pub(super) fn region_of(endpoint: &str) -> Option<Region> {
    OssName::parse(endpoint).and_then(|name| name.oss_endpoint.region().cloned())
}
