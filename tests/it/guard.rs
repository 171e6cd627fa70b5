//! Requests that are denied before signing, and the treatment of a client's own signature.

use crate::support::script::line_of;
use crate::support::{Client, SECRET, STS_ID, Script, TOKEN, oss, proxy};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

#[test]
fn web_pages_are_refused_unless_their_origin_is_allowed() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).listen("allowed_origins = [\"https://app.example\"]").start();
    let own = proxy.address.to_string();
    for (header, status) in [
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Origin: https://app.example\r\nOrigin: https://evil.example\r\n", 403),
        ("Origin: https://evil.example\r\nConnection: origin, close\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\nConnection: sec-fetch-site\r\n", 403),
        ("Origin: https://app.example\r\nSec-Fetch-Site: cross-site\r\n", 200),
        ("Sec-Fetch-Site: none\r\n", 200),
    ] {
        let answer = Client::connect(proxy.address).ask("GET", "/photos/k", &own, header, b"");
        assert_eq!(answer.status, status, "{header}");
        assert_eq!(answer.refused().is_some(), status == 403, "{header}");
    }
    assert_eq!(upstream.heads().len(), 2);
}

#[test]
fn pages_of_other_sites_show_objects_at_names_that_are_set_up() {
    let upstream = Script::answering(OK);
    let route = "[[route]]\nmatch = { host = \"files.example.com\" }\nregion = \"cn-hangzhou\"\n\
                 endpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nbucket = \"files\"";
    let sections = format!("{route}\nconnect = \"{}\"", upstream.address);
    let closed = proxy(upstream.address).sections(&sections).start();
    let open = proxy(upstream.address).listen("cross_site_reads = true").sections(&sections).start();
    let own = open.address.to_string();
    let cross_site = "Sec-Fetch-Site: cross-site\r\n";
    for (method, target, host, header, status) in [
        ("GET", "/k", "photos.oss.example.test", cross_site, 200),
        ("HEAD", "/k", "photos.oss.example.test", cross_site, 200),
        ("GET", "/photos/k", "oss.example.test", cross_site, 200),
        ("GET", "/k", "files.example.com", cross_site, 200),
        ("GET", "/app.js?20240131", "files.example.com", cross_site, 200),
        // The guard applies to addresses, and to names that are not configured here.
        ("GET", "/photos/k", &own, cross_site, 403),
        ("GET", "/photos/k", "localhost", cross_site, 403),
        ("GET", "/k", "photos.oss-cn-hangzhou.aliyuncs.com", cross_site, 403),
        // The guard applies to everything but objects, and to pages that send an Origin.
        ("GET", "/", "photos.oss.example.test", cross_site, 403),
        ("GET", "/k?acl", "photos.oss.example.test", cross_site, 403),
        ("PUT", "/k", "photos.oss.example.test", cross_site, 403),
        ("DELETE", "/k", "photos.oss.example.test", cross_site, 403),
        ("GET", "/k", "photos.oss.example.test", "Origin: https://evil.example\r\n", 403),
    ] {
        let answer = Client::connect(open.address).ask(method, target, host, header, b"");
        assert_eq!(answer.status, status, "{method} {host}{target} {header}");
        let answer = Client::connect(closed.address).ask(method, target, host, header, b"");
        assert_eq!((answer.status, answer.refused()), (403, Some("browser")), "{method} {host}{target}");
    }
    assert_eq!(upstream.heads().len(), 5);
}

#[test]
fn a_web_page_is_rejected_with_advice_that_helps_it() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).start();
    for (header, advice, void) in [
        ("Sec-Fetch-Site: cross-site\r\n", "cross_site_reads", "add the page"),
        ("Origin: https://app.example\r\n", "add the page's origin to `allowed_origins`", "cross_site_reads"),
        ("Origin: null\r\n", "serve the page from a site", "cross_site_reads"),
    ] {
        let answer = Client::connect(proxy.address).ask("GET", "/k", "photos.oss.example.test", header, b"");
        let told = answer.text().replace("&apos;", "'").replace("&#39;", "'");
        assert_eq!(answer.refused(), Some("browser"), "{header}");
        assert!(told.contains(advice) && !told.contains(void), "{header}: {told}");
    }
}

#[test]
fn a_read_only_listener_signs_no_write() {
    let upstream = Script::answering(OK);
    let proxy = proxy(upstream.address).listen("read_only = true").start();
    for (method, target) in [
        ("PUT", "/photos/k"),
        ("POST", "/photos/k?uploads"),
        ("POST", "/photos/?delete"),
        ("DELETE", "/photos/k"),
        ("PUT", "/photos/"),
        ("POST", "/photos/k?x-oss-process"),
    ] {
        let answer = crate::support::ask(proxy.address, method, target, b"");
        assert_eq!((answer.status, answer.refused()), (403, Some("denied")), "{method} {target}");
    }
    for (method, target) in
        [("GET", "/photos/k"), ("HEAD", "/photos/k"), ("GET", "/photos/?list-type=2"), ("GET", "/")]
    {
        assert_eq!(crate::support::ask(proxy.address, method, target, b"").status, 200, "{method} {target}");
    }
    assert_eq!(upstream.heads().len(), 4);
}

#[test]
fn forms_and_preflights_are_refused_or_passed_but_never_signed() {
    let form = "Content-Type: multipart/form-data; boundary=x\r\n";
    let upstream = Script::answering(OK);
    let refusing = proxy(upstream.address).start();
    let own = refusing.address.to_string();
    let answer = Client::connect(refusing.address).ask("POST", "/photos/", &own, form, b"--x--");
    assert_eq!((answer.status, answer.refused()), (403, Some("post-form")));
    let answer = Client::connect(refusing.address).ask("OPTIONS", "/photos/k", &own, "", b"");
    assert_eq!((answer.status, answer.refused()), (403, Some("preflight")));
    assert!(upstream.heads().is_empty());

    let passing = proxy(upstream.address).listen("unsigned_forms = true").start();
    let own = passing.address.to_string();
    assert_eq!(Client::connect(passing.address).ask("POST", "/photos/", &own, form, b"--x--").status, 200);
    assert_eq!(Client::connect(passing.address).ask("OPTIONS", "/photos/k", &own, "", b"").status, 200);
    for head in upstream.heads() {
        assert_eq!(line_of(&head, "authorization"), None, "{head}");
        assert_eq!(line_of(&head, "x-oss-date"), None, "{head}");
    }
}

#[test]
fn a_clients_own_signature_is_replaced_whole() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let own = proxy.address.to_string();
    let dummy = "Authorization: OSS4-HMAC-SHA256 Credential=x/20200101/cn-x/oss/aliyun_v4_request,Signature=0\r\n\
                 Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nx-oss-date: 19700101T000000Z\r\n\
                 x-oss-content-sha256: abc\r\nx-oss-security-token: foreign\r\nsecurity-token: foreign\r\n";
    let query = "OSSAccessKeyId=x&Expires=1&Signature=y&security-token=z&x-oss-signature-version=OSS4-HMAC-SHA256\
                 &x-oss-credential=c&x-oss-date=d&x-oss-expires=1&x-oss-additional-headers=host\
                 &x-oss-security-token=t&x-oss-signature=s&x-oss-access-key-id=k";
    let answer = Client::connect(proxy.address).ask("PUT", &format!("/photos/k?{query}"), &own, dummy, b"v");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = oss.recorder.last().expect("a request");
    assert_eq!(received.target, "/k");
    assert_eq!(received.headers.get_all("authorization").iter().count(), 1);
    for name in ["x-oss-security-token", "security-token", "date"] {
        assert!(!received.headers.contains_key(name), "{name}");
    }
}

#[test]
fn temporary_credentials_send_their_token_signed() {
    let oss = oss();
    for signature in ["v4", "v1"] {
        let triple = format!(
            "type = \"static\"\naccess_key_id = \"{STS_ID}\"\naccess_key_secret = \"{SECRET}\"\nsecurity_token = \"{TOKEN}\"\n"
        );
        let proxy =
            proxy(oss.address).upstream(&format!("signature = \"{signature}\"")).credentials(&triple).start();
        let answer = crate::support::ask(proxy.address, "PUT", "/photos/k", b"v");
        assert_eq!(answer.status, 200, "{signature}: {}", answer.text());
        let received = oss.recorder.last().expect("a request");
        assert_eq!(
            received.headers.get("x-oss-security-token").map(|v| v.as_bytes()),
            Some(TOKEN.as_bytes())
        );
    }
}

#[test]
fn a_header_that_connection_names_is_gone_before_the_signature() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let own = proxy.address.to_string();
    let lines = "Connection: keep-alive, x-oss-meta-gone, x-oss-date, authorization\r\nx-oss-meta-gone: 1\r\nx-oss-meta-kept: 2\r\n";
    let answer = Client::connect(proxy.address).ask("PUT", "/photos/k", &own, lines, b"v");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = oss.recorder.last().expect("a request");
    assert!(
        !received.headers.contains_key("x-oss-meta-gone") && !received.headers.contains_key("connection")
    );
    assert!(received.headers.contains_key("x-oss-meta-kept"));
}

#[test]
fn odd_headers_are_signed_as_they_are_sent() {
    let oss = oss();
    for signature in ["v4", "v1"] {
        let proxy = proxy(oss.address).upstream(&format!("signature = \"{signature}\"")).start();
        let mut client = Client::connect(proxy.address);
        client.send(format!("PUT /photos/k HTTP/1.1\r\nHost: {}\r\nContent-Length: 1\r\n", proxy.address));
        client
            .send("x-oss-meta-a: 1\r\nX-OSS-Meta-A:   two  words\t\r\nx-oss-meta-empty:\r\nx-oss-meta-zh: ");
        client.send([0xe4, 0xb8, 0xad, 0xff]);
        client.send("\r\nContent-Type: text/plain; charset=utf-8\r\nx-amz-meta-a: b\r\nX-Empty:\r\n\r\nv");
        let answer = client.answer("PUT").expect("an answer");
        assert_eq!(answer.status, 200, "{signature}: {}", answer.text());
        let received = oss.recorder.last().expect("a request");
        let value = |name: &str| received.headers.get(name).map(|value| value.as_bytes().to_vec());
        assert_eq!(value("x-oss-meta-a").as_deref(), Some(&b"1,two  words"[..]));
        assert_eq!(value("x-oss-meta-zh").as_deref(), Some(&[0xe4, 0xb8, 0xad, 0xff][..]));
        assert_eq!(value("x-oss-meta-empty"), None);
        assert_eq!(value("x-amz-meta-a").as_deref(), Some(&b"b"[..]));
    }
}

#[test]
fn a_pinned_bucket_is_held_wherever_a_request_can_name_another() {
    let upstream = Script::answering(OK);
    let default = proxy(upstream.address).upstream("bucket = \"photos\"").start();
    let route = format!(
        "[[route]]\nmatch = {{ host = \"pinned.test\" }}\nregion = \"cn-hangzhou\"\nbucket = \"photos\"\nendpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{}\"\n",
        upstream.address
    );
    let routed = proxy(upstream.address).sections(&route).start();
    let copy = |source: &str| format!("x-oss-copy-source: {source}\r\n");
    let rows = [
        ("PUT", "/k", copy("/files/secret"), false),
        ("PUT", "/k", copy("%2Ffiles%2Fsecret"), false),
        ("PUT", "/k?partNumber=1&uploadId=x", copy("files/secret"), false),
        ("PUT", "/k", copy("/photos/other%20key?versionId=CAE"), true),
        ("PUT", "/k?partNumber=1&uploadId=x", copy("photos/k"), true),
        // b_ZmlsZXM is files, b_cGhvdG9z is photos.
        ("GET", "/k?x-oss-process=image/info%7Csys/saveas,o_aw,b_ZmlsZXM", String::new(), false),
        ("GET", "/k?x-oss-process=image/info%7Csys/saveas,b_cGhvdG9z,o_aw", String::new(), true),
        ("POST", "/k?x-oss-async-process", String::new(), false),
        ("POST", "/k?x-oss-process", String::new(), false),
        ("PUT", "/?logging", String::new(), false),
        ("POST", "/?replication&comp=add", String::new(), false),
        ("PUT", "/?inventory&inventoryId=1", String::new(), false),
        ("PUT", "/?website", String::new(), false),
        ("PUT", "/channel?live", String::new(), false),
        ("GET", "/?logging", String::new(), true),
        ("PUT", "/?acl", String::new(), true),
        ("PUT", "/k", String::new(), true),
    ];
    for (proxy, host) in [(&default, "127.0.0.1"), (&routed, "pinned.test")] {
        for (method, target, header, passes) in &rows {
            let sent = upstream.heads().len();
            let answer = Client::connect(proxy.address).ask(method, target, host, header, b"");
            let expected = if *passes { (200, None) } else { (403, Some("pinned")) };
            assert_eq!((answer.status, answer.refused()), expected, "{method} {target} {header}");
            assert_eq!(upstream.heads().len() - sent, usize::from(*passes), "{method} {target} {header}");
        }
    }
    // An upstream for all buckets permits copies and saves.
    for (method, target, header, _) in &rows {
        let target = format!("/photos{target}");
        let answer = Client::connect(routed.address).ask(method, &target, "127.0.0.1", header, b"");
        assert_eq!(answer.status, 200, "{method} {target} {header}");
    }
}
