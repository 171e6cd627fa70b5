//! `presign`: URLs that work at their destination, verified by the emulated OSS.

use crate::support::{Answer, Client, ID, KEY, SECRET, STS_ID, TOKEN, bucket, oss, run};

/// Runs `presign` with these arguments and this key.
fn presign(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let all: Vec<&str> = ["presign"].iter().chain(arguments).copied().collect();
    let (code, out, log) = run(&all, environment);
    (code, out.trim_end().to_owned(), log)
}

/// Returns the URL that `presign` prints. Asserts that it prints nothing else.
fn url(arguments: &[&str]) -> String {
    let region = ["--region", "cn-hangzhou", "--expires", "10m"];
    let (code, url, log) = presign(&[arguments, &region[..]].concat(), &KEY);
    assert_eq!((code, log.as_str()), (Some(0), ""), "{arguments:?}");
    url
}

/// Sends a request for `url` to `oss`, as if its host resolved to it.
fn follow(oss: std::net::SocketAddr, method: &str, url: &str, headers: &str, body: &[u8]) -> Answer {
    let (_, rest) = url.split_once("://").expect("a scheme");
    let (host, target) = rest.split_at(rest.find('/').expect("a path"));
    Client::connect(oss).ask(method, target, host, headers, body)
}

const STS: [(&str, &str); 3] =
    [("OSS_ACCESS_KEY_ID", STS_ID), ("OSS_ACCESS_KEY_SECRET", SECRET), ("OSS_SESSION_TOKEN", TOKEN)];

#[test]
fn every_form_of_address_leads_to_the_same_url() {
    let mut urls: Vec<String> = [
        &["GET", "/photos/a/b%20c"][..],
        &["GET", "http://127.0.0.1:8770/photos/a/b%20c"],
        &["GET", "http://localhost/photos/a/b%20c"],
        &["GET", "https://photos.oss-cn-hangzhou.aliyuncs.com/a/b%20c"],
        &["GET", "http://oss-cn-hangzhou.aliyuncs.com/photos/a/b%20c"],
        &["GET", "http://photos.oss.example/a/b%20c", "--domain", "oss.example"],
        &["GET", "/a/b%20c", "--bucket", "photos"],
        // An existing signature is replaced.
        &["GET", "/photos/a/b%20c?x-oss-signature=old&Expires=1&Signature=x"],
    ]
    .into_iter()
    .map(url)
    .collect();
    for url in &mut urls {
        let (plain, _) = url.split_once("x-oss-date").expect("a date");
        assert!(
            plain.starts_with("https://photos.oss-cn-hangzhou.aliyuncs.com/a/b%20c?x-oss-signature-version=")
        );
        assert!(plain.contains("x-oss-credential=LTAItestkeyid%2F"), "{plain}");
        *url = plain.to_owned();
    }
    urls.dedup();
    assert_eq!(urls.len(), 1, "{urls:?}");
}

#[test]
fn a_url_keeps_the_name_of_oss_that_it_was_given() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(&file, "[upstream]\nregion = \"cn-hangzhou\"\ninternal = true\n").expect("written");
    let config = ["--config", file.path().to_str().expect("a path"), "--expires", "10m"];
    let public = ["--endpoint", "https://oss-cn-hangzhou.aliyuncs.com"];
    for (asked, more, host) in [
        ("/photos/k", &[][..], "photos.oss-cn-hangzhou-internal"),
        ("/photos/k", &public[..], "photos.oss-cn-hangzhou"),
        ("https://photos.oss-cn-hangzhou.aliyuncs.com/k", &[], "photos.oss-cn-hangzhou"),
        ("https://oss-cn-hangzhou.aliyuncs.com/photos/k", &[], "photos.oss-cn-hangzhou"),
        ("https://photos.oss-cn-hangzhou-internal.aliyuncs.com/k", &[], "photos.oss-cn-hangzhou-internal"),
        (
            "https://photos.oss-cn-hangzhou-internal.aliyuncs.com/k",
            &public,
            "photos.oss-cn-hangzhou-internal",
        ),
        ("https://photos.cn-hangzhou.oss.aliyuncs.com/k", &[], "photos.cn-hangzhou.oss"),
        ("https://photos.oss-accelerate.aliyuncs.com/k", &[], "photos.oss-accelerate"),
        ("https://photos.oss-us-west-1.aliyuncs.com/k", &[], "photos.oss-us-west-1"),
    ] {
        let (code, url, log) = presign(&[&["GET", asked], &config[..], more].concat(), &KEY);
        assert_eq!(code, Some(0), "{asked}: {log}");
        assert!(url.starts_with(&format!("https://{host}.aliyuncs.com/k?")), "{asked}: {url}");
    }
}

#[test]
fn a_url_works_with_either_signature_and_any_key() {
    let oss = oss();
    let at = |path: &str| format!("http://{}{path}", oss.address);
    for version in ["v4", "v1"] {
        for key in ["plain", "a%20b%2Bc%26d", "a//b/../c", "%E6%96%87%E4%BB%B6%25.txt", "%2A%27()!~"] {
            for environment in [&KEY[..], &STS[..]] {
                let path = format!("/photos/{key}");
                let endpoint = at("");
                let signed = |method: &str, path: &str| {
                    let arguments = [
                        method,
                        path,
                        "--region",
                        "cn-hangzhou",
                        "--expires",
                        "1m",
                        "--endpoint",
                        &endpoint,
                        "--signature",
                        version,
                    ];
                    let (code, url, log) = presign(&arguments, environment);
                    assert_eq!(code, Some(0), "{log}");
                    assert!(url.starts_with(&endpoint), "{url}");
                    assert_eq!(url.contains("oken="), environment.len() == 3, "{url}");
                    url
                };
                let put = follow(oss.address, "PUT", &signed("PUT", &path), "", key.as_bytes());
                assert_eq!(put.status, 200, "{version} {key}: {}", put.text());
                let url = signed("GET", &format!("{path}?response-content-type=text%2Fx"));
                let got = follow(oss.address, "GET", &url, "", b"");
                assert_eq!(
                    (got.status, got.body.as_slice()),
                    (200, key.as_bytes()),
                    "{version} {key}: {}",
                    got.text()
                );
                assert_eq!(got.header("content-type"), Some("text/x"));
                let head = follow(oss.address, "HEAD", &url, "", b"");
                assert_eq!(head.status, 403, "it is good for its own method alone");
            }
        }
    }
}

#[test]
fn the_host_of_the_url_is_that_of_oss() {
    let oss = oss();
    oss.service.put_object(&bucket("photos"), b"k", b"found".as_slice());
    let got = follow(oss.address, "GET", &url(&["GET", "/photos/k"]), "", b"");
    assert_eq!((got.status, got.text().as_str()), (200, "found"));
    assert!(
        url(&["GET", "/photos/k", "--internal"])
            .starts_with("https://photos.oss-cn-hangzhou-internal.aliyuncs.com/k?")
    );
}

#[test]
fn a_url_for_a_route_with_a_custom_domain_has_that_domain() {
    let oss = oss();
    oss.service.put_object(&bucket("photos"), b"k", b"found".as_slice());
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[upstream]\nregion = \"cn-hangzhou\"\n[[route]]\nmatch = { bucket = \"photos\" }\nregion = \"cn-hangzhou\"\n\
                endpoint = \"https://img.example.com\"\nbucket = \"photos\"\naddressing = \"cname\"\n";
    std::fs::write(&file, text).expect("written");
    let config = file.path().to_str().expect("a path");
    let made = |target: &str| {
        let arguments = ["GET", target, "--expires", "10m", "--config", config];
        let (code, url, log) = presign(&arguments, &KEY);
        assert_eq!((code, log.as_str()), (Some(0), ""), "{target}");
        url
    };
    for target in ["/photos/k", "https://img.example.com/k", "http://photos.oss-cn-hangzhou.aliyuncs.com/k"] {
        let url = made(target);
        assert!(url.starts_with("https://img.example.com/k?"), "{target}: {url}");
        let got = follow(oss.address, "GET", &url, "", b"");
        assert_eq!((got.status, got.text().as_str()), (200, "found"), "{target}");
    }
    assert!(made("/files/k").starts_with("https://files.oss-cn-hangzhou.aliyuncs.com/k?"));
    let explained = run(&["explain", "GET", "/photos/k", "--config", config], &KEY).1;
    assert!(explained.contains("img.example.com") && explained.contains("/photos/k"), "{explained}");
}

#[test]
fn a_url_for_a_bucket_of_the_early_years_is_taken() {
    let oss = oss();
    let made = url(&["PUT", "/old_photos"]);
    assert_eq!(follow(oss.address, "PUT", &made, "", b"").status, 200);
    let got = url(&["GET", "https://old_photos.oss-cn-hangzhou.aliyuncs.com/k"]);
    assert!(got.starts_with("https://old_photos.oss-cn-hangzhou.aliyuncs.com/k?"), "{got}");
    assert_eq!(follow(oss.address, "GET", &got, "", b"").status, 404);
}

#[test]
fn headers_that_are_named_are_signed() {
    let oss = oss();
    for version in ["v4", "v1"] {
        let typed = url(&[
            "PUT",
            "/photos/k",
            "--header",
            "Content-Type: text/plain",
            "--header",
            "x-oss-meta-a:b",
            "--signature",
            version,
        ]);
        let put = |headers: &str| follow(oss.address, "PUT", &typed, headers, b"x").status;
        assert_eq!(put("Content-Type: text/plain\r\nx-oss-meta-a: b\r\n"), 200, "{version}");
        assert_eq!(put("Content-Type: text/html\r\nx-oss-meta-a: b\r\n"), 403, "{version}");
        assert_eq!(put("Content-Type: text/plain\r\n"), 403, "{version}");
    }
    let (code, _, log) =
        presign(&["PUT", "/photos/k", "--expires", "1m", "--header", "Range: bytes=0-"], &KEY);
    assert!(code == Some(2) && log.contains("range is not signed"), "{code:?} {log}");
}

#[test]
fn what_cannot_be_signed_says_why() {
    let rows: [(&[&str], i32, &str); 10] = [
        (&["GET", "/photos/k", "--expires", "169h"], 2, "at most 7 days"),
        (&["GET", "/photos/k", "--expires", "10ms"], 2, "at least one second"),
        (&["GET", "/photos/k", "--expires", "10"], 2, "such as 10m"),
        (&["GET", "/photos/k"], 2, "--expires"),
        (&["GET", "/photos/a#b", "--expires", "1m"], 2, "write %23"),
        (&["GET", "/photos/a b", "--expires", "1m"], 2, "percent-encode"),
        (&["GET", "ftp://photos/k", "--expires", "1m"], 2, "write http://"),
        (&["GET", "https://example.com/k", "--expires", "1m"], 1, "unknown host"),
        (&["GET", "/Bad_Bucket/k", "--expires", "1m"], 1, "bucket"),
        (&["TRACE", "/photos/k", "--expires", "1m"], 1, "TRACE"),
    ];
    for (arguments, status, words) in rows {
        let (code, out, log) = presign(&[arguments, &["--region", "cn-hangzhou"]].concat(), &KEY);
        assert!(
            code == Some(status) && log.contains(words) && out.is_empty(),
            "{arguments:?}: {code:?} {out} {log}"
        );
    }
    let good = ["GET", "/photos/k", "--expires", "1m", "--region", "cn-hangzhou"];
    let (code, _, log) = presign(&good, &[]);
    assert!(code == Some(77) && log.contains("no credentials"), "{code:?} {log}");
    let (code, _, log) = presign(&good, &KEY[..1]);
    assert!(code == Some(78) && log.contains("OSS_ACCESS_KEY_SECRET is not"), "{code:?} {log}");
    let (code, _, log) = presign(&good[..4], &KEY);
    assert!(code == Some(78) && log.contains("region"), "{code:?} {log}");
    let v1 = ["GET", "/photos/k", "--expires", "9000h", "--region", "cn-hangzhou", "--signature", "v1"];
    assert_eq!(presign(&v1, &KEY).0, Some(0), "V1 has no limit");
}

#[test]
fn a_token_whose_end_is_not_known_is_warned_about() {
    let arguments = ["GET", "/photos/k", "--expires", "1m", "--region", "cn-hangzhou"];
    let (code, out, log) = presign(&arguments, &STS);
    assert!(code == Some(0) && log.contains("expires with the security token"), "{code:?} {log}");
    assert!(out.contains("x-oss-security-token=planted%2Btoken%2Fvalue%3D%3D"), "{out}");
    assert!(!log.contains(TOKEN) && !out.contains(SECRET) && out.contains(STS_ID) && !out.contains(ID));
}
