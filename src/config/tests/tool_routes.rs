//! Routes from the file of ossutil: the endpoint of each bucket and its signing region.

use std::collections::BTreeMap;

use super::super::{ConfigErrors, ProxyConfig};
use super::{World, load_in};
use crate::address::{Endpoint, UpstreamId};

fn file(named: &str, region_of_profile: &str, entry: &str) -> String {
    format!(
        "[default]\naccess-key-id=LTAIx\naccess-key-secret=s\n{region_of_profile}\nbuckets={named}\n[buckets b]\nfiles=\n{entry}\n"
    )
}

/// Loads a configuration with this file of ossutil.
fn load_with(file: String) -> Result<ProxyConfig, ConfigErrors> {
    let world =
        World { files: BTreeMap::from([("/ossutilconfig", (&*file.leak(), false))]), ..World::default() };
    let text = "[upstream]\nregion = \"us-west-1\"\n\
                [credentials.default]\ntype = \"ossutil\"\npath = \"/ossutilconfig\"\nroutes = true\n";
    load_in(&world, text, &[])
}

/// Returns the endpoint and the region of the only route of a file with this section `[buckets b]`.
#[track_caller]
fn route(region_of_profile: &str, entry: &str) -> (Endpoint, Option<String>) {
    let config = load_with(file("b", region_of_profile, entry)).expect("a configuration");
    let upstream = config.routing_table.get(UpstreamId(1));
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
    let shanghai = "region=cn-shanghai";
    let beijing = "endpoint=oss-cn-beijing.aliyuncs.com";
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

#[test]
fn a_route_of_the_file_is_checked_as_one_of_ours() {
    for (entry, words) in [
        ("endpoint=http://127.0.0.1:8770", "a listener of this proxy"),
        ("endpoint=files.oss-cn-beijing.aliyuncs.com", "files."),
        ("endpoint=oss-cn-beijing.aliyuncs.com\naddressing-style=cname", "cname"),
    ] {
        let report = load_with(file("b", "", entry)).expect_err(entry).to_string();
        assert!(report.contains("credentials.default.routes") && report.contains(words), "{entry}: {report}");
    }
    let report = load_with(file("c", "", "region=cn-beijing")).expect_err("no section").to_string();
    assert!(report.contains("[buckets c]"), "{report}");
}
