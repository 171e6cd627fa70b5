//! Responses of STS and their results; STS endpoints; session names.

use std::collections::HashMap;

use http::HeaderMap;
use serde_json::Value;
use zeroize::Zeroizing;

use super::role::session_name;
use super::{OssLocation, StsCause, StsEndpointConfig, StsReply, response};
use crate::credentials::{ProvideError, SourceEnv};
use crate::oss::Region;
use crate::time::{Clock, Timestamp};
use crate::transport::{HttpResponse, Url};

struct World(HashMap<&'static str, &'static str>);

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(1_700_000_000)
    }
}

impl SourceEnv for World {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }
}

fn reply(status: u16, body: &[u8], url: &Url) -> StsReply {
    let body = Zeroizing::new(body.to_vec());
    let response = HttpResponse { status, headers: HeaderMap::new(), body };
    StsReply { response, url: url.clone(), ahead_s: None }
}

fn rejected(reply: &StsReply) -> String {
    match response::read(reply).map_err(ProvideError::from) {
        Err(ProvideError::Refused(text)) => text,
        Ok(_) | Err(_) => panic!("no refusal"),
    }
}

#[test]
fn each_published_answer_comes_to_what_it_should() {
    let all: Value =
        serde_json::from_str(include_str!("../../../tests/vectors/sts_answers.json")).expect("json");
    let samples = all["samples"].as_array().expect("samples");
    assert_eq!(samples.len(), 26);
    let url = Url::parse("https://sts.aliyuncs.com").expect("a URL");
    for sample in samples {
        let id = sample["id"].as_str().expect("an id");
        let body = sample["body"].as_str().expect("a body").replace("{now+900s}", "2999-01-01T00:00:00Z");
        let status = u16::try_from(sample["status"].as_u64().expect("a status")).expect("a status");
        let reply = reply(status, body.as_bytes(), &url);
        let read = response::read(&reply);
        let cause = read.as_ref().err().map(|error| error.cause);
        let given = read.map_err(ProvideError::from).and_then(|triple| triple.into_credentials("x", "STS"));
        let outcome = match &given {
            Ok(credentials) if credentials.expires.is_some_and(|end| end.unix_s() < 1_000_000_000) => {
                // Expiry is checked by the source, which knows the time.
                "retryable_error"
            }
            Ok(_) => "credentials",
            Err(ProvideError::Unavailable(_)) => "retryable_error",
            Err(_) if cause == Some(StsCause::OidcTokenExpired) => "reread_token_then_retry",
            Err(ProvideError::Refused(_)) if response::is_about_time(&reply.response) => "clock_error",
            Err(ProvideError::Refused(_)) => "permanent_error",
            Err(other) => panic!("{id}: {other}"),
        };
        assert_eq!(outcome, sample["expect"], "{id}: {given:?}");
        if let Err(error) = given {
            let text = error.to_string();
            assert!(text.contains("sts.aliyuncs.com") || text.starts_with("STS returned"), "{id}: {text}");
            for secret in ["ststoken", "aksecret", "4xx error", "invalid json", "saks"] {
                assert!(!text.contains(secret), "{id}: {text}");
            }
        }
    }
}

#[test]
fn an_error_tells_code_request_id_and_remedy_and_nothing_else() {
    let body = br#"{"RequestId":"R-1","Code":"NoPermission","Message":"the secret is hunter2"}"#;
    let url = Url::parse("https://sts.example.com").expect("a URL");
    let text = rejected(&reply(403, body, &url));
    assert!(text.contains("403 NoPermission, request id R-1") && text.contains("trust policy"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    let forged = br#"{"RequestId":"a\nb","Code":"No\u001b[31mPermission"}"#;
    let text = rejected(&reply(403, forged, &url));
    assert!(text.contains("403 without a code;"), "{text}");
}

#[test]
fn the_nearest_sts_is_asked() {
    let region = |text: &str| Region::parse(text).expect("a region");
    let shenzhen = |is_internal| StsEndpointConfig {
        of_oss: Some(OssLocation { region: region("cn-shenzhen"), is_internal }),
        ..StsEndpointConfig::default()
    };
    let named = StsEndpointConfig { region: Some(region("cn-beijing")), ..shenzhen(true) };
    let exact = StsEndpointConfig {
        endpoint: Some(Url::parse("http://127.0.0.1:9").expect("a URL")),
        ..named.clone()
    };
    let vpc = ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true");
    for (place, variables, expected) in [
        (&exact, vec![("ALIBABA_CLOUD_STS_ENDPOINT", "other.example.com")], "http://127.0.0.1:9"),
        (&named, vec![("ALIBABA_CLOUD_STS_ENDPOINT", "other.example.com")], "https://other.example.com"),
        (&named, vec![("ALIBABA_CLOUD_STS_REGION", "cn-qingdao")], "https://sts.cn-beijing.aliyuncs.com"),
        (&named, vec![vpc], "https://sts-vpc.cn-beijing.aliyuncs.com"),
        (
            &shenzhen(true),
            vec![("ALIBABA_CLOUD_STS_REGION", "cn-qingdao")],
            "https://sts.cn-qingdao.aliyuncs.com",
        ),
        (&shenzhen(false), vec![], "https://sts.cn-shenzhen.aliyuncs.com"),
        (&shenzhen(true), vec![], "https://sts-vpc.cn-shenzhen.aliyuncs.com"),
        (&StsEndpointConfig::default(), vec![], "https://sts.aliyuncs.com"),
        (
            &StsEndpointConfig {
                region: Some(region("cn-hangzhou-finance")),
                ..StsEndpointConfig::default()
            },
            vec![],
            "https://sts.aliyuncs.com",
        ),
    ] {
        let url = place.select(&World(variables.iter().copied().collect())).expect("a URL").url;
        assert_eq!(url.to_string(), expected, "{place:?} {variables:?}");
    }
    let refused = StsEndpointConfig::default().select(&World([vpc].into()));
    assert!(
        matches!(&refused, Err(ProvideError::Failed(failure)) if failure.to_string().contains("sts_region")),
        "{refused:?}"
    );
}

#[test]
fn every_sts_of_the_table_is_asked() {
    let text = include_str!("../../../tests/vectors/endpoints.json");
    let table: Value = serde_json::from_str(text).expect("the table");
    let mut failed = Vec::new();
    for row in table["sts"].as_array().expect("rows") {
        let region = Region::parse(row["region"].as_str().expect("a region")).ok();
        let vpc = row["vpc"].as_bool().expect("a truth");
        let configured = StsEndpointConfig { region: region.clone(), vpc, ..StsEndpointConfig::default() };
        let suggested = StsEndpointConfig {
            of_oss: region.map(|region| OssLocation { region, is_internal: vpc }),
            ..StsEndpointConfig::default()
        };
        for place in [configured, suggested] {
            let url = place.select(&World([].into())).expect("a URL").url.to_string();
            let host = url.strip_prefix("https://").expect("a host");
            if !row["expected"].as_array().expect("hosts").iter().any(|expected| expected == host) {
                failed.push(format!("{row}: {host}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_session_has_a_name_that_sts_takes() {
    for (wanted, name) in [("ossp-a.b@c_d-1", "ossp-a.b@c_d-1"), ("a b/ü", "a-b--"), ("x", "x-"), ("", "--")]
    {
        assert_eq!(session_name(wanted), name);
    }
    assert_eq!(session_name(&"x".repeat(100)).len(), 64);
}
