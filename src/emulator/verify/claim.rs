//! The signature that a request claims, and the period in which it is valid.

use base16ct::upper;

use super::super::error::OssError;
use crate::time::Timestamp;

/// The signature of a request and its parameters, ready to be verified.
#[derive(Debug)]
pub(super) struct SignatureClaim {
    pub(super) key_id: String,
    pub(super) signature: String,
    pub(super) token: Option<Vec<u8>>,
    pub(super) validity: SignatureValidity,
    pub(super) string_to_sign: Vec<u8>,
    pub(super) algorithm: SignatureAlgorithm,
}

/// The algorithm that computes the signature from the secret and the string to sign.
#[derive(Debug)]
pub(super) enum SignatureAlgorithm {
    V1,
    V4 { scope: ClaimedScope, canonical_request: Vec<u8> },
}

/// The scope of a V4 signature, as the request claims it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClaimedScope {
    pub(super) day: String,
    pub(super) region: String,
    pub(super) product: String,
}

/// The period in which a signature is valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SignatureValidity {
    /// A signature in a header: valid around its time of signing.
    Around(Timestamp),
    /// A V1 URL: valid until this time.
    Until(Timestamp),
    /// A V4 URL: valid between these times.
    Between(Timestamp, Timestamp),
}

impl SignatureValidity {
    /// Checks that the signature is valid at this time.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), OssError> {
        let (from, to, early) = match self {
            Self::Around(at) => {
                if (now.unix_s() - at.unix_s()).abs() <= SKEW_S_MAX {
                    return Ok(());
                }
                return Err(skewed(*at, now));
            }
            Self::Until(at) => (0, at.unix_s(), ""),
            Self::Between(from, to) => (from.unix_s() - SKEW_S_MAX, to.unix_s(), "0002-00000235"),
        };
        if now.unix_s() < from {
            return Err(OssError::argument("The URL is not valid yet.").ec(early));
        }
        if now.unix_s() > to {
            return Err(OssError::denied("Request has expired.")
                .with("Expires", Timestamp::from_unix_s(to).iso_extended())
                .with("ServerTime", now.iso_extended()));
        }
        Ok(())
    }
}

impl SignatureClaim {
    /// Returns the error for a wrong signature, with the texts that were to be signed.
    pub(super) fn mismatch(self) -> OssError {
        let bytes = upper::encode_string(&self.string_to_sign);
        let pairs: Vec<_> = bytes.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
        let failure = OssError::forbidden(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        )
        .ec("0002-00000040")
        .with("OSSAccessKeyId", self.key_id)
        .with("SignatureProvided", self.signature)
        .with("StringToSign", String::from_utf8_lossy(&self.string_to_sign))
        .with("StringToSignBytes", pairs.join(" "));
        match self.algorithm {
            SignatureAlgorithm::V1 => failure,
            SignatureAlgorithm::V4 { canonical_request, .. } => {
                failure.with("CanonicalRequest", String::from_utf8_lossy(&canonical_request))
            }
        }
    }
}

fn skewed(at: Timestamp, now: Timestamp) -> OssError {
    OssError::forbidden(
        "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.",
    )
    .ec("0002-00000504")
    .with("MaxAllowedSkewMilliseconds", (SKEW_S_MAX * 1000).to_string())
    .with("RequestTime", at.iso_extended())
    .with("ServerTime", now.iso_extended())
}

/// The maximum difference between the clocks of client and service.
const SKEW_S_MAX: i64 = 15 * 60;
