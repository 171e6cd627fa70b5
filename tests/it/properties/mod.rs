//! The checks of the fuzz targets, with generated inputs that resemble real ones.

mod checks;
mod signature_checks;

use proptest::prelude::*;

const TOML: &str = r#"[[listen]]
address = "127.0.0.1:8770"
tls = { cert_file = "a" }
[upstream]
region = "cn-hangzhou"
[[route]]
match = { bucket = "x-*" }
[limits]
body = "5GiB"
[credentials.default]
type = "static"
"#;

proptest! {
    #[test]
    fn hosts(data in "[a-zA-Z0-9.:@\\[\\]-]{0,30}(\\.oss-cn-hangzhou\\.aliyuncs\\.com|\\.oss\\.example\\.test|)\\.?(:[0-9]{0,6})?") {
        checks::host(data.as_bytes());
    }

    #[test]
    fn hosts_of_any_bytes(data in prop::collection::vec(any::<u8>(), 0..60)) {
        checks::host(&data);
    }

    #[test]
    fn targets(data in "(http://([a-z0-9.:-]{0,20}|[a-z0-9-]{3,9}[.]oss-cn-(beijing|hangzhou|szfinance)[.]aliyuncs[.]com))?/[a-z0-9-]{0,20}/([ -~]|%[0-9A-Fa-f]{2}){0,60}") {
        checks::target(data.as_bytes());
    }

    #[test]
    fn targets_of_any_bytes(data in prop::collection::vec(any::<u8>(), 0..120)) {
        checks::target(&data);
        checks::target(&[b"/photos/", &data[..]].concat());
    }

    #[test]
    fn queries(data in "(([ -~]|%[0-9A-Fa-f]{2}){0,10}(=|&|)){0,8}") {
        checks::query(data.as_bytes());
    }

    #[test]
    fn errors(token in "[A-Za-z0-9+/=]{16,60}", rest in prop::collection::vec(any::<u8>(), 0..200)) {
        checks::redaction(&[token.as_bytes(), b"\n", &rest].concat());
        // The text around the token has parts of it.
        checks::redaction(&[token.as_bytes(), b"\n", &token.as_bytes()[..8], &rest, &token.as_bytes()[4..]].concat());
    }

    #[test]
    fn configurations(at in 0..TOML.len(), cut in 0..40_usize, text in "[ -~\n]{0,20}") {
        let end = (at + cut).min(TOML.len());
        checks::configuration(format!("{}{text}{}", &TOML[..at], &TOML[end..]).as_bytes());
    }

    #[test]
    fn no_authorization_proves_a_caller_without_its_secret(
        value in "(OSS (ak|team-a-1):[A-Za-z0-9+/=]{28}|OSS4-HMAC-SHA256 Credential=(ak|team-a-1)/20231216/[a-z-]{0,12}/oss/aliyun_v4_request(,|, )(AdditionalHeaders=[a-z;-]{0,9},)?Signature=[0-9a-f]{64})",
        rest in "(\n[ -~]{0,20}){0,4}",
    ) {
        signature_checks::authorization(format!("\n{value}{rest}").as_bytes());
    }

    #[test]
    fn no_query_proves_a_caller_without_its_secret(
        value in "(OSSAccessKeyId=(ak|team-a-1)|Expires=[0-9]{9,11}|Signature=[A-Za-z0-9%]{28}|x-oss-[a-z-]{4,12}=[ -~]{0,20}|&){0,8}",
        rest in "(\n[ -~]{0,20}){0,4}",
    ) {
        signature_checks::presigned(format!("\n{value}{rest}").as_bytes());
    }

    #[test]
    fn no_bytes_prove_a_caller(data in prop::collection::vec(any::<u8>(), 0..200)) {
        signature_checks::authorization(&data);
        signature_checks::presigned(&data);
    }

    #[test]
    fn a_signed_request_that_was_changed_is_rejected_or_means_the_same(
        selector in any::<u8>(),
        changes in prop::collection::vec(any::<[u8; 4]>(), 0..4),
    ) {
        let data = [&[signature_checks::CHANGES, selector][..], &changes.concat()].concat();
        signature_checks::authorization(&data);
        signature_checks::presigned(&data);
    }
}
