//! The callers of the subjects that verify signatures: their sections of the configuration, and the
//! headers with which their requests are signed.

use std::fmt::Write as _;

use http::{HeaderMap, Method};
use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::internals::oss::{Key, Query};
use oss_signing_proxy::internals::sign::{
    SignableRequest, SigningIdentity, SigningKey, SigningScheme, SigningTime,
};
use oss_signing_proxy::internals::time::day;
use oss_signing_proxy::oss::{Bucket, Region};
use oss_signing_proxy::secret::Secret;
use oss_signing_proxy::time::Clock as _;

/// Returns the sections of so many callers, each with one key. The secrets of the second half of
/// them depend on `generation`; those of generation 0 are the ones that sign.
pub(crate) fn sections(callers: usize, generation: usize) -> String {
    let mut text = String::new();
    for caller in 0..callers {
        let (id, mut secret) = (key_id(caller), secret(caller));
        if generation > 0 && caller >= callers / 2 {
            let _ = write!(secret, "-{generation}");
        }
        let _ = write!(
            text,
            "[[caller]]\nname = \"caller-{caller}\"\nallow = \"everything\"\n\
             key = [{{ id = \"{id}\", secret = \"{secret}\" }}]\n"
        );
    }
    text
}

/// Returns the header lines that sign a request for `BUCKET/KEY` now, with the key of a caller. OSS
/// and the proxy accept such a signature for 15 minutes.
pub(crate) fn signature_lines(method: &str, bucket: &str, key: &str, caller: usize) -> String {
    let region = Region::parse("cn-hangzhou").expect("a region");
    let time = SigningTime::new(SystemEnv.now());
    let (id, secret) = (key_id(caller), Secret::new(secret(caller)));
    let identity = SigningIdentity { id: &id, secret: &secret, token: None };
    let scheme = SigningScheme::V4 { day: day(time.at()), region: &region };
    let mut headers = HeaderMap::new();
    let request = SignableRequest {
        method: &method.parse::<Method>().expect("a method"),
        bucket: Some(&Bucket::parse(bucket).expect("a bucket")),
        key: &Key::from_path(key).expect("a key"),
        query: &Query::default(),
        headers: &headers,
    };
    SigningKey::new(identity, scheme).expect("a key").sign(&request, &time).apply(&mut headers);
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        format!("{name}: {}\r\n", value.to_str().expect("text"))
    };
    headers.iter().map(line).collect()
}

fn key_id(caller: usize) -> String {
    format!("caller-{caller}-1")
}

/// Returns a secret of the length of those that `openssl rand -hex 20` prints.
fn secret(caller: usize) -> String {
    format!("secret-of-a-caller-of-the-benchmark-{caller:06}")
}
