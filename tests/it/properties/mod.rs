//! The checks of the fuzz targets, with generated inputs that resemble real ones.

mod checks;
mod identity_checks;
mod policy_checks;
mod signature_checks;

use base64::Engine as _;
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

const TEAM_FILE: &str = r#"[[caller]]
name = "a"
allow = "read"
presign_max = "1h"
key = [{ id = "a-1", secret = "0123456789abcdef0123456789aaaa" }]
token = "0123456789abcdef0123456789token"
[[caller]]
name = "b"
uid = 7
allow = [{ group = ["read", "list"], bucket = "team-data", prefix = "b/" }]
policy = ['{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}']
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

    #[test]
    fn policy_documents(statements in prop::collection::vec(
        "\\{\"Effect\":\"(Allow|Deny)\",\"(Not)?Action\":(\"oss:[GP]?[a-z*?]{0,4}\"|\\[\"\\*\",\"oss:GetObject\"\\]),\"Resource\":\"(\\*|acs:oss:\\*:\\*:team-data(/[ab?*/]{0,4})?)\"(,\"Condition\":\\{\"String(Not)?Like\":\\{\"oss:Prefix\":\\[\"[a-b/*]{0,3}\"\\]\\}\\})?\\}",
        1..4,
    )) {
        let text = format!("{{\"Version\":\"1\",\"Statement\":[{}]}}", statements.join(","));
        policy_checks::policy_document(text.as_bytes());
    }

    #[test]
    fn batch_deletes(body in "<Delete>(<Quiet>true</Quiet>)?(<Object><Key>([ -~]|&amp;|&#x?[0-9]{2,5};|\\PC){1,8}</Key>(<VersionId>[a-z]</VersionId>)?</Object>){1,3}[ \n]?</Delete>") {
        policy_checks::batch_delete(body.as_bytes());
    }

    #[test]
    fn processing_instructions(
        text in "(image/(resize|watermark|info)(,[a-z]{1,5}_[a-z0-9]{0,4}|,image_(YS9i|Yi9rP3gtb3NzLXByb2Nlc3M9aW1hZ2UvaW5mbw|[A-Za-z0-9_=-]{1,8})){0,3}|style/[a-z]{0,3})([|/](image/info|style/a|blur,r_1)){0,2}",
        saved in "\\|sys/saveas(,[ob]_(YS9i|b3RoZXItZGF0YQ|[A-Za-z0-9_=-]{1,4})){1,3}",
    ) {
        policy_checks::process(text.as_bytes());
        policy_checks::process(format!("x-oss-process={text}{saved}").as_bytes());
    }

    #[test]
    fn copy_sources(text in "/?(team-data/|b%2D1/|)([ -~]|%[0-9A-Fa-f]{2}){1,20}(\\?versionId=[A-Za-z0-9+/=]{1,4})?") {
        policy_checks::copy_source(text.as_bytes());
    }

    #[test]
    fn proxy_headers(
        selector in any::<u8>(),
        text in "PROXY (TCP4 [0-9.]{7,11} 10[.]0[.]0[.]1|TCP6 [0-9a-f:]{2,12} ::1|UNKNOWN)( [0-9]{1,6}){0,3}\r?\n?[a-z]{0,4}",
        binary in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        identity_checks::proxy_header(&[&[selector], text.as_bytes()].concat());
        let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
        identity_checks::proxy_header(&[&[selector], &head[..], &binary].concat());
        identity_checks::proxy_header(&[&[selector], &head[..12], &binary].concat());
    }

    #[test]
    fn tokens(header in "\\{\"alg\":\"(EdDSA|none|HS256)\"(,\"(kid|typ|crit|alg)\":\"(JWT|one)\"){0,2}\\}", claims in "\\{\"iss\":\"i\"(,\"(iss|sub|aud|exp)\":(\"[a-z]\"|[0-9]{1,3}|\\[\"a\"\\]|null)){0,4}\\}", rest in "[.]?[A-Za-z0-9_-]{0,8}[=.]?") {
        let part = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        identity_checks::json_web_token(format!("{}.{}.{rest}", part(&header), part(&claims)).as_bytes());
    }

    #[test]
    fn a_token_with_another_character_is_of_no_caller(at in 0..identity_checks::TOKEN.len(), other in "[ -~]?") {
        let (before, after) = identity_checks::TOKEN.split_at(at);
        identity_checks::json_web_token(format!("{before}{other}{}", &after[1..]).as_bytes());
        identity_checks::json_web_token(identity_checks::TOKEN.as_bytes());
    }

    #[test]
    fn callers_files(at in 0..TEAM_FILE.len(), cut in 0..40_usize, text in "[ -~\n]{0,20}|z-1|\"z\"|main(-1)?|open = true\n|everything") {
        let end = (at + cut).min(TEAM_FILE.len());
        identity_checks::callers_file(format!("{}{text}{}", &TEAM_FILE[..at], &TEAM_FILE[end..]).as_bytes());
        identity_checks::callers_file(TEAM_FILE.as_bytes());
    }
}
