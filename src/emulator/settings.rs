//! Settings of the emulator: region, accounts, initial buckets, clock.

use std::fmt;
use std::sync::Arc;

use crate::oss::{Bucket, Region};
use crate::secret::Secret;
use crate::time::{Clock, Timestamp};

/// The settings of an emulator.
pub struct EmulatorSettings {
    /// The only region; `cb-…` makes it a CloudBox.
    pub(crate) region: Region,
    /// The accounts that can sign requests. Each has full access.
    pub(crate) accounts: Vec<EmulatedAccount>,
    /// The initial buckets.
    pub(crate) buckets: Vec<Bucket>,
    /// Custom host names (CNAME), each with its bucket.
    pub(crate) domains: Vec<(String, Bucket)>,
    /// The source of the current time.
    pub(crate) clock: Arc<dyn Clock>,
}

/// Long-lived access keys, or temporary credentials from STS.
#[derive(Debug)]
pub struct EmulatedAccount {
    /// The access key ID.
    pub(crate) access_key_id: String,
    /// The secret used to sign requests.
    pub(crate) access_key_secret: Secret,
    /// The security token required with temporary credentials.
    pub(crate) security_token: Option<Secret>,
    /// The expiration of temporary credentials.
    pub(crate) expires: Option<Timestamp>,
}

/// The part of the settings that identifies the service: its region and custom host names.
#[derive(Clone, Debug)]
pub(super) struct ServiceIdentity {
    pub(super) region: Region,
    domains: Vec<(String, Bucket)>,
}

impl EmulatorSettings {
    /// Creates settings without accounts, buckets and custom host names.
    #[must_use]
    pub fn new(region: Region, clock: Arc<dyn Clock>) -> Self {
        Self { region, accounts: Vec::new(), buckets: Vec::new(), domains: Vec::new(), clock }
    }

    /// Adds an account.
    #[must_use]
    pub fn account(mut self, account: EmulatedAccount) -> Self {
        self.accounts.push(account);
        self
    }

    /// Adds a bucket.
    #[must_use]
    pub fn bucket(mut self, bucket: Bucket) -> Self {
        self.buckets.push(bucket);
        self
    }

    /// Adds the custom host name `domain` for `bucket`.
    #[must_use]
    pub fn domain(mut self, domain: &str, bucket: Bucket) -> Self {
        self.domains.push((domain.to_ascii_lowercase(), bucket));
        self
    }
}

impl fmt::Debug for EmulatorSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("region", &self.region)
            .field("accounts", &self.accounts)
            .field("buckets", &self.buckets)
            .field("domains", &self.domains)
            .finish_non_exhaustive()
    }
}

impl EmulatedAccount {
    /// Creates long-lived access keys, which do not expire.
    #[must_use]
    pub fn pair(access_key_id: &str, access_key_secret: &str) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            access_key_secret: Secret::from(access_key_secret),
            security_token: None,
            expires: None,
        }
    }

    /// Creates temporary credentials. [`EmulatedAccount::until`] sets their expiration.
    #[must_use]
    pub fn temporary(access_key_id: &str, access_key_secret: &str, security_token: &str) -> Self {
        Self {
            security_token: Some(Secret::from(security_token)),
            ..Self::pair(access_key_id, access_key_secret)
        }
    }

    /// Sets the expiration. The credentials are rejected from `expires` on.
    #[must_use]
    pub fn until(mut self, expires: Timestamp) -> Self {
        self.expires = Some(expires);
        self
    }
}

impl ServiceIdentity {
    pub(super) fn new(region: Region, domains: Vec<(String, Bucket)>) -> Self {
        Self { region, domains }
    }

    /// Returns the identity with another region.
    pub(super) fn moved_to(&self, region: &Region) -> Self {
        Self::new(region.clone(), self.domains.clone())
    }

    /// Returns the bucket of a custom host name.
    pub(super) fn domain(&self, host: &str) -> Option<&Bucket> {
        self.domains.iter().find(|(name, _)| name.eq_ignore_ascii_case(host)).map(|(_, bucket)| bucket)
    }

    /// Returns the endpoint names of this region, without `.aliyuncs.com`.
    pub(super) fn endpoints(&self) -> Vec<String> {
        let region = self.region.as_str();
        let mut names = vec![
            format!("oss-{region}"),
            format!("oss-{region}-internal"),
            format!("{region}.oss"),
            "oss-accelerate".to_owned(),
            "oss-accelerate-overseas".to_owned(),
            format!("vpc100-oss-{region}"),
        ];
        let irregular = IRREGULAR.iter().filter(|(of, _)| *of == region);
        names.extend(irregular.flat_map(|(_, names)| *names).map(|name| (*name).to_owned()));
        if self.product() == "oss-cloudbox" {
            names.push(region.to_owned());
        }
        names
    }

    /// Removes the region of a CloudBox from an endpoint name: `cb-1` for
    /// `cb-1.cn-hangzhou.oss-cloudbox`. That region is part of the host name, but not of the scope.
    pub(super) fn without_cloudbox_region<'a>(&self, name: &'a str) -> &'a str {
        let front = name.strip_suffix(".oss-cloudbox").and_then(|front| front.rsplit_once('.'));
        match front {
            Some((front, _)) if self.product() == "oss-cloudbox" => front,
            Some(_) | None => name,
        }
    }

    /// Returns the product in the scope of a V4 signature.
    pub(super) fn product(&self) -> &'static str {
        if self.region.as_str().starts_with("cb-") { "oss-cloudbox" } else { "oss" }
    }
}

/// Endpoint names that do not follow the pattern, by region.
const IRREGULAR: [(&str, &[&str]); 5] = [
    ("cn-hangzhou", &["oss", "oss-internal"]),
    (
        "cn-hangzhou-finance",
        &[
            "oss-cn-hzfinance",
            "oss-cn-hzfinance-internal",
            "oss-cn-hzjbp-a-internal",
            "oss-cn-hzjbp-b-internal",
        ],
    ),
    (
        "cn-shanghai-finance-1",
        &[
            "oss-cn-shanghai-finance-1-pub",
            "oss-cn-shanghai-finance-1-pub-internal",
            "cn-shanghai-finance.oss",
        ],
    ),
    ("cn-shenzhen-finance-1", &["oss-cn-szfinance", "oss-cn-szfinance-internal", "cn-shenzhen-finance.oss"]),
    ("cn-beijing-finance-1", &["oss-cn-beijing-finance-1-pub", "oss-cn-beijing-finance-1-pub-internal"]),
];
