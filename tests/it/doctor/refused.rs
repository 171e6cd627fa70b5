//! `doctor` when OSS rejects the signed request, or there are no credentials: clock, region, token,
//! secret, key.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::emulator::{
    EmulatedAccount, Emulator, EmulatorSettings, EmulatorThread, InjectedFault,
};
use oss_signing_proxy::oss::Region;

use super::{STS, at, doctor, refusing, with_fault};
use crate::support::{KEY, SECRET, Script, TOKEN, oss};

#[test]
fn a_wrong_clock_is_told_from_the_date_and_from_the_refusal() {
    let late = with_fault(InjectedFault::Skew { seconds: 3_600 }, &KEY);
    assert_eq!((late.code, late.fault("upstream", "clock")), (77, "clock-skewed"), "{}", late.lines);
    for words in
        ["behind that of OSS", "RequestTimeTooSkewed", "NTP", "signed with the time of OSS, was accepted"]
    {
        assert!(late.lines.contains(words), "{words}: {}", late.lines);
    }
    let early = with_fault(InjectedFault::Skew { seconds: -3 * 86_400 }, &KEY);
    assert!(early.code == 77 && early.lines.contains("3 days ahead of that of OSS"), "{}", early.lines);
    let little = with_fault(InjectedFault::Skew { seconds: 60 }, &KEY);
    assert_eq!((little.code, little.fault("upstream", "clock")), (0, "clock-off"), "{}", little.lines);
    // An error response without a Date.
    let script = refusing("403 Forbidden", "<Error><Code>RequestTimeTooSkewed</Code></Error>");
    let seen = doctor(&at(script.address), &[], &KEY);
    assert_eq!(seen.fault("upstream", "clock"), "clock-unknown", "{}", seen.lines);
    seen.says(77, ("signed", "clock-skewed"), &["the clock of this host is too far off"]);
}

#[test]
fn a_wrong_region_is_told_with_the_right_one() {
    // OSS returns the endpoint of the bucket.
    let moved = with_fault(InjectedFault::OtherRegion(Region::parse("cn-beijing").expect("a region")), &KEY);
    moved.says(78, ("signed", "wrong-region"), &["oss-cn-beijing.aliyuncs.com", "--region cn-beijing"]);
    // An endpoint whose name does not contain its region rejects the scope.
    let oss = oss();
    let address = format!("http://{}", oss.address);
    let seen = doctor("", &["--region", "cn-beijing", "--endpoint", &address], &KEY);
    seen.says(78, ("signed", "wrong-region"), &["InvalidArgument", "cn-beijing is not the region"]);
    // The string to sign in the error response has another region.
    let script = refusing(
        "403 Forbidden",
        "<Error><Code>SignatureDoesNotMatch</Code><StringToSign>OSS4-HMAC-SHA256\n20260101T000000Z\n20260101/cn-shanghai/oss/aliyun_v4_request\nab</StringToSign></Error>",
    );
    doctor(&at(script.address), &[], &KEY).says(78, ("signed", "wrong-region"), &["cn-shanghai is"]);
}

#[test]
fn a_temporary_key_without_its_token_is_told() {
    let oss = oss();
    // The id alone is sufficient, before anything is sent.
    let seen = doctor(&at(oss.address), &[], &STS[..2]);
    assert_eq!(
        (seen.code, seen.fault("source", "credentials")),
        (78, "source-misconfigured"),
        "{}",
        seen.lines
    );
    assert!(seen.lines.contains("no security token"), "{}", seen.lines);
    assert_eq!(seen.fault("upstream", "signed"), "not-asked", "{}", seen.lines);
    // OSS reports a temporary key that looks like a long-lived one.
    let oss = disguised();
    let key = [("OSS_ACCESS_KEY_ID", "TMP.testkeyid"), ("OSS_ACCESS_KEY_SECRET", SECRET)];
    doctor(&at(oss.address), &[], &key).says(
        77,
        ("signed", "token-missing"),
        &["its security token is missing"],
    );
}

/// Starts an OSS that knows a temporary key without the usual prefix.
fn disguised() -> EmulatorThread {
    let settings =
        EmulatorSettings::new(Region::parse("cn-hangzhou").expect("a region"), Arc::new(SystemEnv))
            .account(EmulatedAccount::temporary("TMP.testkeyid", SECRET, TOKEN));
    Emulator::spawn(SocketAddr::from(([127, 0, 0, 1], 0)), settings).expect("an emulated OSS")
}

#[test]
fn an_expired_token_is_told() {
    with_fault(InjectedFault::ExpiredToken, &STS).says(
        77,
        ("signed", "token-expired"),
        &["SecurityTokenExpired", "refreshes them"],
    );
}

#[test]
fn a_wrong_secret_is_told_when_clock_and_region_are_right() {
    let oss = oss();
    let key = [KEY[0], ("OSS_ACCESS_KEY_SECRET", "other-planted-secret")];
    for version in ["v4", "v1"] {
        let seen = doctor(&at(oss.address), &["--bucket", "photos", "--signature", version], &key);
        assert_eq!(seen.fault("upstream", "clock"), "ok", "{}", seen.lines);
        seen.says(77, ("signed", "wrong-secret"), &["SignatureDoesNotMatch", "default/env/OSS"]);
    }
}

#[test]
fn an_unknown_key_is_told() {
    with_fault(InjectedFault::UnknownKey, &KEY).says(
        77,
        ("signed", "unknown-key"),
        &["InvalidAccessKeyId", "LTAI…eyid"],
    );
}

#[test]
fn no_credentials_at_all_are_told_with_why_each_source_was_passed_over() {
    let oss = oss();
    let seen = doctor(&at(oss.address), &[], &[("HOME", "/nowhere")]);
    assert_eq!((seen.code, seen.fault("source", "credentials")), (77, "no-credentials"), "{}", seen.lines);
    // The text output lists the providers above; the document has them in another place.
    let remedy = seen.finding("source", "credentials")["remedy"].as_str().expect("a remedy");
    assert!(remedy.ends_with("the list of providers shows why each was skipped"), "{remedy}");
    for words in
        ["ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "~/.aliyun/config.json", "set OSS_ACCESS_KEY_ID", "OSS responds"]
    {
        assert!(seen.lines.contains(words), "{words}: {}", seen.lines);
    }
}

#[test]
fn a_signature_or_a_key_that_oss_takes_no_more_is_told() {
    let v1 = refusing("403 Forbidden", "<Error><Code>AccessDenied</Code><EC>0002-00000080</EC></Error>");
    doctor(&at(v1.address), &["--signature", "v1"], &KEY).says(78, ("signed", "v1-refused"), &["\"v4\""]);
    let worded = refusing(
        "403 Forbidden",
        "<Error><Code>AccessDenied</Code><Message>OSS no longer supports V1 signatures.</Message></Error>",
    );
    doctor(&at(worded.address), &["--signature", "v1"], &KEY).says(
        78,
        ("signed", "v1-refused"),
        &["only V4"],
    );
    let disabled =
        refusing("403 Forbidden", "<Error><Code>InvalidAccessKeyId</Code><EC>0002-00000904</EC></Error>");
    doctor(&at(disabled.address), &[], &KEY).says(77, ("signed", "key-disabled"), &["enable it in RAM"]);
    let dateless =
        refusing("403 Forbidden", "<Error><Code>AccessDenied</Code><EC>0002-00000503</EC></Error>");
    doctor(&at(dateless.address), &[], &KEY).says(77, ("signed", "refused"), &["0002-00000503"]);
}

#[test]
fn an_error_about_the_endpoint_or_the_account_is_told_with_its_remedy() {
    for (status, document, code, fault, words) in [
        (
            "403 Forbidden",
            "<Error><Code>SecondLevelDomainForbidden</Code></Error>",
            78,
            "path-style",
            "set addressing = \"virtual\"",
        ),
        (
            "400 Bad Request",
            "<Error><Code>PublicEndpointForbidden</Code><EC>0048-00000401</EC></Error>",
            78,
            "public-endpoint",
            "addressing = \"cname\"; more permissions do not help",
        ),
        (
            "400 Bad Request",
            "<Error><Code>AccessDenied</Code><EC>0048-00000401</EC></Error>",
            78,
            "public-endpoint",
            "internal = true",
        ),
        (
            "403 Forbidden",
            "<Error><Code>UserDisable</Code></Error>",
            77,
            "account-disabled",
            "pay the overdue balance of the account",
        ),
        (
            "403 Forbidden",
            "<Error><Code>AccessDenied</Code><EC>0003-00000806</EC></Error>",
            77,
            "arrears",
            "the account has overdue payments",
        ),
        (
            "403 Forbidden",
            "<Error><Code>AccessDenied</Code><Endpoint>cn-beijing.oss.aliyuncs.com</Endpoint></Error>",
            78,
            "wrong-region",
            "--region cn-beijing",
        ),
        (
            "403 Forbidden",
            "<Error><Code>AccessDenied</Code><Endpoint>oss-cn-hangzhou-internal.aliyuncs.com</Endpoint></Error>",
            78,
            "wrong-region",
            "set `endpoint` to oss-cn-hangzhou-internal.aliyuncs.com",
        ),
    ] {
        let script = refusing(status, document);
        doctor(&at(script.address), &["--bucket", "photos"], &KEY).says(code, ("signed", fault), &[words]);
    }
}

#[test]
fn a_public_name_that_is_refused_for_data_alone_is_told_though_the_bucket_is_shown() {
    let document =
        STANDARD.encode("<Error><Code>PublicEndpointForbidden</Code><EC>0048-00000401</EC></Error>");
    let script = Script::start(move |peer| {
        while let Some(head) = peer.head() {
            let answer = if head.starts_with("HEAD ") {
                format!("400 Bad Request\r\nx-oss-err: {document}\r\nx-oss-ec: 0048-00000401")
            } else {
                "200 OK".to_owned()
            };
            peer.send(format!("HTTP/1.1 {answer}\r\nx-oss-request-id: 5F00\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let seen = doctor(&at(script.address), &["--bucket", "photos"], &KEY);
    seen.says(
        78,
        ("signed", "public-endpoint"),
        &["GetBucketInfo of photos", "HEAD of the bucket was rejected (400"],
    );
}
