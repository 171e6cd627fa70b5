//! Endpoints of single buckets in the file of ossutil.

use super::ini::{IniDocument, IniSection};
use super::ossutil_options::DEFAULT;
use super::ossutil_profile::ProfileSettings;

/// An endpoint for one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketEndpoint {
    /// The name of the bucket.
    pub(crate) bucket: String,
    /// The endpoint, as written; `None` for the public endpoint of the region.
    pub(crate) endpoint: Option<String>,
    /// The addressing style of the bucket.
    pub(crate) style: BucketStyle,
    /// The region, if the entry names it.
    pub(crate) region: Option<String>,
    /// The region of the profile.
    pub(crate) region_of_profile: Option<String>,
}

/// A way to address a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BucketStyle {
    /// The bucket is a label before the endpoint.
    Virtual,
    /// The bucket is the first segment of the path.
    Path,
    /// The host is a custom domain of the bucket.
    Cname,
}

/// Errors in the bucket endpoints of a file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum BucketEndpointsError {
    /// A line is invalid; its number.
    #[error("line {0} is invalid; expected a [section] or option = value")]
    Line(usize),
    /// The profile refers to a section that the file does not have.
    #[error("the profile refers to the section [buckets {0}], which does not exist")]
    NoSection(String),
}

/// Returns the endpoints that the file has for buckets. Those of the profile (ossutil 2) take
/// precedence over `[Bucket-Cname]`, and that section over `[Bucket-Endpoint]` (ossutil 1).
///
/// # Errors
/// Fails if a line is invalid, or if a section is missing.
pub(crate) fn bucket_endpoints(
    text: &str,
    profile: Option<&str>,
) -> Result<Vec<BucketEndpoint>, BucketEndpointsError> {
    let document = IniDocument::parse(text).map_err(BucketEndpointsError::Line)?;
    let mut found: Vec<BucketEndpoint> = Vec::new();
    let mut add = |endpoint: BucketEndpoint| {
        if !found.iter().any(|known| known.bucket == endpoint.bucket) {
            found.push(endpoint);
        }
    };
    // The credential source reports an invalid profile.
    if let Ok(Some(settings)) = ProfileSettings::find(&document, profile.unwrap_or(DEFAULT)) {
        of_profile(&document, &settings)?.into_iter().for_each(&mut add);
    }
    for (section, style) in [("Bucket-Cname", BucketStyle::Cname), ("Bucket-Endpoint", BucketStyle::Virtual)]
    {
        for (bucket, endpoint) in document.section(section).into_iter().flat_map(IniSection::raw) {
            if !endpoint.is_empty() {
                add(BucketEndpoint {
                    bucket: bucket.to_owned(),
                    endpoint: Some(endpoint.to_owned()),
                    style,
                    region: None,
                    region_of_profile: None,
                });
            }
        }
    }
    Ok(found)
}

/// Returns the endpoints of the section `[buckets NAME]` that the profile refers to.
fn of_profile(
    document: &IniDocument,
    settings: &ProfileSettings<'_>,
) -> Result<Vec<BucketEndpoint>, BucketEndpointsError> {
    let Some(name) = settings.get(&["buckets"]) else { return Ok(Vec::new()) };
    let section = document.section(&format!("buckets {name}"));
    let section = section.ok_or_else(|| BucketEndpointsError::NoSection(name.to_owned()))?;
    let mut entries: Vec<BucketEntry<'_>> = Vec::new();
    for (key, value) in section.raw() {
        let setting = match (key.to_ascii_lowercase().replace(['-', '_'], "").as_str(), entries.last_mut()) {
            ("region", Some(entry)) => &mut entry.region,
            ("endpoint", Some(entry)) => &mut entry.endpoint,
            ("addressingstyle", Some(entry)) => &mut entry.style,
            (_, _) => {
                if value.is_empty() {
                    entries.push(BucketEntry { bucket: key, ..BucketEntry::default() });
                }
                continue;
            }
        };
        if !value.is_empty() {
            *setting = Some(value);
        }
    }
    Ok(entries.into_iter().filter_map(|entry| entry.resolve(settings.get(&["region"]))).collect())
}

/// The settings of one bucket: the lines after its name.
#[derive(Default)]
struct BucketEntry<'a> {
    bucket: &'a str,
    region: Option<&'a str>,
    endpoint: Option<&'a str>,
    style: Option<&'a str>,
}

impl BucketEntry<'_> {
    /// Returns the endpoint; `None` if neither the entry nor the profile determines it.
    fn resolve(&self, region_of_profile: Option<&str>) -> Option<BucketEndpoint> {
        self.endpoint.or(self.region).or(region_of_profile)?;
        let style = match self.style.map(str::to_ascii_lowercase).as_deref() {
            Some("path") => BucketStyle::Path,
            Some("cname") => BucketStyle::Cname,
            Some(_) | None => BucketStyle::Virtual,
        };
        Some(BucketEndpoint {
            bucket: self.bucket.to_owned(),
            endpoint: self.endpoint.map(str::to_owned),
            style,
            region: self.region.map(str::to_owned),
            region_of_profile: region_of_profile.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{BucketEndpoint, BucketEndpointsError, BucketStyle, bucket_endpoints};

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned()).filter(|text| !text.is_empty())
    }

    fn row(bucket: &str, endpoint: &str, style: BucketStyle, region: &str) -> BucketEndpoint {
        BucketEndpoint {
            bucket: bucket.to_owned(),
            endpoint: some(endpoint),
            style,
            region: some(region),
            region_of_profile: None,
        }
    }

    #[test]
    fn buckets_have_their_endpoints() {
        let text = "[Credentials]\nendpoint = e\n[Bucket-Endpoint]\nmy-bucket1 = endpoint1\nb2 = endpoint2\n\
                    [Bucket-Cname]\nmy-bucket1 = cname1\n";
        let expected = vec![
            row("my-bucket1", "cname1", BucketStyle::Cname, ""),
            row("b2", "endpoint2", BucketStyle::Virtual, ""),
        ];
        assert_eq!(bucket_endpoints(text, None), Ok(expected));
    }

    #[test]
    fn an_empty_setting_inside_an_entry_begins_no_bucket() {
        let text = "[default]\nbuckets=b\n[buckets b]\nmine=\nendpoint=\naddressing_style=\nregion=cn-hangzhou\nother=\nregion=cn-beijing\n";
        let found = bucket_endpoints(text, None).expect("sections");
        let rows: Vec<_> = found.iter().map(|row| (row.bucket.as_str(), row.region.as_deref())).collect();
        assert_eq!(rows, [("mine", Some("cn-hangzhou")), ("other", Some("cn-beijing"))]);
    }

    #[test]
    fn buckets_of_a_profile_have_endpoint_region_and_style() {
        let text = "[default]\nregion = cn-shanghai\nsource-profile = base\n[profile base]\nbuckets = all\n\
                    [profile dev]\nbuckets = none\n[profile bare]\nbuckets = all\n\
                    [buckets all]\nhz-01 =\n  region=cn-hangzhou\nhz-02 = \n  region=cn-hangzhou\n  \
                    endpoint=img.example.com\n  addressing-style=cname\nhome =\n  addressingStyle=path\n\
                    ours =\n  endpoint = http://127.0.0.1:1\n";
        let expected = [
            row("hz-01", "", BucketStyle::Virtual, "cn-hangzhou"),
            row("hz-02", "img.example.com", BucketStyle::Cname, "cn-hangzhou"),
            row("home", "", BucketStyle::Path, ""),
            row("ours", "http://127.0.0.1:1", BucketStyle::Virtual, ""),
        ]
        .map(|row| BucketEndpoint { region_of_profile: some("cn-shanghai"), ..row })
        .to_vec();
        assert_eq!(bucket_endpoints(text, None), Ok(expected));
        assert_eq!(
            bucket_endpoints(text, Some("dev")),
            Err(BucketEndpointsError::NoSection("none".to_owned()))
        );
        let bare = bucket_endpoints(text, Some("bare")).expect("sections");
        let buckets: Vec<&str> = bare.iter().map(|endpoint| endpoint.bucket.as_str()).collect();
        assert_eq!(buckets, ["hz-01", "hz-02", "ours"], "no region, and so no endpoint");
    }
}
