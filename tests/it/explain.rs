//! `explain`: every provider has its row, even if something is wrong, and the exit code reports it.
//! For a request, it prints the dry run of the pipeline. The output must match what the emulated
//! OSS computes independently.

use std::fs;

use oss_signing_proxy::emulator::{EmulatorThread, InjectedFault};
use sha2::{Digest as _, Sha256};

use crate::support::{Answer, Client, ID, KEY, Proxy, SECRET, STS_ID, TOKEN, oss, proxy, run};

/// Runs `explain` with this configuration.
fn explain(text: &str, environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, format!("[upstream]\nregion = \"cn-hangzhou\"\n{text}")).expect("written");
    run(&["explain", "--config", file.path().to_str().expect("a path")], environment)
}

pub(crate) fn all_in(out: &str, words: &[&str]) {
    for word in words {
        assert!(out.contains(word), "{word}: {out}");
    }
}

#[test]
fn half_a_pair_is_a_row_beside_all_others() {
    let text = "[[route]]\nmatch = { bucket = \"logs-*\" }\ncredentials = \"logs\"\n[credentials.logs]\ntype = \"static\"\n\
                access_key_id = \"LTAIlogs\"\naccess_key_secret = \"s3cret-of-logs\"";
    let (code, out, errors) = explain(text, &[("OSS_ACCESS_KEY_ID", "LTAIx"), ("HOME", "/nowhere")]);
    assert_eq!(code, Some(78), "{out}{errors}");
    all_in(
        &out,
        &[
            "upstream",
            "route 1    bucket logs-*  https://oss-cn-hangzhou.aliyuncs.com:443  -> source \"logs\"",
            "source \"default\"  empty",
            "env             SELECTED, FAILS  OSS_ACCESS_KEY_ID is set but OSS_ACCESS_KEY_SECRET is not",
            "oidc_role_arn   not tried",
            "ecs_ram_role    not tried",
            "source \"logs\"  non_expiring",
        ],
    );
    assert!(errors.contains("OSS_ACCESS_KEY_SECRET is not"), "{errors}");
    assert!(!out.contains("s3cret-of-logs"), "{out}");
}

#[test]
fn a_file_that_is_named_and_missing_is_a_row_beside_all_others() {
    let variable = ("ALIBABA_CLOUD_CONFIG_FILE", "/nowhere/config.json");
    let (code, out, _) = explain("", &[variable, ("HOME", "/nowhere")]);
    assert_eq!(code, Some(77), "{out}");
    all_in(
        &out,
        &[
            "env             not configured",
            "cli_profile     SELECTED, FAILS",
            "/nowhere/config.json",
            "ossutil ",
        ],
    );

    let text = "credentials = \"broken\"\n[credentials.broken]\ntype = \"static\"\naccess_key_id = \"LTAIx\"\n\
                access_key_secret = \"file:/nowhere/secret\"\n[credentials.role]\ntype = \"assume_role\"\nsource = \"broken\"\n\
                role_arn = \"acs:ram::1:role/r\"\n[credentials.env]\ntype = \"env\"";
    let (code, out, errors) = explain(text, &KEY);
    assert_eq!(code, Some(78), "{out}{errors}");
    all_in(
        &out,
        &[
            "-> source \"broken\"",
            "source \"broken\"  misconfigured\n",
            "credentials.broken.access_key_secret: cannot read the file \"/nowhere/secret\"",
            "source \"role\"  misconfigured\n    requires the source \"broken\"",
            "source \"env\"  non_expiring  env/OSS",
        ],
    );
    assert!(errors.contains("/nowhere/secret"), "{errors}");
}

#[test]
fn what_is_set_up_in_part_is_told_though_another_source_signs() {
    let half = ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIhalf");
    let pod = ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/nowhere/token");
    let (code, out, errors) = explain("", &[&KEY[..], &[half, pod]].concat());
    assert_eq!(code, Some(0), "{errors}");
    all_in(
        &out,
        &[
            "env             SELECTED",
            "incomplete: ALIBABA_CLOUD_ACCESS_KEY_ID is set but ALIBABA_CLOUD_ACCESS_KEY_SECRET is not",
            "incomplete: the OIDC configuration lacks",
        ],
    );
}

#[test]
fn a_mistake_elsewhere_leaves_the_rows_and_the_failure() {
    let (code, out, errors) =
        explain("[credentials.a]\ntype = \"no-such-type\"\n[log]\nlevle = \"info\"", &KEY);
    assert_eq!(code, Some(78), "{out}{errors}");
    all_in(&out, &["source \"default\"  non_expiring", "source \"a\"  misconfigured", "no-such-type"]);
    all_in(&errors, &["levle", "no-such-type"]);
}

pub(crate) const STS: [(&str, &str); 3] =
    [("OSS_ACCESS_KEY_ID", STS_ID), ("OSS_ACCESS_KEY_SECRET", SECRET), ("OSS_SESSION_TOKEN", TOKEN)];

type Environment<'a> = &'a [(&'a str, &'a str)];

/// Runs `explain` for a request, in the region of the emulated OSS unless another is named. Asserts
/// that it prints no secret.
pub(crate) fn ask(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let region: &[&str] = if arguments.contains(&"--region") { &[] } else { &["--region", "cn-hangzhou"] };
    let all = [&["explain"], region, arguments].concat();
    let (code, out, errors) = run(&all, environment);
    for planted in [SECRET, TOKEN, "planted%2Btoken", "another-token"] {
        assert!(!out.contains(planted) && !errors.contains(planted), "{planted}: {out}{errors}");
    }
    (code, out, errors)
}

/// Returns the indented lines under a heading.
fn block(out: &str, heading: &str) -> String {
    let lines = out.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let lines: Vec<&str> = lines.map_while(|line| line.strip_prefix("    ")).collect();
    assert!(!lines.is_empty(), "{heading}: {out}");
    lines.join("\n")
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the unescaped text of an element of an error document.
fn element(answer: &Answer, name: &str) -> String {
    let text = answer.text();
    let (_, rest) = text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("{name}: {text}"));
    let (text, _) = rest.split_once("</").expect("an end");
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Starts a proxy that signs with this version, and an OSS that rejects every signature.
pub(crate) fn refused(version: &str, triple: bool) -> (EmulatorThread, Proxy) {
    let oss = oss();
    oss.faults.always(InjectedFault::WrongSignature);
    let token = if triple { format!("security_token = \"{TOKEN}\"") } else { String::new() };
    let id = if triple { STS_ID } else { ID };
    let credentials =
        format!("type = \"static\"\naccess_key_id = \"{id}\"\naccess_key_secret = \"{SECRET}\"\n{token}");
    let proxy =
        proxy(oss.address).upstream(&format!("signature = \"{version}\"")).credentials(&credentials).start();
    (oss, proxy)
}

/// Returns the response of OSS to a request through the proxy.
pub(crate) fn through(proxy: &Proxy, method: &str, target: &str, headers: &str) -> Answer {
    let answer = Client::connect(proxy.address).ask(method, target, &proxy.address.to_string(), headers, b"");
    assert_eq!(answer.status, 403, "{}", answer.text());
    answer
}

#[test]
fn the_rights_of_a_caller_and_what_is_missing_are_shown() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = r#"
        [upstream]
        region = "cn-hangzhou"
        [[caller]]
        name = "team-a"
        open = true
        allow = [{ group = ["list"], bucket = "photos", prefix = "a/" }]
        policy = ['{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:GetObject","Resource":"*","Condition":{"IpAddress":{"acs:SourceIp":"127.0.0.1"}}}]}']
    "#;
    fs::write(&file, text).expect("written");
    let config = file.path().to_str().expect("a path");
    let explained = |arguments: [&str; 2]| {
        let (_, out, errors) = run(&[&["explain", "--config", config][..], &arguments].concat(), &KEY);
        format!("{out}{errors}")
    };
    let rights =
        "rights      {\"Version\":\"1\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":[\"oss:ListParts\"]";
    // A client on this host has a loopback address.
    all_in(&explained(["GET", "/photos/k"]), &[rights, "policy      allowed\n"]);
    let missing = "403 denied: no policy of the caller allows oss:PutObject on acs:oss:*:*:photos/k";
    all_in(&explained(["PUT", "/photos/k"]), &[rights, "policy      denied\n", missing]);
    all_in(&explained(["GET", "/photos?prefix=b"]), &["list below: a/"]);
}

#[test]
fn a_request_is_explained_step_by_step() {
    let arguments = [
        "PUT",
        "/photos/a%20b?acl",
        "-H",
        "x-oss-object-acl: private",
        "-H",
        "Content-Length: 3",
        "-H",
        "Date: x",
    ];
    let (code, out, errors) = ask(&arguments, &KEY);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    all_in(
        &out,
        &[
            "listener    127.0.0.1:8770 (plain HTTP)\n",
            "operation   PutObjectAcl\n",
            "bucket      photos\n",
            "key         a b\n",
            "caller      open\n",
            "policy      allowed\n",
            "route       upstream, endpoint https://oss-cn-hangzhou.aliyuncs.com:443\n",
            "region      cn-hangzhou\n",
            "dials       photos.oss-cn-hangzhou.aliyuncs.com:443, TLS as photos.oss-cn-hangzhou.aliyuncs.com\n",
            "source \"default\"  non_expiring  default/env/OSS  key LTAI…eyid\n",
            "\n    PUT /a%20b?acl HTTP/1.1\n",
            "\n    host: photos.oss-cn-hangzhou.aliyuncs.com\n",
            "\n    content-length: 3\n",
            "/cn-hangzhou/oss/aliyun_v4_request,Signature=…\n",
        ],
    );
    assert!(!out.contains("date: x"), "the client's own signature is taken off: {out}");

    let (code, out, errors) = ask(&["GET", "http://photos.oss-cn-shanghai.aliyuncs.com/k"], &STS);
    assert_eq!(code, Some(0), "{errors}");
    all_in(
        &out,
        &["region      cn-shanghai\n", "x-oss-security-token:[hidden]\n", "x-oss-security-token: [hidden]\n"],
    );
    let (_, out, _) =
        ask(&["GET", "/photos/k?Signature=mine&security-token=another-token", "--signature", "v1"], &KEY);
    all_in(
        &out,
        &[
            "GET /photos/k?Signature=[hidden]&security-token=[hidden]\n",
            "string to sign (v1)",
            "OSS LTAI…eyid:…",
        ],
    );
}

#[test]
fn a_url_is_for_the_listener_that_it_names_and_a_bare_path_for_the_first() {
    let text = "[[listen]]\naddress = \"127.0.0.1:18770\"\nread_only = true\n\
                [[listen]]\naddress = \"127.0.0.1:18771\"\ndomains = [\"oss.example.test\"]\n\
                [upstream]\nregion = \"cn-hangzhou\"\n";
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, text).expect("written");
    let path = file.path().to_str().expect("a path");
    let (first, second) = ("listener    127.0.0.1:18770 ", "listener    127.0.0.1:18771 ");
    for (url, listener, code) in [
        ("/photos/k", first, 1),
        ("http://photos.oss-cn-hangzhou.aliyuncs.com/k", first, 1),
        ("http://127.0.0.1:18771/photos/k", second, 0),
        ("http://photos.OSS.example.test/k", second, 0),
        ("http://oss.example.test:18770/photos/k", second, 0),
        ("http://photos.notoss.example.test/k", first, 1),
    ] {
        let (status, out, errors) = run(&["explain", "--config", path, "PUT", url], &KEY);
        assert!(status == Some(code) && out.contains(listener), "{url}: {status:?} {out}{errors}");
    }
}

#[test]
fn a_route_is_told_with_what_it_matches() {
    let text = "[[route]]\nmatch = { host = \"files.example.test\", bucket = \"logs-*\" }\nregion = \"cn-beijing\"\n\
                [[route]]\nmatch = { host = \"*.example.test\" }\nregion = \"cn-shanghai\"\n";
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, format!("[upstream]\nregion = \"cn-hangzhou\"\n{text}")).expect("written");
    let path = file.path().to_str().expect("a path");
    for (url, route) in [
        ("/photos/k", "route       upstream, endpoint"),
        (
            "http://files.example.test/logs-1/k",
            "route       route 1 (host files.example.test, bucket logs-*), endpoint",
        ),
        ("http://a.example.test/photos/k", "route       route 2 (host *.example.test), endpoint"),
    ] {
        let (_, out, errors) = run(&["explain", "--config", path, "GET", url], &KEY);
        assert!(out.contains(route), "{url}: {out}{errors}");
    }
    let (_, out, _) = run(&["check", "--config", path], &KEY);
    all_in(&out, &["route 2    host *.example.test  https://oss-cn-shanghai"]);
}

#[test]
fn what_is_not_served_is_told_with_its_status_and_code() {
    let rows: [(&[&str], Environment<'_>, i32, &str); 10] = [
        (&["DELETE", "/photos/k", "--read-only"], &KEY, 1, "refused     403 denied: "),
        (&["GET", "http://example.com/k"], &KEY, 1, "refused     421 unknown-host: "),
        (&["PUT", "http://100.100.100.200/latest/api/token"], &KEY, 1, "refused     421 unknown-host: "),
        (&["GET", "/?list-type=2"], &KEY, 1, "refused     400 invalid-bucket: "),
        (&["GET", "/photos/%4"], &KEY, 1, "refused     400 bad-request: "),
        (&["GET", "https://photos.oss-cn-hangzhou.aliyuncs.com/k"], &KEY, 1, "use http://"),
        (&["GET", "/photos/k", "-H", "Origin: https://evil.example"], &KEY, 1, "refused     403 browser: "),
        (&["TRACE", "/photos/k"], &KEY, 1, "refused     405 method: "),
        (&["GET", "/photos/k"], &[("HOME", "/nowhere")], 77, "refused     503 credentials-unavailable: "),
        (&["GET", "/photos/k"], &KEY[..1], 78, ""),
    ];
    for (arguments, environment, status, words) in rows {
        let (code, out, errors) = ask(arguments, environment);
        assert!(code == Some(status) && out.contains(words), "{arguments:?}: {code:?} {out}{errors}");
        assert!(!out.contains("HTTP/1.1"), "{arguments:?}: {out}");
    }
    let (_, out, errors) = ask(&["GET", "http://me:pa55word@photos.oss-cn-hangzhou.aliyuncs.com/k"], &KEY);
    assert!(
        out.contains("400 bad-request") && !format!("{out}{errors}").contains("pa55word"),
        "{out}{errors}"
    );
    let (_, out, errors) = ask(&["GET", "http://h/ k?Signature=usable"], &KEY);
    assert!(
        errors.contains("is not a valid URL") && !format!("{out}{errors}").contains("usable"),
        "{out}{errors}"
    );
    for arguments in
        [&["GET"][..], &["GET", "/a b"], &["GET", "/a#b"], &["-H", "a: b"], &["GET", "/a", "-H", "b"]]
    {
        assert_eq!(ask(arguments, &KEY).0, Some(2), "{arguments:?}");
    }
}

#[test]
fn an_authority_file_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    for (path, words) in
        [(file.path().to_str().expect("a path"), "no certificate"), ("/nowhere/ca.pem", "No such file")]
    {
        let (code, out, errors) = ask(&["GET", "/photos/k", "--ca-file", path], &KEY);
        assert_eq!(code, Some(78), "{out}{errors}");
        all_in(&errors, &[path, words]);
        assert!(!out.contains("string to sign"), "{out}");
    }
}

#[test]
fn the_printed_texts_are_those_that_oss_computes() {
    let targets = [
        ("GET", "/photos/plain", ""),
        ("GET", "/photos/a%20b%2Bc%26d+e", "x-oss-meta-a: b"),
        ("PUT", "/photos/%E6%96%87//../%25.txt?partNumber=1&uploadId=a%2Fb", "content-type: text/plain"),
        ("GET", "/photos?prefix=a%2Fb&list-type=2&max-keys=10&delimiter=%2F", "x-oss-meta-b: a  b"),
        (
            "POST",
            "/photos/k?append&position=0&x-oss-process=%E6%96%87",
            "content-md5: XrY7u+Ae7tCTyyK7j1rNww==",
        ),
        ("GET", "/", ""),
    ];
    for (version, triple) in [("v4", false), ("v4", true), ("v1", false), ("v1", true)] {
        let (_oss, proxy) = refused(version, triple);
        let environment = if triple { &STS[..] } else { &KEY[..] };
        for (method, target, header) in targets {
            let line = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
            let answer = through(&proxy, method, target, &line);
            let mut arguments = vec![method, target, "--signature", version];
            arguments.extend(["-H", header].iter().filter(|_| !header.is_empty()));
            let (code, out, errors) = ask(&arguments, environment);
            assert_eq!(code, Some(0), "{out}{errors}");
            let theirs = element(&answer, "StringToSign");
            let ours = block(&out, "string to sign").replace("[hidden]", "[removed]");
            if version == "v1" {
                let date = |text: &str| text.lines().nth(3).expect("a date").to_owned();
                assert_eq!(ours.replace(&date(&ours), &date(&theirs)), theirs, "{target}");
                continue;
            }
            let canonical = block(&out, "canonical request").replace("[hidden]", TOKEN);
            assert_eq!(
                ours.lines().last(),
                Some(sha256(&canonical).as_str()),
                "what is printed is what is signed"
            );
            let date = |text: &str| text.lines().nth(1).expect("a date").to_owned();
            let then = canonical.replace(&date(&ours), &date(&theirs));
            assert_eq!(theirs.lines().last(), Some(sha256(&then).as_str()), "{target}: {then}");
        }
    }
}
