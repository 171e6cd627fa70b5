//! Routes from the file of ossutil: the endpoint of each bucket, and the region that its requests are signed for.

use std::collections::BTreeMap;

use super::{World, load_in};
use crate::address::{Endpoint, UpstreamId};

/// Returns endpoint and region of the only route of a file with this section `[buckets b]`.
#[track_caller]
fn route(region_of_profile: &str, entry: &str) -> (Endpoint, Option<String>) {
    let file = format!(
        "[default]\naccess-key-id=LTAIx\naccess-key-secret=s\n{region_of_profile}\nbuckets=b\n[buckets b]\nfiles=\n{entry}\n"
    );
    let world =
        World { files: BTreeMap::from([("/ossutilconfig", (&*file.leak(), false))]), ..World::default() };
    let text = "[upstream]\nregion = \"us-west-1\"\n\
                [credentials.default]\ntype = \"ossutil\"\npath = \"/ossutilconfig\"\nroutes = true\n";
    let config = load_in(&world, text, &[]).expect("a configuration");
    let upstream = config.directory.get(UpstreamId(1));
    (upstream.endpoint.clone(), upstream.region.as_ref().map(ToString::to_string))
}

#[test]
fn a_bucket_with_a_region_alone_goes_to_the_public_endpoint_as_the_region_names_it() {
    for (region, name) in [
        ("cn-hangzhou", "oss-cn-hangzhou"),
        ("cn-hangzhou-finance", "oss-cn-hzfinance"),
        ("cn-shanghai-finance-1", "oss-cn-shanghai-finance-1-pub"),
        ("cn-shenzhen-finance-1", "oss-cn-szfinance"),
        ("cn-beijing-finance-1", "oss-cn-beijing-finance-1-pub"),
    ] {
        let line = format!("region={region}");
        let expected = Endpoint::parse(&format!("https://{name}.aliyuncs.com")).expect("an endpoint");
        assert_eq!(route("", &line), (expected.clone(), Some(region.to_owned())), "of the entry");
        assert_eq!(
            route(&line, "addressing-style=virtual"),
            (expected, Some(region.to_owned())),
            "of the profile"
        );
    }
}

#[test]
fn a_bucket_is_signed_for_the_region_of_its_entry_then_its_endpoint_then_its_profile() {
    let (shanghai, beijing) = ("region=cn-shanghai", "endpoint=oss-cn-beijing.aliyuncs.com");
    let both = format!("region=cn-qingdao\n{beijing}");
    for (profile, entry, expected) in [
        (shanghai, both.as_str(), "cn-qingdao"),
        (shanghai, beijing, "cn-beijing"),
        (shanghai, "endpoint=img.example.com", "cn-shanghai"),
        ("", beijing, "cn-beijing"),
        ("", "endpoint=img.example.com", "us-west-1"),
    ] {
        assert_eq!(route(profile, entry).1.as_deref(), Some(expected), "{profile} {entry}");
    }
}
