//! Every endpoint of `tests/vectors/endpoints.json` as the configured `endpoint`: the signing
//! region and the STS hosts.

use serde_json::Value;

use super::{load, loaded, mistakes, warned};
use crate::address::{BucketAddressing, UpstreamId};
use crate::credentials::SourceEnv;
use crate::time::{Clock, Timestamp};

/// An environment without variables.
struct NoVariables;

impl Clock for NoVariables {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(1_700_000_000)
    }
}

impl SourceEnv for NoVariables {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// A row of the table: the host, its kind, the region, and the hosts of STS.
struct Row {
    host: String,
    kind: String,
    region: Option<String>,
    sts: [Option<String>; 2],
}

fn rows() -> Vec<Row> {
    let text = include_str!("../../../tests/vectors/endpoints.json");
    let table: Value = serde_json::from_str(text).expect("the table");
    let rows = table["endpoints"].as_array().expect("rows").iter().map(|row| {
        let text = |index: usize| row[index].as_str().map(|text| text.replace("CLOUDBOX", HALL));
        Row {
            host: text(0).expect("a host").replace("ACCOUNT", "1234567890123456").to_ascii_lowercase(),
            kind: text(1).expect("a kind"),
            region: text(2),
            sts: [text(3), text(4)],
        }
    });
    rows.collect()
}

/// Returns whether endpoints of this kind accept other requests than those of the object API.
fn is_rejected(kind: &str) -> bool {
    let kinds = ["s3", "vectors", "tables", "dls", "other-service", "cname-target"];
    kinds.iter().any(|rejected| kind.starts_with(rejected))
}

/// Returns the difference between the row and the loaded configuration, if there is one.
fn fault(row: &Row) -> Option<String> {
    let text = format!("[upstream]\nendpoint = \"https://{}\"\n", row.host);
    let report = |text: &str| load(text).err().map(|errors| errors.to_string()).unwrap_or_default();
    if is_rejected(&row.kind) {
        let shown = report(&text);
        return (!shown.contains("only object API requests are signed")).then_some(shown);
    }
    // Old zone names match the pattern of no family.
    let region = row.region.as_deref().filter(|_| row.kind != "legacy-zone");
    let Some(expected) = region else {
        let shown = report(&text);
        let configured = load(&format!("{text}region = \"cn-configured\"\n"));
        let fits = configured.is_ok_and(|config| {
            let region = &config.routing_table.get(UpstreamId(0)).region;
            region.as_ref().is_some_and(|region| region.as_str() == "cn-configured")
                && config.warnings.is_empty()
        });
        return (!shown.contains("missing region") || !fits).then_some(shown);
    };
    let mut config = match load(&text) {
        Ok(config) => config,
        Err(errors) => return Some(errors.to_string()),
    };
    let region = config.routing_table.get(UpstreamId(0)).region.clone();
    if region.as_ref().map(|region| region.as_str()) != Some(expected) {
        return Some(format!("signed for {region:?}"));
    }
    let place = config.credentials[0].spec.sts_endpoint_mut().expect("credentials that may ask STS");
    let hosts = [false, true].map(|vpc| {
        place.vpc = vpc;
        if let Some(oss) = &mut place.of_oss {
            oss.is_internal = vpc;
        }
        place.select(&NoVariables).map(|selected| selected.url.to_string().replace("https://", ""))
    });
    let fits = hosts.iter().zip(&row.sts).all(|(got, expected)| {
        expected.as_ref().is_none_or(|expected| got.as_ref().is_ok_and(|got| got == expected))
    });
    (!fits).then(|| format!("STS {hosts:?}"))
}

#[test]
fn every_endpoint_of_the_table_is_signed_for_its_region_or_rejected() {
    let rows = rows();
    let wrong: Vec<_> =
        rows.iter().filter_map(|row| Some(format!("{} {}: {}", row.kind, row.host, fault(row)?))).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn a_region_whose_endpoint_is_not_by_the_pattern_implies_the_one_that_exists() {
    for (settings, host) in [
        ("region = \"cn-hangzhou-finance\"", "oss-cn-hzfinance"),
        ("region = \"cn-hangzhou-finance\"\ninternal = true", "oss-cn-hzfinance-internal"),
        ("region = \"cn-shanghai-finance-1\"", "oss-cn-shanghai-finance-1-pub"),
        ("region = \"cn-shanghai-finance-1\"\ninternal = true", "oss-cn-shanghai-finance-1-internal"),
        ("region = \"cn-shenzhen-finance-1\"", "oss-cn-szfinance"),
        ("region = \"rg-china-mainland\"", "oss-rg-china-mainland"),
    ] {
        let config = loaded(&format!("[upstream]\n{settings}"));
        let endpoint = &config.routing_table.get(UpstreamId(0)).endpoint;
        assert_eq!(endpoint.host.as_str(), format!("{host}.aliyuncs.com"), "{settings}");
    }
    let shown = mistakes(load("[upstream]\nregion = \"rg-china-mainland\"\ninternal = true"));
    assert!(shown.concat().contains("has no internal endpoint"), "{shown:?}");
}

#[test]
fn a_private_link_is_addressed_in_path_style() {
    let text = "[upstream]\nendpoint = \"https://ep-bp1i0.oss.cn-hangzhou.privatelink.aliyuncs.com\"\n";
    assert_eq!(loaded(text).routing_table.get(UpstreamId(0)).addressing, BucketAddressing::Path);
    let shown = mistakes(load(&format!("{text}addressing = \"virtual\"")));
    assert!(shown.concat().contains("does not support virtual addressing"), "{shown:?}");
    warned(
        &format!("{text}region = \"cn-beijing\""),
        "proxy.toml:2: upstream.endpoint",
        "for region cn-beijing",
    );
}

const HALL: &str = "cb-f8z7yvzgwfkl9q0h";
