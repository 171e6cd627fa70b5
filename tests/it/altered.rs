//! OSS rejects a request that was altered after it was signed: the signer of the proxy against the
//! separate verifier of the emulator.

use std::sync::LazyLock;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::emulator::EmulatorThread;
use oss_signing_proxy::internals::oss::{Key, Query};
use oss_signing_proxy::internals::sign::{
    SignableRequest, SigningIdentity, SigningKey, SigningScheme, SigningTime,
};
use oss_signing_proxy::internals::time::{day, http_date, iso_basic};
use oss_signing_proxy::oss::Region;
use oss_signing_proxy::secret::Secret;
use oss_signing_proxy::time::{Clock as _, Timestamp};
use proptest::prelude::*;

use crate::support::{Answer, Client, ID, SECRET, bucket, oss};

static OSS: LazyLock<EmulatorThread> = LazyLock::new(oss);

/// A signed request, in parts that can be altered.
#[derive(Clone, Debug)]
struct Signed {
    method: Method,
    key: Vec<u8>,
    query: String,
    headers: HeaderMap,
}

#[derive(Clone, Copy, Debug)]
enum Version {
    V4,
    V1,
}

fn signed(version: Version, key: &[u8], prefix: &str) -> Signed {
    let now = SigningTime::new(SystemEnv.now());
    let region = Region::parse("cn-hangzhou").expect("a region");
    let secret = Secret::from(SECRET);
    let scheme = match version {
        Version::V4 => SigningScheme::V4 { day: day(now.at()), region: &region },
        Version::V1 => SigningScheme::V1,
    };
    let identity = SigningIdentity { id: ID, secret: &secret, token: None };
    let prepared = SigningKey::new(identity, scheme).expect("a key");
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("text/plain"));
    headers.insert("x-oss-meta-a", HeaderValue::from_str(prefix).expect("a value"));
    let query = "acl&x-oss-traffic-limit=819200".to_owned();
    let subject_key = Key::from_bytes(key.to_vec()).expect("a key");
    let bucket = bucket("photos");
    let instructions = prepared.sign(
        &SignableRequest {
            method: &Method::GET,
            bucket: Some(&bucket),
            key: &subject_key,
            query: &Query::parse(&query).expect("a query"),
            headers: &headers,
        },
        &now,
    );
    instructions.apply(&mut headers);
    Signed { method: Method::GET, key: key.to_vec(), query, headers }
}

impl Signed {
    fn send(&self) -> Answer {
        let key = Key::from_bytes(self.key.clone()).expect("a key");
        let mut client = Client::connect(OSS.address);
        client.send(format!("{} /{}?{} HTTP/1.1\r\n", self.method, key.wire(), self.query));
        client.send("Host: photos.oss-cn-hangzhou.aliyuncs.com\r\n");
        for (name, value) in &self.headers {
            client.send(format!("{name}: "));
            client.send(value.as_bytes());
            client.send("\r\n");
        }
        client.send("Content-Length: 0\r\n\r\n");
        client.answer(self.method.as_str()).expect("an answer")
    }

    fn is_trusted(&self) -> bool {
        let answer = self.send();
        let refused = ["SignatureDoesNotMatch", "RequestTimeTooSkewed", "AccessDenied", "InvalidArgument"];
        !(answer.status == 403 || answer.status == 400)
            || !refused.iter().any(|code| answer.text().contains(code))
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"));
    }
}

/// The name of an alteration, and its function.
type Alteration = (&'static str, fn(&mut Signed));

/// Returns an alteration for each part of a request that a signature covers.
fn alterations(version: Version) -> Vec<Alteration> {
    let mut all: Vec<Alteration> = vec![
        ("method", |r| r.method = Method::DELETE),
        ("key", |r| r.key.push(b'x')),
        ("parameter value", |r| r.query = r.query.replace("819200", "819201")),
        ("parameter removed", |r| r.query = r.query.replace("&x-oss-traffic-limit=819200", "")),
        ("parameter added", |r| r.query.push_str("&uploadId=1")),
        ("content type", |r| r.set("content-type", "text/html")),
        ("user header", |r| r.set("x-oss-meta-a", "changed")),
        ("user header added", |r| r.set("x-oss-meta-b", "new")),
        ("user header removed", |r| drop(r.headers.remove("x-oss-meta-a"))),
        ("signature", |r| {
            let text = r.headers["authorization"].to_str().expect("text").to_owned();
            let last = if text.ends_with('0') { "1" } else { "0" };
            let changed = format!("{}{last}", &text[..text.len() - 1]);
            r.set("authorization", &changed);
        }),
    ];
    match version {
        Version::V4 => all.push(("date", |r| {
            let later = iso_basic(Timestamp::from_unix_s(SystemEnv.now().unix_s() + 60));
            r.set("x-oss-date", &later);
        })),
        Version::V1 => all.push(("date", |r| {
            let later = http_date(Timestamp::from_unix_s(SystemEnv.now().unix_s() + 60));
            r.set("date", &later);
        })),
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_change_after_signing_is_refused(
        key in prop::collection::vec(any::<u8>(), 1..60).prop_filter("OSS takes no such key", |key| !b"/\\".contains(&key[0])),
        value in "[!-~]{1,30}",
    ) {
        for version in [Version::V4, Version::V1] {
            let good = signed(version, &key, &value);
            let answer = good.send();
            prop_assert!(answer.text().contains("NoSuchKey"), "{:?} {:?}: {}", version, good, answer.text());
            for (what, alter) in alterations(version) {
                let mut altered = good.clone();
                alter(&mut altered);
                prop_assert!(!altered.is_trusted(), "{:?}: {} was changed and nobody noticed: {:?}", version, what, altered);
            }
        }
    }
}
