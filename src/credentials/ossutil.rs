//! `ossutil`: the file of the vendor's OSS tool, `~/.ossutilconfig`, with the many names that it takes for each option.

use std::time::Duration;

use super::ini::{Document, Section};
use super::recipe::{Recipe, place};
use super::sts::Role;
use super::tool::{Format, Places, Tool, Unfit};
use super::{Edge, Instance};
use crate::secret::Secret;
use crate::transport::Url;

/// The file of ossutil.
pub(super) struct Ossutil;

/// Option names, but for `_`, `-` and letter case. `access_key` is the secret there.
const ID: [&str; 4] = ["accesskeyid", "accessid", "accesskeyidentifier", "keyid"];
const SECRET: [&str; 4] = ["accesskeysecret", "accesskey", "accesssecret", "keysecret"];
const TOKEN: [&str; 2] = ["ststoken", "securitytoken"];

impl Format for Ossutil {
    fn name(&self) -> &'static str {
        "ossutil"
    }

    fn places(&self, _edge: &dyn Edge) -> Places {
        Places::Home(&[".ossutilconfig"])
    }

    fn read(&self, text: &str, tool: &Tool, edge: &dyn Edge) -> Result<Recipe, Unfit> {
        let document = Document::parse(text).map_err(|line| {
            Unfit::Wrong(format!("line {line} is neither a [section], nor option = value, nor a comment"))
        })?;
        let wanted = tool.profile.clone().unwrap_or_else(|| "Credentials".to_owned());
        let section = document.section(&wanted);
        let section = section.ok_or_else(|| Unfit::Absent(format!("there is no section [{wanted}]")))?;
        let need = |keys: &[&str], name: &str| {
            section.get(keys).ok_or_else(|| Unfit::Wrong(format!("[{wanted}] has no {name}")))
        };
        let key = |token: Option<&str>| -> Result<Recipe, Unfit> {
            Ok(Recipe::Key {
                id: Secret::from(need(&ID, "accessKeyID")?),
                secret: Secret::from(need(&SECRET, "accessKeySecret")?),
                token: token.map(Secret::from),
            })
        };
        let mode = section.get(&["mode"]);
        let is = |wanted: &str| mode.is_some_and(|mode| mode.eq_ignore_ascii_case(wanted));
        if is("AK") {
            return key(None);
        }
        if is("StsToken") {
            return key(Some(need(&TOKEN, "stsToken")?));
        }
        if is("RamRoleArn") {
            let seconds = section.get(&["tokenTimeout"]).unwrap_or("3600").parse();
            let seconds = seconds
                .map_err(|_| Unfit::Wrong(format!("[{wanted}] has a tokenTimeout that is no number")))?;
            let session = section.get(&["roleSessionName"]).map(str::to_owned);
            let role = Role {
                arn: need(&["ramRoleArn"], "ramRoleArn")?.to_owned(),
                session_name: session.or_else(|| edge.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME")),
                duration: Duration::from_secs(seconds),
                policy: None,
                external_id: None,
            };
            let place = place(None, region_of(section), false, &tool.place)?;
            return Ok(Recipe::Role { of: Box::new(key(section.get(&TOKEN))?), role, place });
        }
        if is("EcsRamRole") {
            let role_name = section.get(&["ecsRoleName"]).map(str::to_owned);
            return Ok(Recipe::Ecs(Instance { role_name, ..Instance::default() }));
        }
        if mode.is_some() {
            return Err(Unfit::Wrong(format!(
                "[{wanted}] has a mode that nobody knows; write AK, StsToken, RamRoleArn or EcsRamRole"
            )));
        }
        // The tool itself then takes what is there, a key before a service.
        let service = document.section("AkService").and_then(|section| section.get(&["ecsAk"]));
        match (section.get(&ID), service) {
            (None, Some(url)) => {
                let url =
                    Url::parse(url).map_err(|error| Unfit::Wrong(format!("[AkService] ecsAk {error}")))?;
                Ok(Recipe::Uri(url))
            }
            (None, None) => Err(Unfit::Absent(format!("[{wanted}] has no access key"))),
            (Some(_), _) => key(section.get(&TOKEN)),
        }
    }
}

/// ossutil's region of STS; some write the whole host.
fn region_of(section: &Section) -> Option<&str> {
    let text = section.get(&["stsRegion"])?;
    let text = text.strip_prefix("sts.").unwrap_or(text);
    Some(text.strip_suffix(".aliyuncs.com").unwrap_or(text)).filter(|region| !region.is_empty())
}

/// The endpoints that the file has for buckets: `[Bucket-Cname]` goes before `[Bucket-Endpoint]`.
///
/// # Errors
/// The number of the first line that cannot be read.
pub fn bucket_endpoints(text: &str) -> Result<Vec<BucketEndpoint>, usize> {
    let document = Document::parse(text)?;
    let mut found: Vec<BucketEndpoint> = Vec::new();
    for (section, is_cname) in [("Bucket-Cname", true), ("Bucket-Endpoint", false)] {
        for (bucket, endpoint) in document.section(section).into_iter().flat_map(Section::raw) {
            if !endpoint.is_empty() && !found.iter().any(|known| known.bucket == bucket) {
                let (bucket, endpoint) = (bucket.to_owned(), endpoint.to_owned());
                found.push(BucketEndpoint { bucket, endpoint, is_cname });
            }
        }
    }
    Ok(found)
}

/// An endpoint for one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketEndpoint {
    /// The bucket.
    pub bucket: String,
    /// Its endpoint, as it is written.
    pub endpoint: String,
    /// Whether the endpoint is a name of the bucket's own.
    pub is_cname: bool,
}

#[cfg(test)]
mod tests {
    use super::{BucketEndpoint, bucket_endpoints};

    #[test]
    fn buckets_have_their_endpoints() {
        let text = "[Credentials]\nendpoint = e\n[Bucket-Endpoint]\nmy-bucket1 = endpoint1\nb2 = endpoint2\n\
                    [Bucket-Cname]\nmy-bucket1 = cname1\n";
        let row = |bucket: &str, endpoint: &str, is_cname| BucketEndpoint {
            bucket: bucket.to_owned(),
            endpoint: endpoint.to_owned(),
            is_cname,
        };
        let expected = vec![row("my-bucket1", "cname1", true), row("b2", "endpoint2", false)];
        assert_eq!(bucket_endpoints(text), Ok(expected));
    }
}
