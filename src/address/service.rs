//! Host names of Alibaba Cloud other than `[BUCKET.]endpoint`, by family. Some are other endpoints
//! of the object API, which can be configured as an endpoint. The others belong to other services
//! and are rejected.

use std::fmt;

use super::oss_endpoint::{DOMAIN, OssName, S3_LABEL, is_region_shaped};
use crate::oss::Region;

/// A host name of a service family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceName {
    /// The family.
    pub(crate) service: ServiceFamily,
    /// The signing region; for a `CloudBox`, its id.
    pub(crate) region: Option<Region>,
    /// The region of the nearest STS endpoint, if it is not `region`.
    pub(crate) sts_region: Option<Region>,
    /// True if the name is for networks inside Alibaba Cloud.
    pub(crate) is_internal: bool,
}

/// A family of host names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceFamily {
    /// `ep-ID.oss.REGION.privatelink`.
    PrivateLink,
    /// `[BUCKET.]cb-ID.REGION.oss-cloudbox`.
    CloudBox,
    /// `[BUCKET.]ZONE-internal.oss-data-acc`, formerly `[BUCKET.]oss-cache-ZONE`.
    Accelerator,
    /// `NAME-ACCOUNT.oss-REGION.oss-accesspoint`.
    AccessPoint,
    /// `NAME-ACCOUNT.oss-REGION.oss-object-process`.
    ObjectProcess,
    /// `img-REGION`, the legacy image service.
    Image,
    /// `[BUCKET-ACCOUNT.]REGION.oss-vectors`.
    Vectors,
    /// `[BUCKET-ACCOUNT.]REGION.oss-tables`.
    Tables,
    /// `REGION.oss-dls`.
    Hdfs,
    /// `REGION.mgw`.
    Migration,
    /// `oss-admin`.
    Administration,
    /// `oss-ZONE-console`.
    Console,
    /// `[BUCKET.]s3.ENDPOINT`.
    S3,
    /// `BUCKET.REGION.taihangcda.cn`.
    CnameTarget,
}

impl ServiceName {
    /// Parses a host in lower case. Returns `None` if it belongs to no family.
    #[must_use]
    pub(crate) fn parse(host: &str) -> Option<Self> {
        if host.ends_with(".taihangcda.cn") {
            return Some(Self::nowhere(ServiceFamily::CnameTarget));
        }
        let front = host.strip_suffix(DOMAIN)?;
        let (before, last) = front.rsplit_once('.').map_or(("", front), |(before, last)| (before, last));
        let label = before.rsplit('.').next().unwrap_or_default();
        if label == S3_LABEL && OssName::parse(&[last, DOMAIN].concat()).is_some() {
            return Some(Self::nowhere(ServiceFamily::S3));
        }
        if let Some((_, service)) = LAST_LABELS.iter().find(|(name, _)| *name == last) {
            return Some(Self::read(*service, label, before));
        }
        if let Some(zone) = last.strip_prefix("oss-cache-") {
            let name = Self::nowhere(ServiceFamily::Accelerator);
            return Some(Self { region: region_of_zone(zone), ..name });
        }
        if last.starts_with("oss-") && last.ends_with("-console") {
            return Some(Self::nowhere(ServiceFamily::Console));
        }
        let image = last.strip_prefix("img-")?;
        Some(Self::read(ServiceFamily::Image, image, before))
    }

    fn read(service: ServiceFamily, label: &str, before: &str) -> Self {
        let plain = label.strip_suffix("-internal").unwrap_or(label);
        let id = plain.strip_prefix("oss-").unwrap_or(plain);
        let region = is_region_shaped(id).then(|| Region::parse(id).ok()).flatten();
        let (region, sts_region) = match service {
            ServiceFamily::CloudBox => {
                let hall = before.rsplit('.').nth(1).filter(|label| label.starts_with("cb-"));
                (hall.and_then(|id| Region::parse(id).ok()), region)
            }
            ServiceFamily::Accelerator => (region, region_of_zone(id)),
            ServiceFamily::PrivateLink
            | ServiceFamily::AccessPoint
            | ServiceFamily::ObjectProcess
            | ServiceFamily::Image
            | ServiceFamily::Vectors
            | ServiceFamily::Tables
            | ServiceFamily::Hdfs
            | ServiceFamily::Migration
            | ServiceFamily::Administration
            | ServiceFamily::Console
            | ServiceFamily::S3
            | ServiceFamily::CnameTarget => (region, None),
        };
        Self { service, region, sts_region, is_internal: plain != label }
    }

    fn nowhere(service: ServiceFamily) -> Self {
        Self { service, region: None, sts_region: None, is_internal: false }
    }
}

impl ServiceFamily {
    /// Returns whether the service accepts requests of the object API with OSS signatures.
    #[must_use]
    pub(crate) fn is_object_api(self) -> bool {
        match self {
            Self::PrivateLink
            | Self::CloudBox
            | Self::Accelerator
            | Self::AccessPoint
            | Self::ObjectProcess
            | Self::Image => true,
            Self::Vectors
            | Self::Tables
            | Self::Hdfs
            | Self::Migration
            | Self::Administration
            | Self::Console
            | Self::S3
            | Self::CnameTarget => false,
        }
    }
}

/// The name of the service in messages.
impl fmt::Display for ServiceFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrivateLink => "PrivateLink",
            Self::CloudBox => "a CloudBox",
            Self::Accelerator => "the OSS accelerator",
            Self::AccessPoint => "an access point",
            Self::ObjectProcess => "an object FC access point",
            Self::Image => "the legacy image service",
            Self::Vectors => "vector buckets (oss-vectors)",
            Self::Tables => "table buckets (oss-tables)",
            Self::Hdfs => "OSS-HDFS",
            Self::Migration => "the migration service",
            Self::Administration => "the OSS OpenAPI",
            Self::Console => "the console",
            Self::S3 => "the S3 API, which expects AWS signatures",
            Self::CnameTarget => "the CNAME targets of custom domains",
        })
    }
}

/// Returns the region of a zone such as `cn-beijing-h` or `ap-southeast-1c`, or a region itself.
fn region_of_zone(zone: &str) -> Option<Region> {
    let without_letter = zone.strip_suffix(|c: char| c.is_ascii_lowercase()).unwrap_or(zone);
    let without_letter = without_letter.strip_suffix('-').unwrap_or(without_letter);
    let id = [zone, without_letter].into_iter().find(|id| is_region_shaped(id))?;
    Region::parse(id).ok()
}

/// Families by the last label before `.aliyuncs.com`.
const LAST_LABELS: [(&str, ServiceFamily); 11] = [
    ("privatelink", ServiceFamily::PrivateLink),
    ("oss-cloudbox", ServiceFamily::CloudBox),
    ("oss-cloudbox-control", ServiceFamily::CloudBox),
    ("oss-data-acc", ServiceFamily::Accelerator),
    ("oss-accesspoint", ServiceFamily::AccessPoint),
    ("oss-object-process", ServiceFamily::ObjectProcess),
    ("oss-vectors", ServiceFamily::Vectors),
    ("oss-tables", ServiceFamily::Tables),
    ("oss-dls", ServiceFamily::Hdfs),
    ("mgw", ServiceFamily::Migration),
    ("oss-admin", ServiceFamily::Administration),
];
