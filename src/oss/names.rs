//! Names with rules of their own: buckets, regions, the product a signature is for.

use std::fmt;

/// A bucket name: 3 to 63 of `a-z 0-9 -`, beginning and ending with a letter or digit ("Bucket naming conventions").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(Box<str>);

/// A text that is no bucket name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "{0:?} is not a bucket name: 3 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
)]
pub struct InvalidBucket(pub String);

/// A region id such as `cn-hangzhou`, without `oss-` and `-internal`; of a CloudBox its id, `cb-…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Region(Box<str>);

/// A text that is no region id.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error(
    "{0:?} is not a region id: write it as cn-hangzhou, in lower-case letters, digits and hyphens, without oss- and -internal"
)]
pub struct InvalidRegion(pub String);

/// The product that a V4 signature is scoped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// OSS itself.
    Oss,
    /// A CloudBox in the customer's own hall.
    CloudBox,
}

impl Bucket {
    /// The bucket of this name.
    ///
    /// # Errors
    /// [`InvalidBucket`] with the text.
    pub fn parse(name: &str) -> Result<Self, InvalidBucket> {
        if (3..=63).contains(&name.len()) && is_label(name) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidBucket(name.to_owned()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Region {
    /// The region of this id.
    ///
    /// # Errors
    /// [`InvalidRegion`] with the text.
    pub fn parse(id: &str) -> Result<Self, InvalidRegion> {
        let plain = !id.starts_with("oss-") && !id.ends_with("-internal");
        if plain && id.len() <= 63 && is_label(id) {
            Ok(Self(id.into()))
        } else {
            Err(InvalidRegion(id.to_owned()))
        }
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What requests to this region are signed for.
    #[must_use]
    pub fn product(&self) -> Product {
        if self.0.starts_with("cb-") { Product::CloudBox } else { Product::Oss }
    }
}

impl Product {
    /// The word in the scope of a signature.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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

/// Whether `text` is a DNS label in lower case.
fn is_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Product, Region};

    #[test]
    fn bucket_names_follow_the_published_rule() {
        for good in ["abc", "a-1", "0ab", &"a".repeat(63)] {
            assert!(Bucket::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "Abc", "a_bc", "-abc", "abc-", "a.bc", "ab c", &"a".repeat(64)] {
            assert!(Bucket::parse(bad).is_err(), "{bad}");
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
        assert_eq!(Region::parse("cb-123").map(|r| r.product()), Ok(Product::CloudBox));
        assert_eq!(Region::parse("cn-hangzhou").map(|r| r.product()), Ok(Product::Oss));
    }
}
