//! Rejections of correctly signed requests, with the wording of OSS.

use base16ct::upper;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::{EmulatedAccount, InjectedFault};
use super::{NOW, ask, get, put, start, start_with};
use crate::oss::Region;

#[test]
fn a_clock_that_is_off_refuses_and_tells_its_time() {
    let oss = start();
    for (seconds, time, date) in [
        (3600, "2024-05-24T01:00:00.000Z", "Fri, 24 May 2024 01:00:00 GMT"),
        (-3600, "2024-05-23T23:00:00.000Z", "Thu, 23 May 2024 23:00:00 GMT"),
    ] {
        oss.faults.next(1, InjectedFault::Skew { seconds });
        let refused = get("/a").send(&oss);
        assert_eq!(refused.refusal(), (403, "RequestTimeTooSkewed".to_owned()));
        assert_eq!((refused.element("ServerTime").as_str(), refused.header("date")), (time, Some(date)));
        assert_eq!(refused.element("RequestTime"), NOW.iso_extended());
        assert_eq!(refused.element("MaxAllowedSkewMilliseconds"), "900000");
    }
    assert_eq!(put("/a", "x").send(&oss).status, 200);
}

#[test]
fn a_right_signature_is_refused_as_was_asked() {
    let oss = start();
    for (fault, code, ec) in [
        (InjectedFault::ExpiredToken, "SecurityTokenExpired", "0002-00000007"),
        (InjectedFault::UnknownKey, "InvalidAccessKeyId", "0002-00000902"),
        (InjectedFault::WrongSignature, "SignatureDoesNotMatch", "0002-00000040"),
    ] {
        oss.faults.next(1, fault);
        let refused = put("/a", "x").send(&oss);
        assert_eq!((refused.refusal(), refused.header("x-oss-ec")), ((403, code.to_owned()), Some(ec)));
        assert_eq!(put("/a", "x").send(&oss).status, 200);
    }
}

#[test]
fn a_wrong_signature_echoes_the_security_token_in_every_form() {
    let token = "planted+token/value==";
    let oss = start_with(EmulatedAccount::temporary("ak", "sk", token));
    let asked = |method| ask(method, "/a").header("x-oss-security-token", token);
    oss.faults.next(2, InjectedFault::WrongSignature);
    let refused = asked("GET").send(&oss);
    let raw = format!("x-oss-security-token:{token}\n");
    assert!(refused.element("StringToSign").contains(&raw), "{}", refused.text());
    let spaced: Vec<_> = token.bytes().map(|byte| upper::encode_string(&[byte])).collect();
    assert!(refused.element("StringToSignBytes").contains(&spaced.join(" ")), "{}", refused.text());
    let head = asked("HEAD").send(&oss);
    let told = STANDARD.decode(head.header("x-oss-err").expect("the document")).expect("base64");
    assert!(String::from_utf8_lossy(&told).contains(&raw));
    assert_eq!(asked("PUT").header("Content-Length", "0").send(&oss).status, 200);
}

#[test]
fn a_wrong_v4_signature_echoes_the_canonical_request() {
    let oss = start_with(EmulatedAccount::temporary("ak", "sk", "planted-token"));
    let refused = get("/a")
        .header("x-oss-date", NOW.iso_basic())
        .header("x-oss-content-sha256", "UNSIGNED-PAYLOAD")
        .header("x-oss-security-token", "planted-token")
        .header("Authorization", V4)
        .send_unsigned(&oss);
    assert_eq!(refused.refusal(), (403, "SignatureDoesNotMatch".to_owned()));
    let canonical = refused.element("CanonicalRequest");
    assert!(canonical.starts_with("GET\n/photos/a\n"), "{canonical}");
    assert!(canonical.contains("x-oss-security-token:planted-token\n"), "{canonical}");
    assert!(refused.element("StringToSign").starts_with("OSS4-HMAC-SHA256\n20240524T000000Z\n"));
}

#[test]
fn another_region_refuses_the_host_name_and_the_scope() {
    let oss = start();
    let beijing = || InjectedFault::OtherRegion(Region::parse("cn-beijing").expect("a region"));
    oss.faults.next(1, beijing());
    let by_name = get("/a").send(&oss);
    assert_eq!(by_name.refusal(), (403, "AccessDenied".to_owned()));
    assert_eq!(by_name.element("Endpoint"), "oss-cn-beijing.aliyuncs.com");
    assert!(by_name.element("Message").contains("must be addressed using the specified endpoint"));
    oss.faults.next(1, beijing());
    let by_scope = get("/photos/a")
        .host("127.0.0.1")
        .header("x-oss-date", NOW.iso_basic())
        .header("x-oss-content-sha256", "UNSIGNED-PAYLOAD")
        .header("Authorization", V4)
        .send_unsigned(&oss);
    assert_eq!(by_scope.refusal(), (400, "InvalidArgument".to_owned()));
    assert_eq!(by_scope.header("x-oss-ec"), Some("0002-00000226"));
    assert_eq!(by_scope.element("Message"), "Invalid signing region in Authorization header.");
}

/// A header that is well-formed but wrong.
const V4: &str =
    "OSS4-HMAC-SHA256 Credential=ak/20240524/cn-hangzhou/oss/aliyun_v4_request,Signature=00000000";
