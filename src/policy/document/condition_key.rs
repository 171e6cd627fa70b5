//! Condition keys of RAM documents.

use crate::policy::request_facts::RequestFacts;

/// A condition key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConditionKey {
    /// A key with a value that the proxy knows.
    Known(KnownKey),
    /// A key with a value that only OSS knows.
    OnlyOss,
}

/// A condition key with a value that the proxy knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KnownKey {
    /// `acs:SourceIp`: the address of the client.
    SourceIp,
    /// `acs:SecureTransport`: whether the client uses TLS.
    SecureTransport,
    /// `acs:CurrentTime`.
    CurrentTime,
    /// `acs:UserAgent`.
    UserAgent,
    /// `acs:AccessId`: the name of the caller.
    AccessId,
    /// `oss:Prefix`: the prefix of a listing.
    Prefix,
    /// `oss:Delimiter`: the delimiter of a listing.
    Delimiter,
    /// `oss:x-oss-acl`: the header.
    BucketAcl,
    /// `oss:x-oss-object-acl`: the header.
    ObjectAcl,
    /// `oss:RequestObjectTag/KEY`: the value of a tag in `x-oss-tagging`.
    RequestObjectTag(Box<str>),
}

/// The reason why a condition key is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidConditionKey {
    #[error("the condition key {0:?} is unknown; did you mean {1:?}?")]
    Unknown(String, &'static str),
    #[error("the condition key {0} needs the key of a tag: {0}/KEY")]
    NoTag(String),
    #[error(
        "the value of the condition key {0} is known only to OSS, so this proxy cannot decide; remove the condition"
    )]
    OnlyOss(String),
}

/// The class of values of a condition key, which determines its operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConditionValueKind {
    Text,
    Number,
    Date,
    Bool,
    Address,
    /// Any kind: OSS evaluates the test.
    Any,
}

impl ConditionKey {
    /// Parses a key. Keys that only OSS can evaluate need `session_policy`.
    pub(super) fn parse(text: &str, session_policy: bool) -> Result<Self, InvalidConditionKey> {
        let known = match text {
            "acs:SourceIp" => KnownKey::SourceIp,
            "acs:SecureTransport" => KnownKey::SecureTransport,
            "acs:CurrentTime" => KnownKey::CurrentTime,
            "acs:UserAgent" => KnownKey::UserAgent,
            "acs:AccessId" => KnownKey::AccessId,
            "oss:Prefix" => KnownKey::Prefix,
            "oss:Delimiter" => KnownKey::Delimiter,
            "oss:x-oss-acl" => KnownKey::BucketAcl,
            "oss:x-oss-object-acl" => KnownKey::ObjectAcl,
            _ => return Self::parse_other(text, session_policy),
        };
        Ok(Self::Known(known))
    }

    fn parse_other(text: &str, session_policy: bool) -> Result<Self, InvalidConditionKey> {
        let (name, tag) = text.split_once('/').map_or((text, None), |(name, tag)| (name, Some(tag)));
        let takes_tag = TAGGED.contains(&name);
        if takes_tag && tag.is_none_or(str::is_empty) {
            return Err(InvalidConditionKey::NoTag(name.to_owned()));
        }
        match tag {
            Some(tag) if name == REQUEST_TAG => Ok(Self::Known(KnownKey::RequestObjectTag(tag.into()))),
            _ if takes_tag || ONLY_OSS.contains(&text) => {
                if session_policy {
                    Ok(Self::OnlyOss)
                } else {
                    Err(InvalidConditionKey::OnlyOss(text.to_owned()))
                }
            }
            _ => Err(InvalidConditionKey::Unknown(text.to_owned(), nearest(text))),
        }
    }

    pub(super) fn values(&self) -> ConditionValueKind {
        match self {
            Self::OnlyOss => ConditionValueKind::Any,
            Self::Known(KnownKey::SourceIp) => ConditionValueKind::Address,
            Self::Known(KnownKey::SecureTransport) => ConditionValueKind::Bool,
            Self::Known(KnownKey::CurrentTime) => ConditionValueKind::Date,
            Self::Known(_) => ConditionValueKind::Text,
        }
    }
}

impl KnownKey {
    /// Returns whether the value depends on the operation and not only on the client and the time.
    pub(super) fn is_of_operation(&self) -> bool {
        match self {
            Self::Prefix
            | Self::Delimiter
            | Self::BucketAcl
            | Self::ObjectAcl
            | Self::RequestObjectTag(_) => true,
            Self::SourceIp | Self::SecureTransport | Self::CurrentTime | Self::UserAgent | Self::AccessId => {
                false
            }
        }
    }

    /// Returns the value of the key, if it is a text and the request has it.
    pub(super) fn text<'f>(&self, facts: &'f RequestFacts<'_>) -> Option<&'f str> {
        match self {
            Self::UserAgent => facts.user_agent,
            Self::AccessId => Some(facts.origin.caller),
            Self::Prefix => facts.prefix,
            Self::Delimiter => facts.delimiter,
            Self::BucketAcl => facts.bucket_acl,
            Self::ObjectAcl => facts.object_acl,
            Self::RequestObjectTag(wanted) => {
                facts.tags.iter().find(|tag| *tag.key == **wanted).map(|tag| &*tag.value)
            }
            Self::SourceIp | Self::SecureTransport | Self::CurrentTime => None,
        }
    }
}

fn nearest(text: &str) -> &'static str {
    let distance = |known: &&&str| strsim::damerau_levenshtein(known, text);
    KNOWN.iter().chain(&TAGGED).chain(&ONLY_OSS).min_by_key(distance).copied().unwrap_or_default()
}

const REQUEST_TAG: &str = "oss:RequestObjectTag";

const KNOWN: [&str; 9] = [
    "acs:SourceIp",
    "acs:SecureTransport",
    "acs:CurrentTime",
    "acs:UserAgent",
    "acs:AccessId",
    "oss:Prefix",
    "oss:Delimiter",
    "oss:x-oss-acl",
    "oss:x-oss-object-acl",
];

/// Keys that are followed by the key of a tag.
const TAGGED: [&str; 3] = [REQUEST_TAG, "oss:ExistingObjectTag", "oss:BucketTag"];

/// Keys with values that no request contains.
const ONLY_OSS: [&str; 6] = [
    "acs:SourceVpc",
    "acs:MFAPresent",
    "oss:object-remaining-retention-days",
    "oss:DataAccessPointArn",
    "oss:DataAccessPointAccount",
    "oss:AccessPointNetworkOrigin",
];
