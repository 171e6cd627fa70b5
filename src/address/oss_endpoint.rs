//! Names of OSS endpoints: parses them, and derives the signing region ("OSS regions and
//! endpoints").

use crate::oss::Region;

/// A host name of an OSS endpoint, with or without a bucket before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OssName<'a> {
    /// The label before the endpoint. It may be empty or an invalid bucket name.
    pub(crate) bucket: Option<&'a str>,
    /// The endpoint.
    pub(crate) oss_endpoint: OssEndpoint,
}

/// An OSS endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OssEndpoint {
    kind: EndpointKind,
    region: Option<Region>,
    /// The name without `.aliyuncs.com`, if it does not follow a pattern.
    irregular: Option<&'static str>,
}

/// The kind of an OSS endpoint, as its name shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum EndpointKind {
    /// `oss-<region>`.
    Public,
    /// `oss-<region>-internal`.
    Internal,
    /// `<region>.oss`, over IPv4 and IPv6.
    DualStack,
    /// `oss-accelerate`; the name does not contain a region.
    Accelerate,
    /// `oss-accelerate-overseas`.
    AccelerateOverseas,
    /// `oss`: the public endpoint of Hangzhou in old tools.
    Legacy,
    /// `oss-internal`: the internal endpoint of Hangzhou in old tools.
    LegacyInternal,
    /// `vpc100-oss-<region>`: internal endpoints of the first years of VPC.
    FirstVpc,
}

impl<'a> OssName<'a> {
    /// Parses a host in lower case. Returns `None` unless the whole name belongs to an OSS
    /// endpoint.
    #[must_use]
    pub(crate) fn parse(host: &'a str) -> Option<Self> {
        let front = host.strip_suffix(DOMAIN)?;
        if let Some(oss_endpoint) = OssEndpoint::read(front).filter(OssEndpoint::needs_no_bucket) {
            return Some(Self { bucket: None, oss_endpoint });
        }
        let (label, rest) = front.split_once('.')?;
        let oss_endpoint = OssEndpoint::read(rest)?;
        // `cn-photos.oss` is either a dual-stack name of a new region or a bucket in Hangzhou.
        let is_ambiguous = oss_endpoint.kind == EndpointKind::Legacy && is_region_shaped(label);
        // An endpoint name after `s3.` expects AWS signatures.
        (!is_ambiguous && label != S3_LABEL).then_some(Self { bucket: Some(label), oss_endpoint })
    }
}

impl OssEndpoint {
    /// Returns the endpoint of this kind in `region`, or `None` if the region has none.
    #[must_use]
    pub(crate) fn new(kind: EndpointKind, region: Region) -> Option<Self> {
        let exists = region.as_str() != MAINLAND || kind == EndpointKind::Public;
        let irregular = implied(kind, &region);
        let is_named = irregular.is_some() || PATTERNS.iter().any(|(of, ..)| *of == kind);
        (exists && is_named).then_some(Self { kind, region: Some(region), irregular })
    }

    /// Returns the host name.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        let region = self.region().map_or("", Region::as_str);
        let pattern = PATTERNS.iter().find(|(of, ..)| *of == self.kind);
        match (self.irregular, pattern) {
            (Some(front), _) => [front, DOMAIN].concat(),
            (None, Some((_, before, after))) => [before, region, after, DOMAIN].concat(),
            (None, None) => String::new(),
        }
    }

    /// Returns the region that the name contains.
    #[must_use]
    pub(crate) fn region(&self) -> Option<&Region> {
        self.region.as_ref()
    }

    /// Returns the kind of the endpoint.
    #[must_use]
    pub(crate) fn kind(&self) -> EndpointKind {
        self.kind
    }

    /// Returns whether the endpoint is reachable only from inside Alibaba Cloud.
    #[must_use]
    pub(crate) fn is_internal(&self) -> bool {
        match self.kind {
            EndpointKind::Internal | EndpointKind::LegacyInternal | EndpointKind::FirstVpc => true,
            EndpointKind::Public
            | EndpointKind::DualStack
            | EndpointKind::Accelerate
            | EndpointKind::AccelerateOverseas
            | EndpointKind::Legacy => false,
        }
    }

    /// Parses a name without `.aliyuncs.com` and without a bucket.
    fn read(front: &str) -> Option<Self> {
        if let Some((name, kind, region, _)) = IRREGULAR.iter().find(|(name, ..)| *name == front) {
            let region = region.and_then(|region| Region::parse(region).ok());
            return Some(Self { kind: *kind, region, irregular: Some(name) });
        }
        let (kind, region) = PATTERNS.iter().find_map(|(kind, before, after)| {
            let region = front.strip_prefix(before)?.strip_suffix(after)?;
            is_region_shaped(region).then_some((*kind, region))
        })?;
        Self::new(kind, Region::parse(region).ok()?)
    }

    /// Returns whether the name denotes this endpoint even without a bucket before it.
    fn needs_no_bucket(&self) -> bool {
        let is_known = |region: &Region| KNOWN_REGIONS.contains(&region.as_str());
        self.kind != EndpointKind::DualStack || self.region().is_some_and(is_known)
    }
}

/// Returns whether a label of a host is a region. New regions appear without notice, so the shape
/// decides. A region in the configuration may have any form.
pub(super) fn is_region_shaped(text: &str) -> bool {
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_zone = |part: &str| part.len() == 1 && is_word(part);
    let Some((head, rest)) = text.split_once('-').filter(|_| !NO_REGIONS.contains(&text)) else {
        return false;
    };
    if head == CHINA {
        let first = rest.split('-').next();
        let last = rest.rsplit('-').next();
        let may_end = |part: &str| !NO_END.contains(&part) && !is_zone(part);
        return first.is_some_and(is_word) && rest.split('-').all(is_part) && last.is_some_and(may_end);
    }
    let is_abroad =
        |(word, number): (&str, &str)| CONTINENTS.contains(&head) && is_word(word) && is_number(number);
    text == MAINLAND || rest.split_once('-').is_some_and(is_abroad)
}

/// Returns the endpoint name of a region whose name does not follow the pattern.
fn implied(kind: EndpointKind, region: &Region) -> Option<&'static str> {
    let row =
        IRREGULAR.iter().find(|(_, of, at, implied)| *implied && *of == kind && *at == Some(region.as_str()));
    row.map(|(front, ..)| *front)
}

/// The domain of all OSS names.
pub(super) const DOMAIN: &str = ".aliyuncs.com";

/// The label before an endpoint that expects AWS signatures.
pub(super) const S3_LABEL: &str = "s3";

/// Endpoints that follow a pattern, with the text before and after the region.
const PATTERNS: [(EndpointKind, &str, &str); 4] = [
    (EndpointKind::Public, "oss-", ""),
    (EndpointKind::Internal, "oss-", "-internal"),
    (EndpointKind::DualStack, "", ".oss"),
    (EndpointKind::FirstVpc, "vpc100-oss-", ""),
];

/// Endpoints whose names follow no pattern. Each has its region, and a flag that is set if the
/// region implies this name.
const IRREGULAR: [(&str, EndpointKind, Option<&str>, bool); 16] = {
    use EndpointKind::{Accelerate, AccelerateOverseas, DualStack, Internal, Legacy, LegacyInternal, Public};
    const HANGZHOU: Option<&str> = Some("cn-hangzhou-finance");
    const SHANGHAI: Option<&str> = Some("cn-shanghai-finance-1");
    const SHENZHEN: Option<&str> = Some("cn-shenzhen-finance-1");
    const BEIJING: Option<&str> = Some("cn-beijing-finance-1");
    [
        ("oss-cn-hzfinance", Public, HANGZHOU, true),
        ("oss-cn-hzfinance-internal", Internal, HANGZHOU, true),
        ("oss-cn-hzjbp-a-internal", Internal, HANGZHOU, false),
        ("oss-cn-hzjbp-b-internal", Internal, HANGZHOU, false),
        ("oss-cn-shanghai-finance-1-pub", Public, SHANGHAI, true),
        ("oss-cn-shanghai-finance-1-pub-internal", Internal, SHANGHAI, false),
        ("cn-shanghai-finance.oss", DualStack, SHANGHAI, true),
        ("oss-cn-szfinance", Public, SHENZHEN, true),
        ("oss-cn-szfinance-internal", Internal, SHENZHEN, false),
        ("cn-shenzhen-finance.oss", DualStack, SHENZHEN, true),
        ("oss-cn-beijing-finance-1-pub", Public, BEIJING, true),
        ("oss-cn-beijing-finance-1-pub-internal", Internal, BEIJING, false),
        ("oss-accelerate", Accelerate, None, false),
        ("oss-accelerate-overseas", AccelerateOverseas, None, false),
        ("oss", Legacy, Some("cn-hangzhou"), false),
        ("oss-internal", LegacyInternal, Some("cn-hangzhou"), false),
    ]
};

/// The id of buckets without a region; it has only a public endpoint.
const MAINLAND: &str = "rg-china-mainland";

/// First part of region ids in China.
const CHINA: &str = "cn";

/// First parts of region ids outside China.
const CONTINENTS: [&str; 9] = ["ap", "us", "eu", "me", "na", "sa", "af", "ca", "rus"];

/// Last parts of names that are not regions, in addition to the letter of a zone.
const NO_END: [&str; 4] = ["internal", "pub", "vpc", "console"];

/// Parts of names that have the shape of a region but are not regions.
const NO_REGIONS: [&str; 6] =
    ["cn-hzfinance", "cn-szfinance", "cn-hzjbp", "cn-bjzwy", "cn-shanghai-finance", "cn-shenzhen-finance"];

/// Known regions. `<region>.oss` alone is a dual-stack name only for these; otherwise it could be a
/// bucket in Hangzhou.
const KNOWN_REGIONS: [&str; 44] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ap-southeast-8",
    "cn-beijing",
    "cn-beijing-finance-1",
    "cn-chengdu",
    "cn-fuzhou",
    "cn-guangzhou",
    "cn-hangzhou",
    "cn-hangzhou-finance",
    "cn-heyuan",
    "cn-hongkong",
    "cn-huhehaote",
    "cn-nanjing",
    "cn-north-2-gov-1",
    "cn-qingdao",
    "cn-shanghai",
    "cn-shanghai-finance-1",
    "cn-shenzhen",
    "cn-shenzhen-finance-1",
    "cn-wuhan-lr",
    "cn-wulanchabu",
    "cn-zhangjiakou",
    "cn-zhengzhou-jva",
    "cn-zhongwei",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "me-central-1",
    "me-east-1",
    "na-south-1",
    "rg-china-mainland",
    "rus-west-1",
    "sa-east-1",
    "us-east-1",
    "us-southeast-1",
    "us-west-1",
];
