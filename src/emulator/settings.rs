//! What an emulated OSS is told: its region, its accounts, its first buckets, the clock.

use std::fmt;
use std::sync::Arc;

use crate::oss::{Bucket, Region};
use crate::secret::Secret;
use crate::time::{Clock, Timestamp};

/// The settings of an emulated OSS.
pub struct EmulatorSettings {
    /// The one region it stands in; `cb-…` makes it a CloudBox.
    pub region: Region,
    /// Who may sign. Whoever is here may do everything.
    pub accounts: Vec<EmulatedAccount>,
    /// The buckets that exist from the beginning.
    pub buckets: Vec<Bucket>,
    /// Further host names (CNAME) and the bucket each stands for.
    pub domains: Vec<(String, Bucket)>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
}

/// A pair of keys, or a triple from STS.
#[derive(Debug)]
pub struct EmulatedAccount {
    /// The id that requests name.
    pub access_key_id: String,
    /// What they are signed with.
    pub access_key_secret: Secret,
    /// The token that must come with them, if it is a temporary triple.
    pub security_token: Option<Secret>,
    /// When a temporary triple ends.
    pub expires: Option<Timestamp>,
}

/// The part of the settings that says where this OSS stands.
#[derive(Clone, Debug)]
pub(super) struct ServiceIdentity {
    pub(super) region: Region,
    domains: Vec<(String, Bucket)>,
}

impl EmulatorSettings {
    /// Settings with no account, bucket or domain yet.
    #[must_use]
    pub fn new(region: Region, clock: Arc<dyn Clock>) -> Self {
        Self { region, accounts: Vec::new(), buckets: Vec::new(), domains: Vec::new(), clock }
    }

    /// With one account more.
    #[must_use]
    pub fn account(mut self, account: EmulatedAccount) -> Self {
        self.accounts.push(account);
        self
    }

    /// With one bucket more.
    #[must_use]
    pub fn bucket(mut self, bucket: Bucket) -> Self {
        self.buckets.push(bucket);
        self
    }

    /// With the host name `domain` standing for `bucket`.
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
    /// A pair of keys that does not expire.
    #[must_use]
    pub fn pair(access_key_id: &str, access_key_secret: &str) -> Self {
        Self {
            access_key_id: access_key_id.to_owned(),
            access_key_secret: Secret::from(access_key_secret),
            security_token: None,
            expires: None,
        }
    }

    /// A temporary triple; give it an end with [`EmulatedAccount::until`].
    #[must_use]
    pub fn triple(access_key_id: &str, access_key_secret: &str, security_token: &str) -> Self {
        Self {
            security_token: Some(Secret::from(security_token)),
            ..Self::pair(access_key_id, access_key_secret)
        }
    }

    /// The same, refused from `expires` on.
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

    /// The same in another region.
    pub(super) fn moved_to(&self, region: &Region) -> Self {
        Self::new(region.clone(), self.domains.clone())
    }

    /// The bucket that a CNAME stands for.
    pub(super) fn domain(&self, host: &str) -> Option<&Bucket> {
        self.domains.iter().find(|(name, _)| name.eq_ignore_ascii_case(host)).map(|(_, bucket)| bucket)
    }

    /// The names of this region's endpoints, without `.aliyuncs.com`.
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

    /// `cb-1` of `cb-1.cn-hangzhou.oss-cloudbox`: the region around a CloudBox stands in the name, but not in the scope.
    pub(super) fn without_hall<'a>(&self, name: &'a str) -> &'a str {
        let front = name.strip_suffix(".oss-cloudbox").and_then(|front| front.rsplit_once('.'));
        match front {
            Some((front, _)) if self.product() == "oss-cloudbox" => front,
            Some(_) | None => name,
        }
    }

    /// The product in the scope of a V4 signature.
    pub(super) fn product(&self) -> &'static str {
        if self.region.as_str().starts_with("cb-") { "oss-cloudbox" } else { "oss" }
    }
}

/// Endpoints whose names are not by the pattern, by region.
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
