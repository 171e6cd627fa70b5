//! Validated names: buckets, regions, and the product that a signature is for.

use std::borrow::Cow;
use std::fmt;

/// A bucket name: 3 to 63 of `a-z 0-9 -`, beginning and ending with a letter or digit ("Bucket
/// naming conventions"). Old buckets may also contain `_`. Full names of bucket spaces may be
/// longer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(Box<str>);

/// An invalid bucket name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidBucket {
    /// The text violates the naming rules.
    #[error(
        "invalid bucket name {0:?}: must be 3 to 63 lower-case letters, digits, hyphens and underscores, beginning and ending with a letter or digit"
    )]
    Form(String),
    /// The text is the alias of a bucket space, which does not contain the account that a signature
    /// needs.
    #[error(
        "{0:?} is the alias of a bucket space, and signatures require the full name; write SPACE-ACCOUNT-REGION-{1}"
    )]
    Alias(String, &'static str),
}

/// A region id such as `cn-hangzhou`, without `oss-` and `-internal`. For a CloudBox it is the
/// CloudBox id, `cb-…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Region(Box<str>);

/// An invalid region id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "invalid region ID {0:?}: use lower-case letters, digits and hyphens, without oss- and -internal, such as cn-hangzhou"
)]
pub struct InvalidRegion(pub(crate) String);

/// The product that a V4 signature is scoped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SigningProduct {
    /// The public OSS service.
    Oss,
    /// A CloudBox on the customer's premises.
    CloudBox,
}

impl Bucket {
    /// Parses a bucket name.
    ///
    /// # Errors
    /// [`InvalidBucket`] with the text.
    pub fn parse(name: &str) -> Result<Self, InvalidBucket> {
        let kind = SPACE_KINDS
            .iter()
            .find(|kind| name.strip_suffix(**kind).is_some_and(|rest| rest.ends_with("-alias-")));
        if let Some(kind) = kind {
            return Err(InvalidBucket::Alias(name.to_owned(), kind));
        }
        let fits = match name.len() {
            3..=LABEL_MAX => true,
            _ => space_alias(name).is_some_and(|alias| alias.len() <= LABEL_MAX),
        };
        if fits && is_label(name, b"-_") {
            Ok(Self(name.into()))
        } else {
            Err(InvalidBucket::Form(name.to_owned()))
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the label before an endpoint: the name, or the alias of a bucket space whose name is
    /// too long for a label.
    #[must_use]
    pub(crate) fn host_label(&self) -> Cow<'_, str> {
        if self.0.len() <= LABEL_MAX {
            return Cow::Borrowed(&self.0);
        }
        space_alias(&self.0).map_or(Cow::Borrowed(&self.0), Cow::Owned)
    }
}

impl Region {
    /// Parses a region id.
    ///
    /// # Errors
    /// [`InvalidRegion`] with the text.
    pub fn parse(id: &str) -> Result<Self, InvalidRegion> {
        let plain = !id.starts_with("oss-") && !id.ends_with("-internal");
        if plain && id.len() <= LABEL_MAX && is_label(id, b"-") {
            Ok(Self(id.into()))
        } else {
            Err(InvalidRegion(id.to_owned()))
        }
    }

    /// Returns the id.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the product that requests to this region are signed for.
    #[must_use]
    pub(crate) fn product(&self) -> SigningProduct {
        if self.0.starts_with("cb-") { SigningProduct::CloudBox } else { SigningProduct::Oss }
    }
}

impl SigningProduct {
    /// Returns the name of the product in the scope of a signature.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Oss => "oss",
            Self::CloudBox => "oss-cloudbox",
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns whether `text` consists of lower-case letters, digits and `inner`, and begins and ends
/// with a letter or digit.
fn is_label(text: &str, inner: &[u8]) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || inner.contains(b))
}

/// Returns the alias in a host, `SPACE-alias-bs-apsr`, for a full name
/// `SPACE-ACCOUNT-REGION-bs-apsr`. The same holds for agentic buckets.
fn space_alias(name: &str) -> Option<String> {
    let (front, kind) =
        SPACE_KINDS.iter().find_map(|kind| Some((name.strip_suffix(kind)?.strip_suffix('-')?, kind)))?;
    let is_account = |part: &str| part.len() >= ACCOUNT_MIN && part.bytes().all(|b| b.is_ascii_digit());
    let (at, _) = front.rmatch_indices('-').find(|(at, _)| {
        front[at + 1..]
            .split_once('-')
            .is_some_and(|(account, region)| is_account(account) && !region.is_empty())
    })?;
    Some([&front[..at], "-alias-", kind].concat())
}

/// The maximum length of a host label.
const LABEL_MAX: usize = 63;

/// The suffixes of the full names of bucket spaces and of the agentic buckets around them.
const SPACE_KINDS: [&str; 2] = ["bs-apsr", "ab-apsr"];

/// The minimum length of an account id; shorter numbers may belong to a region.
const ACCOUNT_MIN: usize = 6;

#[cfg(test)]
mod tests {
    use super::{Bucket, Region, SigningProduct};

    #[test]
    fn bucket_names_follow_the_published_rule() {
        for good in ["abc", "a-1", "a_b", "0ab", &"a".repeat(63)] {
            assert!(Bucket::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "Abc", "_abc", "abc_", "-abc", "abc-", "a.bc", "ab c", &"a".repeat(64)] {
            assert!(Bucket::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bucket_space_has_a_long_name_and_an_alias_in_the_host() {
        for (space, rest, alias) in [
            (26, "-1234567890123456-cn-hangzhou-bs-apsr", None),
            (27, "-1234567890123456-cn-hangzhou-bs-apsr", Some("-alias-bs-apsr")),
            (49, "-123456-us-west-1-ab-apsr", Some("-alias-ab-apsr")),
            (27, "-7-1234567890123456-us-west-1-ab-apsr", Some("-7-alias-ab-apsr")),
        ] {
            let space = "a".repeat(space);
            let name = format!("{space}{rest}");
            let bucket = Bucket::parse(&name).expect("a bucket");
            let label = alias.map_or_else(|| name.clone(), |alias| format!("{space}{alias}"));
            assert_eq!((bucket.as_str(), &*bucket.host_label()), (&*name, &*label));
        }
        for rest in ["-1234567890123456-cn-hangzhou-xs-apsr", "-1234-cn-hangzhou-bs-apsr", "-bs-apsr"] {
            assert!(Bucket::parse(&format!("{}{rest}", "a".repeat(60))).is_err(), "{rest}");
        }
        assert!(Bucket::parse(&format!("{}-123456-cn-hangzhou-bs-apsr", "a".repeat(50))).is_err());
    }

    #[test]
    fn the_alias_of_a_bucket_space_is_rejected_by_name() {
        for (alias, full) in
            [("my-space-alias-bs-apsr", "-REGION-bs-apsr"), ("a-alias-ab-apsr", "-REGION-ab-apsr")]
        {
            let error = Bucket::parse(alias).expect_err("an alias").to_string();
            assert!(error.contains("alias of a bucket space") && error.contains(full), "{error}");
        }
    }

    #[test]
    fn a_region_is_the_plain_id() {
        assert!(Region::parse("cn-hangzhou").is_ok());
        for bad in ["oss-cn-hangzhou", "cn-hangzhou-internal", "CN-hangzhou", "", "a.b"] {
            assert!(Region::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cloudbox_id_signs_for_the_cloudbox_product() {
        assert_eq!(Region::parse("cb-123").map(|r| r.product()), Ok(SigningProduct::CloudBox));
        assert_eq!(Region::parse("cn-hangzhou").map(|r| r.product()), Ok(SigningProduct::Oss));
    }
}
