//! `doctor`: each fault that a newcomer meets is named rightly, with the exit code that says whose it is. Nothing secret shows.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use oss_signing_proxy::cli::System;
use oss_signing_proxy::emulator::{Account, Emulator, Fault, Handle, Settings};
use oss_signing_proxy::oss::Region;
use serde_json::Value;

use crate::dialling::{tls_before, tls_lines};
use crate::support::{KEY, SECRET, STS_ID, Script, TOKEN, oss, proxy, run};

/// What `doctor` says, in both forms.
struct Seen {
    code: i64,
    lines: String,
    document: Value,
}

impl Seen {
    /// The fault that this check found; `ok` if none. The last one, if there are more.
    fn fault(&self, section: &str, check: &str) -> &str {
        self.finding(section, check)["fault"].as_str().expect("a fault")
    }

    fn finding(&self, section: &str, check: &str) -> &Value {
        let sections = self.document["sections"].as_array().expect("sections");
        let findings = sections
            .iter()
            .filter(|known| known["name"] == section)
            .flat_map(|section| section["findings"].as_array().expect("findings"));
        let mut found = findings.filter(|finding| finding["check"] == check);
        found.next_back().unwrap_or_else(|| panic!("no {check} in {section}: {}", self.lines))
    }

    /// Asserts that this is what it ends with, that all `words` are told, and a remedy.
    fn says(&self, code: i64, (check, fault): (&str, &str), words: &[&str]) {
        assert_eq!((self.code, self.fault("upstream", check)), (code, fault), "{}", self.lines);
        let finding = self.finding("upstream", check);
        assert!(finding["remedy"].is_string(), "no remedy: {}", self.lines);
        for word in words {
            assert!(self.lines.contains(word), "{word}: {}", self.lines);
        }
    }
}

/// Runs `doctor` with this configuration, and searches what it prints.
fn doctor(config: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Seen {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, config).expect("written");
    let usual = ["doctor", "--config", file.path().to_str().expect("a path")];
    let (code, lines, errors) = run(&[&usual[..], arguments].concat(), environment);
    let (again, text, more) = run(&[&usual[..], arguments, &["--json"]].concat(), environment);
    assert_eq!((errors.as_str(), more.as_str(), code), ("", "", again), "{lines}{text}");
    for secret in [SECRET, "other-planted-secret", TOKEN, "planted%2Btoken", "Signature=", "Credential="] {
        assert!(!lines.contains(secret) && !text.contains(secret), "{secret}: {lines}{text}");
    }
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let code = i64::from(code.expect("an exit code"));
    assert_eq!(document["exit"], code, "{text}");
    let fails = lines.matches("\n  FAIL  ").count();
    assert_eq!(fails, text.matches("\"level\":\"fail\"").count(), "{lines}{text}");
    assert_eq!(code == 0, fails == 0, "{lines}");
    Seen { code, lines, document }
}

/// An upstream at this address, which is taken for OSS.
fn at(address: SocketAddr) -> String {
    format!(
        "[upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{address}\"\n"
    )
}

/// What is found at an OSS with this fault, signing with this.
fn with_fault(fault: Fault, environment: &[(&str, &str)]) -> Seen {
    let oss = oss();
    oss.faults.always(fault);
    doctor(&at(oss.address), &["--bucket", "photos"], environment)
}

const STS: [(&str, &str); 3] =
    [("OSS_ACCESS_KEY_ID", STS_ID), ("OSS_ACCESS_KEY_SECRET", SECRET), ("OSS_SESSION_TOKEN", TOKEN)];

#[test]
fn what_works_is_told_step_by_step_and_ends_with_0() {
    let oss = oss();
    for environment in [&KEY[..], &STS[..]] {
        let seen = doctor(&at(oss.address), &["--bucket", "photos"], environment);
        assert_eq!(seen.code, 0, "{}", seen.lines);
        for (section, check) in [
            ("configuration", "read"),
            ("source", "credentials"),
            ("upstream", "dns"),
            ("upstream", "connect"),
            ("upstream", "answer"),
            ("upstream", "clock"),
            ("upstream", "signed"),
        ] {
            assert_eq!(seen.fault(section, check), "ok", "{}", seen.lines);
        }
        for words in [
            "GetBucketInfo of photos",
            "its region is cn-hangzhou",
            "env             SELECTED",
            "all is well",
        ] {
            assert!(seen.lines.contains(words), "{words}: {}", seen.lines);
        }
    }
    let signed = oss.journal.last().expect("a request");
    assert!(signed.headers.contains_key("authorization"), "it was asked signed");
    let seen = doctor(&at(oss.address), &[], &KEY);
    assert!(seen.code == 0 && seen.lines.contains("ListBuckets"), "{}", seen.lines);
    let v1 = doctor(&at(oss.address), &["--bucket", "photos", "--signature", "v1"], &KEY);
    assert_eq!(v1.code, 0, "{}", v1.lines);
    // A bucket of another region in the list is nothing wrong; the bucket that was named is.
    let list = refusing("200 OK", "<Bucket><Location>oss-cn-beijing</Location></Bucket>");
    let seen = doctor(&at(list.address), &[], &KEY);
    assert_eq!(seen.fault("upstream", "signed"), "ok", "{}", seen.lines);
    let seen = doctor(&at(list.address), &["--bucket", "photos"], &KEY);
    assert_eq!(seen.fault("upstream", "signed"), "other-region", "{}", seen.lines);
}

#[test]
fn each_route_is_asked_with_its_own_key_and_nobody_signs_for_a_public_one() {
    let oss = oss();
    let routes = format!(
        "{}[[route]]\nmatch = {{ bucket = \"photos\" }}\ncredentials = \"other\"\n[[route]]\nmatch = {{ bucket = \"open\" }}\ncredentials = \"nobody\"\n\
         [credentials.other]\ntype = \"static\"\naccess_key_id = \"LTAIunknown0000\"\naccess_key_secret = \"other-planted-secret\"\n\
         [credentials.nobody]\ntype = \"anonymous\"\n",
        at(oss.address)
    );
    let seen = doctor(&routes, &["--bucket", "photos"], &KEY);
    assert_eq!(seen.code, 77, "{}", seen.lines);
    assert_eq!(seen.fault("upstream", "signed"), "ok", "{}", seen.lines);
    assert_eq!(seen.fault("route 1", "signed"), "unknown-key", "{}", seen.lines);
    assert!(seen.lines.contains("GetBucketInfo of photos by LTAI…0000"), "{}", seen.lines);
    assert_eq!(seen.fault("route 2", "signed"), "ok", "{}", seen.lines);
}

#[test]
fn a_wrong_clock_is_told_from_the_date_and_from_the_refusal() {
    let late = with_fault(Fault::Skew { seconds: 3_600 }, &KEY);
    assert_eq!((late.code, late.fault("upstream", "clock")), (77, "clock-skewed"), "{}", late.lines);
    for words in ["behind that of OSS", "RequestTimeTooSkewed", "NTP", "signed at OSS's time, is taken"] {
        assert!(late.lines.contains(words), "{words}: {}", late.lines);
    }
    let early = with_fault(Fault::Skew { seconds: -3 * 86_400 }, &KEY);
    assert!(early.code == 77 && early.lines.contains("3 days ahead of that of OSS"), "{}", early.lines);
    let little = with_fault(Fault::Skew { seconds: 60 }, &KEY);
    assert_eq!((little.code, little.fault("upstream", "clock")), (0, "clock-off"), "{}", little.lines);
    // A refusal without a Date.
    let script = refusing("403 Forbidden", "<Error><Code>RequestTimeTooSkewed</Code></Error>");
    let seen = doctor(&at(script.address), &[], &KEY);
    assert_eq!(seen.fault("upstream", "clock"), "clock-unknown", "{}", seen.lines);
    seen.says(77, ("signed", "clock-skewed"), &["our clock is too far off"]);
}

/// An upstream that lets unsigned requests pass, and answers signed ones so.
fn refusing(status: &'static str, document: &'static str) -> Script {
    Script::start(move |peer| {
        while let Some(head) = peer.head() {
            let signed = head.to_ascii_lowercase().contains("authorization");
            let (status, body) = if signed { (status, document) } else { ("403 Forbidden", "") };
            peer.send(format!(
                "HTTP/1.1 {status}\r\nx-oss-request-id: 5F00\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ));
        }
    })
}

#[test]
fn a_wrong_region_is_told_with_the_right_one() {
    // OSS names the endpoint of the bucket.
    let moved = with_fault(Fault::OtherRegion(Region::parse("cn-beijing").expect("a region")), &KEY);
    moved.says(78, ("signed", "wrong-region"), &["oss-cn-beijing.aliyuncs.com", "--region cn-beijing"]);
    // An endpoint that does not tell its region refuses the scope.
    let oss = oss();
    let address = format!("http://{}", oss.address);
    let seen = doctor("", &["--region", "cn-beijing", "--endpoint", &address], &KEY);
    seen.says(78, ("signed", "wrong-region"), &["InvalidArgument", "cn-beijing is not the region"]);
    // What should have been signed has another one.
    let script = refusing(
        "403 Forbidden",
        "<Error><Code>SignatureDoesNotMatch</Code><StringToSign>OSS4-HMAC-SHA256\n20260101T000000Z\n20260101/cn-shanghai/oss/aliyun_v4_request\nab</StringToSign></Error>",
    );
    doctor(&at(script.address), &[], &KEY).says(78, ("signed", "wrong-region"), &["but cn-shanghai"]);
}

#[test]
fn a_temporary_key_without_its_token_is_told() {
    let oss = oss();
    // The id alone tells it, before anything is sent.
    let seen = doctor(&at(oss.address), &[], &STS[..2]);
    assert_eq!(
        (seen.code, seen.fault("source", "credentials")),
        (78, "source-misconfigured"),
        "{}",
        seen.lines
    );
    assert!(seen.lines.contains("no security token"), "{}", seen.lines);
    assert_eq!(seen.fault("upstream", "signed"), "not-asked", "{}", seen.lines);
    // One that looks like a lasting key is told by OSS.
    let oss = disguised();
    let key = [("OSS_ACCESS_KEY_ID", "TMP.testkeyid"), ("OSS_ACCESS_KEY_SECRET", SECRET)];
    doctor(&at(oss.address), &[], &key).says(
        77,
        ("signed", "token-missing"),
        &["without its security token"],
    );
}

/// An OSS that knows a temporary key which does not look like one.
fn disguised() -> Handle {
    let settings = Settings::new(Region::parse("cn-hangzhou").expect("a region"), Arc::new(System))
        .account(Account::triple("TMP.testkeyid", SECRET, TOKEN));
    Emulator::spawn(SocketAddr::from(([127, 0, 0, 1], 0)), settings).expect("an embedded OSS")
}

#[test]
fn an_expired_token_is_told() {
    with_fault(Fault::ExpiredToken, &STS).says(
        77,
        ("signed", "token-expired"),
        &["SecurityTokenExpired", "renews itself"],
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
    with_fault(Fault::UnknownKey, &KEY).says(
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
    for words in
        ["ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "~/.aliyun/config.json", "set OSS_ACCESS_KEY_ID", "OSS answers"]
    {
        assert!(seen.lines.contains(words), "{words}: {}", seen.lines);
    }
}

#[test]
fn an_endpoint_where_nobody_listens_or_answers_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    doctor(&at(free), &[], &KEY).says(69, ("connect", "refused"), &["nobody listens"]);
    // Accepted by the system, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let timeouts = "[timeouts]\nconnect = \"300ms\"\nfirst_byte = \"300ms\"\n";
    doctor(&format!("{}{timeouts}", at(address)), &[], &KEY).says(
        69,
        ("connect", "no-answer"),
        &["nothing for 300ms"],
    );
    let tls = at(address).replace("http:", "https:");
    doctor(&format!("{tls}{timeouts}"), &[], &KEY).says(69, ("connect", "tls-silent"), &["within 300ms"]);
    let closing = Script::start(|peer| drop(peer.head()));
    doctor(&at(closing.address), &[], &KEY).says(69, ("connect", "no-http"), &["before its answer"]);
}

#[test]
fn a_name_that_does_not_resolve_is_told() {
    // A label that no name service is asked for: it is longer than any can be.
    let name = format!("{}.test", "a".repeat(64));
    let config = at(([127, 0, 0, 1], 1).into()).replace("127.0.0.1:1", &format!("{name}:1"));
    doctor(&config, &[], &KEY).says(69, ("dns", "unresolved"), &[&name, "does not resolve", "name service"]);
}

#[test]
fn a_certificate_that_is_not_to_be_believed_is_told_with_the_reason() {
    let oss = oss();
    let region = "[upstream]\nregion = \"cn-hangzhou\"\n";
    let (address, authority) = tls_before(&oss, &["oss-cn-hangzhou.aliyuncs.com"]);
    let good = doctor(&format!("{region}{}", tls_lines(address, &authority)), &[], &KEY);
    assert_eq!((good.code, good.fault("upstream", "connect")), (0, "ok"), "{}", good.lines);

    // This host trusts nobody who has signed it; nor does the file of an authority with the same name and another key.
    let lines = tls_lines(address, &authority);
    let without = lines.split_once("ca_file").expect("a file").0;
    doctor(&format!("{region}{without}"), &[], &KEY).says(69, ("connect", "unknown-issuer"), &["--ca-file"]);
    let (_, other) = tls_before(&oss, &["oss-cn-hangzhou.aliyuncs.com"]);
    doctor(&format!("{region}{}", tls_lines(address, &other)), &[], &KEY).says(
        69,
        ("connect", "unknown-issuer"),
        &["ca_file"],
    );
    let (address, authority) = tls_before(&oss, &["files.example.test"]);
    doctor(&format!("{region}{}", tls_lines(address, &authority)), &[], &KEY).says(
        69,
        ("connect", "wrong-name"),
        &["for other names than oss-cn-hangzhou.aliyuncs.com"],
    );
    // Plain HTTP where TLS is expected, and the other way round.
    let plain = at(oss.address).replace("http:", "https:");
    doctor(&plain, &[], &KEY).says(69, ("connect", "tls"), &["http://"]);
    doctor(&at(address), &[], &KEY).says(69, ("connect", "no-http"), &["https://"]);
}

#[test]
fn an_authority_file_that_cannot_be_used_is_a_mistake_of_the_configuration() {
    let oss = oss();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let lines = tls_lines(oss.address, &file);
    let seen = doctor(&format!("[upstream]\nregion = \"cn-hangzhou\"\n{lines}"), &[], &KEY);
    assert_eq!(seen.code, 78, "{}", seen.lines);
    assert!(seen.lines.contains("no certificate"), "{}", seen.lines);
}

#[test]
fn a_proxy_in_the_place_of_oss_is_told_with_what_it_refuses() {
    let oss = oss();
    let other = proxy(oss.address).start();
    // One that knows the name would sign again; one that does not refuses the Host.
    doctor(&at(other.address), &[], &KEY).says(78, ("answer", "not-oss"), &["a proxy like this one"]);
    let strange = at(other.address).replace("oss-cn-hangzhou.aliyuncs.com", "strange.example");
    doctor(&strange, &[], &KEY).says(78, ("answer", "not-oss"), &["unknown-host"]);
    // What is no OSS at all is told, and asked all the same, as the proxy would; what it says counts for nothing.
    for answer in [
        "HTTP/1.1 200 OK\r\nServer: web\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
    ] {
        let web = Script::answering(answer);
        let seen = doctor(&at(web.address), &[], &KEY);
        assert_eq!(seen.fault("upstream", "answer"), "not-oss", "{}", seen.lines);
        seen.says(78, ("signed", "not-oss"), &["but not by OSS"]);
    }
}

#[test]
fn an_endpoint_that_leads_back_here_is_told() {
    let config = "[[listen]]\naddress = \"127.0.0.1:8770\"\n[upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"http://127.0.0.1:8770\"\n";
    let seen = doctor(config, &[], &KEY);
    assert_eq!((seen.code, seen.fault("configuration", "read")), (78, "configuration"), "{}", seen.lines);
    assert!(seen.lines.contains("127.0.0.1:8770"), "{}", seen.lines);
    // Written so that only its address tells it.
    let config = config.replace("http://127.0.0.1:8770", "http://127.1:8770");
    let seen = doctor(&config, &[], &KEY);
    assert_eq!(seen.code, 78, "{}", seen.lines);
}

#[test]
fn a_bucket_that_is_not_there_or_not_served_is_told() {
    let oss = oss();
    doctor(&at(oss.address), &["--bucket", "nothere"], &KEY).says(
        78,
        ("signed", "no-such-bucket"),
        &["NoSuchBucket"],
    );
    let pinned = format!("{}bucket = \"photos\"\n", at(oss.address));
    let seen = doctor(&pinned, &["--bucket", "files"], &KEY);
    assert_eq!((seen.code, seen.fault("bucket", "routing")), (78, "bucket-not-served"), "{}", seen.lines);
    assert_eq!(doctor(&pinned, &[], &KEY).finding("upstream", "signed")["level"], "ok");
    let denied = refusing("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>");
    let seen = doctor(&at(denied.address), &[], &KEY);
    assert_eq!((seen.code, seen.fault("upstream", "signed")), (0, "not-allowed"), "{}", seen.lines);
    assert!(seen.lines.ends_with("nothing is wrong, 2 to look at (warn)\n"), "{}", seen.lines);
}

#[test]
fn a_signature_or_a_key_that_oss_takes_no_more_is_told() {
    let v1 = refusing("403 Forbidden", "<Error><Code>AccessDenied</Code><EC>0002-00000080</EC></Error>");
    doctor(&at(v1.address), &["--signature", "v1"], &KEY).says(78, ("signed", "v1-refused"), &["\"v4\""]);
    let disabled =
        refusing("403 Forbidden", "<Error><Code>InvalidAccessKeyId</Code><EC>0002-00000904</EC></Error>");
    doctor(&at(disabled.address), &[], &KEY).says(77, ("signed", "key-disabled"), &["enable it in RAM"]);
    let dateless =
        refusing("403 Forbidden", "<Error><Code>AccessDenied</Code><EC>0002-00000503</EC></Error>");
    doctor(&at(dateless.address), &[], &KEY).says(77, ("signed", "refused"), &["0002-00000503"]);
}

#[test]
fn an_oss_in_trouble_is_unavailable() {
    let fault = Fault::Status { status: 503, code: "SlowDown".to_owned() };
    with_fault(fault, &KEY).says(69, ("answer", "server-error"), &["503 SlowDown"]);
}

#[test]
fn every_mistake_of_the_configuration_is_told_and_nothing_is_sent() {
    let oss = oss();
    let seen = doctor(&format!("{}regoin = \"x\"\nsignatur = \"v4\"\n", at(oss.address)), &[], &KEY);
    assert_eq!((seen.code, seen.fault("configuration", "read")), (78, "configuration"), "{}", seen.lines);
    assert!(seen.lines.contains("regoin") && seen.lines.contains("signatur"), "{}", seen.lines);
    assert_eq!(seen.fault("source", "credentials"), "ok", "{}", seen.lines);
    assert_eq!(oss.journal.count(), 0);
    let (code, out, _) = run(&["doctor", "--config", "/nowhere/proxy.toml"], &KEY);
    assert!(code == Some(78) && out.contains("/nowhere/proxy.toml"), "{out}");
}
