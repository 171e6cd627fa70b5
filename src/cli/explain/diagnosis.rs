//! Diagnoses errors of OSS that contain no signed text. OSS rejects clock, region, token and key
//! before it computes a signature ("Error responses", OSS API reference). Pure.

use std::fmt;

use super::super::refusal::{KnownRefusal, region_of};
use super::clock_difference::ClockDifference;
use super::own_rejection::OwnRejection;
use super::redact::printable;

/// The cause of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ServerDiagnosis {
    /// The clock of the signer differs from that of OSS.
    Clock(ClockDifference),
    /// The bucket is at another endpoint.
    OtherEndpoint(String),
    /// The V4 signature is for a region other than that of the endpoint.
    SigningRegion,
    /// A temporary key without its token, or with an expired one.
    TokenMissing,
    /// A token with a key that has none.
    TokenMisplaced,
    TokenExpired,
    TokenBroken,
    TokenMixed,
    UnknownKey,
    DisabledKey,
    NoDate,
    BadDate,
    UrlEnded,
    /// The endpoint, the account or the version of the signature was rejected.
    Known(KnownRefusal),
    /// The signature is valid, or absent.
    Denied,
    /// The response comes from a proxy like this one, and is about the request.
    Ours(String),
    /// The response comes from a proxy like this one, and is about the identity of its client.
    OurClient(OwnRejection),
    /// The response comes from a proxy like this one, and is about its connection to OSS.
    OurUpstream(String),
}

impl ServerDiagnosis {
    /// Diagnoses the error with this code. `of` returns the text of an element of the document by
    /// its name.
    pub(super) fn diagnose(code: &str, of: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let number = of("EC").unwrap_or_default();
        let is_temporary = of("OSSAccessKeyId").is_some_and(|id| id.trim().starts_with("STS."));
        if of("HostId").is_some_and(|host| host.trim() == OURS) {
            let proxy_code = of("ProxyError").unwrap_or_default();
            if let Some(rejection) = OwnRejection::diagnose(proxy_code.trim(), &of) {
                return Some(Self::OurClient(rejection));
            }
            let message = shortened(&of("Message").unwrap_or_default());
            let is_upstream = matches!(code, "BadGateway" | "GatewayTimeout");
            return Some(if is_upstream { Self::OurUpstream(message) } else { Self::Ours(message) });
        }
        if let Some(known) = KnownRefusal::find(code, Some(number.trim()), &of("Message").unwrap_or_default())
        {
            return Some(Self::Known(known));
        }
        Some(match (code, number.trim()) {
            (_, "0002-00000226") => Self::SigningRegion,
            (_, "0002-00000503") => Self::NoDate,
            (_, "0002-00000502") => Self::BadDate,
            ("RequestTimeTooSkewed", _) => Self::Clock(ClockDifference::read(&of, "OSS")),
            ("SecurityTokenExpired", _) | (_, "0002-00000007") => Self::TokenExpired,
            ("InvalidSecurityToken", _) => Self::TokenBroken,
            ("AccessKeyIdAndSecurityTokenNotMatch", _) => Self::TokenMixed,
            ("InvalidAccessKeyId", "0002-00000904") => Self::DisabledKey,
            ("InvalidAccessKeyId", _) if is_temporary => Self::TokenMissing,
            ("InvalidAccessKeyId", "0002-00000002") => Self::TokenMisplaced,
            ("InvalidAccessKeyId", _) => Self::UnknownKey,
            ("AccessDenied", _) => match (of("Endpoint"), of("Expires")) {
                (Some(endpoint), _) => Self::OtherEndpoint(shortened(endpoint.trim())),
                (None, Some(_)) => Self::UrlEnded,
                (None, None) => Self::Denied,
            },
            _ => return None,
        })
    }

    /// Returns whether the response comes from a proxy like this one.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(_) | Self::OurClient(_) | Self::OurUpstream(_))
    }
}

impl fmt::Display for ServerDiagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Clock(difference) => return difference.fmt(f),
            Self::OurClient(rejection) => {
                return write!(f, "the response is from a proxy like this one, not from OSS: {rejection}");
            }
            Self::OtherEndpoint(endpoint) => return write_endpoint(endpoint, f),
            Self::Known(known) => return write!(f, "{}; {}", known.cause(), known.remedy()),
            Self::Ours(message) => {
                return write!(
                    f,
                    "the response is from a proxy like this one, not from OSS: {message}; explain the request without --server-error"
                );
            }
            Self::OurUpstream(message) => {
                return write!(
                    f,
                    "the response is from a proxy like this one, not from OSS: {message}; run doctor, which checks each step of that request"
                );
            }
            Self::SigningRegion => {
                "the region: the request was signed for a region other than that of the endpoint; set `region` to that of the bucket"
            }
            Self::TokenMissing => {
                "the security token is missing or has expired: the key is temporary; set id, secret and token from one STS response"
            }
            Self::TokenMisplaced => {
                "unexpected security token: it was sent with a long-lived key; remove it, or set the id that belongs to it"
            }
            Self::TokenExpired => {
                "the security token has expired: set a fresh id, secret and token, or use a provider that refreshes them (assume_role, oidc, ecs)"
            }
            Self::TokenBroken => {
                "the security token is malformed: truncated, or with extra characters; copy it completely"
            }
            Self::TokenMixed => {
                "the security token belongs to another key: set id, secret and token from one STS response"
            }
            Self::UnknownKey => {
                "the access key id: OSS does not know it; it is mistyped or deleted, or belongs to another cloud (cn or intl)"
            }
            Self::DisabledKey => "the access key is disabled; enable it in RAM, or use another",
            Self::NoDate => {
                "the date: neither x-oss-date nor Date arrived; an intermediary dropped it, or the client signed without one"
            }
            Self::BadDate => {
                "the date: its format is invalid; an intermediary rewrote it, or the client signed with it"
            }
            Self::UrlEnded => "the presigned URL has expired; generate a new one",
            Self::Denied => {
                "permissions: no invalid signature was found; the policy of the user, the role or the bucket denies access, or the request was unsigned"
            }
        };
        f.write_str(text)
    }
}

fn write_endpoint(endpoint: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "the region: the bucket belongs to {endpoint}")?;
    match region_of(endpoint) {
        Some(region) => write!(
            f,
            "; set `region` to \"{region}\" (--region {region}) or, if it already is, `endpoint` to {endpoint}"
        ),
        None => f.write_str("; set `endpoint` to it"),
    }
}

fn shortened(text: &str) -> String {
    printable(text.chars().take(TEXT_MAX).collect::<String>().as_bytes())
}

/// The HostId in error responses of this proxy.
pub(super) const OURS: &str = "oss-signing-proxy";
/// The longest text that is shown, in characters.
const TEXT_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::ServerDiagnosis;

    type Elements<'a> = &'a [(&'a str, &'a str)];

    fn told(code: &str, elements: Elements<'_>) -> String {
        let of = |wanted: &str| {
            let found = elements.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, text)| (*text).to_owned())
        };
        ServerDiagnosis::diagnose(code, of).map_or_else(|| "-".to_owned(), |diagnosis| diagnosis.to_string())
    }

    #[test]
    fn what_is_refused_before_the_signature_is_named() {
        const EARLY: &str = "2022-09-04T07:11:33.000Z";
        const LATE: &str = "2022-09-04T08:11:37.000Z";
        let rows: [(&str, Elements<'_>, &str); 34] = [
            ("RequestTimeTooSkewed", &[("RequestTime", EARLY), ("ServerTime", LATE)], "60 m behind"),
            (
                "RequestTimeTooSkewed",
                &[("RequestTime", "2022-09-07T07:11:33.000Z"), ("ServerTime", LATE)],
                "2 days ahead of",
            ),
            ("RequestTimeTooSkewed", &[("ServerTime", "soon")], "more than 15 minutes"),
            ("AccessDenied", &[("Endpoint", "oss-cn-beijing.aliyuncs.com")], "--region cn-beijing"),
            (
                "AccessDenied",
                &[("Endpoint", "oss-cn-beijing-internal.aliyuncs.com")],
                "`endpoint` to oss-cn-beijing-internal.aliyuncs.com",
            ),
            (
                "AccessDenied",
                &[("Endpoint", "oss-cn-hzfinance.aliyuncs.com")],
                "--region cn-hangzhou-finance",
            ),
            ("AccessDenied", &[("Endpoint", "cn-beijing.oss.aliyuncs.com")], "--region cn-beijing"),
            ("AccessDenied", &[("Endpoint", "img.example.com")], "set `endpoint`"),
            ("SecondLevelDomainForbidden", &[], "set addressing = \"virtual\""),
            ("PublicEndpointForbidden", &[], "internal = true"),
            ("PublicEndpointForbidden", &[("EC", "0048-00000401")], "addressing = \"cname\""),
            ("AccessDenied", &[("EC", "0048-00000401")], "more permissions do not help"),
            ("UserDisable", &[], "pay the overdue balance of the account, or follow the security notice"),
            ("UserDisable", &[("EC", "0003-00000801")], "is disabled"),
            ("UserDisable", &[("EC", "0003-00000806")], "has overdue payments; pay the overdue balance"),
            ("AccessDenied", &[("EC", " 0003-00000806 ")], "has overdue payments"),
            ("Account.Arrearage", &[], "has overdue payments"),
            ("OverduePayment", &[], "has overdue payments"),
            ("AccessDenied", &[("Expires", LATE)], "signed URL"),
            ("AccessDenied", &[("EC", "0002-00000503")], "neither x-oss-date"),
            ("AccessDenied", &[("EC", "0003-00000001")], "permissions: "),
            ("InvalidArgument", &[("EC", "0002-00000226")], "the region"),
            ("InvalidAccessKeyId", &[("OSSAccessKeyId", "STS.abc")], "token is missing"),
            (
                "InvalidAccessKeyId",
                &[("OSSAccessKeyId", "LTAIx"), ("EC", "0002-00000002")],
                "with a long-lived",
            ),
            (
                "InvalidAccessKeyId",
                &[("OSSAccessKeyId", "LTAIx"), ("EC", "0002-00000902")],
                "does not know it",
            ),
            ("Forbidden", &[("EC", "0002-00000080")], "rejects V1"),
            ("InvalidArgument", &[("EC", "0002-00000034")], "only V4; set signature = \"v4\""),
            ("AccessDenied", &[("Message", "OSS no longer supports V1 signatures.")], "rejects V1"),
            ("InvalidArgument", &[("Message", "Only V4 is allowed as signature version.")], "rejects V1"),
            ("AccessDenied", &[("Message", "You have no right to access this object v1.")], "permissions: "),
            (
                "MisdirectedRequest",
                &[("HostId", "oss-signing-proxy"), ("Message", "the host is not served")],
                "explain the request without",
            ),
            (
                "BadGateway",
                &[("HostId", "oss-signing-proxy"), ("Message", "it ended")],
                "it ended; run doctor",
            ),
            ("GatewayTimeout", &[("HostId", "oss-signing-proxy"), ("Message", "late")], "late; run doctor"),
            ("NoSuchKey", &[], "-"),
        ];
        for (code, elements, words) in rows {
            let told = told(code, elements);
            assert!(told.contains(words), "{code} {elements:?}: {told}");
        }
    }
}
