//! Request data that OSS repeats in its error responses: the security token is always removed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Client, Proxy, SECRET, STS_ID, Script, TOKEN, ask, proxy};

/// Starts a proxy that signs with a security token.
fn temporary(upstream: &Script) -> Proxy {
    let lines = format!(
        "type = \"static\"\naccess_key_id = \"{STS_ID}\"\naccess_key_secret = \"{SECRET}\"\nsecurity_token = \"{TOKEN}\"\n"
    );
    proxy(upstream.address).credentials(&lines).start()
}

/// Starts an upstream that answers each request with this body and this head, to which its length
/// is added.
fn erring(head: &str, body: impl Into<Vec<u8>>) -> Script {
    let (head, body) = (head.to_owned(), body.into());
    Script::start(move |peer| {
        while peer.head().is_some() {
            peer.send(format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len()));
            peer.send(&body);
        }
    })
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_token_is_removed_from_an_error_and_the_rest_stays() {
    let document = |token: &str, hex: &str| {
        format!(
            "<Error><Code>SignatureDoesNotMatch</Code><StringToSign>GET\nx-oss-security-token:{token}\n/b/k</StringToSign><StringToSignBytes>{hex}</StringToSignBytes></Error>"
        )
    };
    let told = document(TOKEN, &hex(TOKEN));
    let clean = document("[removed]", "[removed]");
    let head = format!("403 Forbidden\r\nx-oss-request-id: 1\r\nx-oss-err: {}", STANDARD.encode(&told));
    let upstream = erring(&head, told);
    let proxy = temporary(&upstream);
    let got = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((got.status, got.text(), got.whole), (403, clean.clone(), true));
    assert_eq!(got.header("x-oss-err"), Some(&*STANDARD.encode(clean)));
    assert_eq!(got.header("x-oss-request-id"), Some("1"));
    assert!(upstream.heads()[0].contains(TOKEN), "it had been sent");
}

#[test]
fn the_answer_to_head_has_its_header_cleaned() {
    let told = format!("<Error><T>{TOKEN}</T></Error>");
    let upstream = Script::start(move |peer| {
        peer.head();
        let header = STANDARD.encode(&told);
        peer.send(format!("HTTP/1.1 403 Forbidden\r\nx-oss-err: {header}\r\nContent-Length: 900\r\n\r\n"));
        peer.rest();
    });
    let proxy = temporary(&upstream);
    let got = ask(proxy.address, "HEAD", "/photos/k", b"");
    assert_eq!(got.header("x-oss-err"), Some(&*STANDARD.encode("<Error><T>[removed]</T></Error>")));
}

#[test]
fn an_error_that_is_encoded_or_too_long_is_told_in_our_words() {
    let long =
        format!("<Error><Code>AccessDenied</Code><EC>0003-1</EC>{}{TOKEN}</Error>", "x".repeat(70_000));
    for (head, body, code) in [
        ("403 Forbidden\r\nx-oss-request-id: A1\r\nContent-Encoding: gzip", "opaque".to_owned(), "Forbidden"),
        ("403 Forbidden\r\nx-oss-request-id: A1", long, "AccessDenied"),
    ] {
        let upstream = erring(head, body);
        let proxy = temporary(&upstream);
        let got = ask(proxy.address, "GET", "/photos/k", b"");
        assert_eq!((got.status, got.whole, got.header("content-encoding")), (403, true, None));
        for expected in [&*format!("<Code>{code}</Code>"), "<RequestId>A1</RequestId>"] {
            assert!(got.text().contains(expected), "{expected}: {}", got.text());
        }
        assert!(!got.text().contains(TOKEN) && !got.text().contains("opaque"), "{}", got.text());
    }
}

/// Returns error documents with the token in a form that is only partly known, or that are not
/// plain XML.
fn documents_not_understood() -> Vec<(&'static str, Vec<u8>)> {
    let all = |one: fn(u8) -> String| TOKEN.bytes().map(one).collect::<String>();
    let lines = |text: &str| {
        let lines: Vec<_> = text.as_bytes().chunks(6).map(String::from_utf8_lossy).collect();
        lines.join("\n")
    };
    let (begin, end) = TOKEN.split_at(9);
    let error = |message: &str| format!("<Error><Code>X</Code><Message>{message}</Message></Error>");
    let base64 = STANDARD.encode(TOKEN);
    let utf16: Vec<u8> = error(TOKEN).encode_utf16().flat_map(u16::to_le_bytes).collect();
    let escaped = TOKEN.replace('/', "\\/");
    let texts = [
        ("JSON", format!("{{\"token\": \"{TOKEN}\"}}")),
        ("JSON with its slash escaped", format!("{{\"token\": \"{escaped}\"}}")),
        ("JSON, all of it escaped", format!("{{\"token\": \"{}\"}}", all(|b| format!("\\u{b:04x}")))),
        ("JSON inside the XML", error(&all(|b| format!("\\u{b:04x}")))),
        ("a page", format!("<html><body>{begin}<b>{end}</b></body></html>")),
        ("plain text", format!("denied: {TOKEN}")),
        ("two CDATA sections", error(&format!("<![CDATA[{begin}]]><![CDATA[{end}]]>"))),
        ("a comment in its middle", error(&format!("{begin}<!-- -->{end}"))),
        ("an instruction in its middle", error(&format!("{begin}<?x?>{end}"))),
        ("an attribute", format!("<Error token=\"{begin}&#x2b;{end}\"><Code>X</Code></Error>")),
        ("an entity of its own", format!("<!DOCTYPE x [<!ENTITY t \"{begin}\">]>{}", error("&t;"))),
        ("two elements", format!("<Error><Code>X</Code><A>{begin}</A><B>{end}</B></Error>")),
        ("another encoding", format!("<?xml version=\"1.0\" encoding=\"UTF-7\"?>{}", error(TOKEN))),
        ("two documents", format!("{}{}", error("x"), error(TOKEN))),
        ("base64 with line breaks", error(&lines(&base64))),
        ("base64 of base64", error(&STANDARD.encode(&base64))),
        ("base64 with references", error(&base64.replace('Z', "&#90;"))),
        ("line breaks", error(&lines(TOKEN))),
        ("percent signs three times", error(&all(|b| format!("%2525{b:02X}")))),
        ("quoted-printable", error(&all(|b| format!("={b:02X}=\n")))),
        ("hex with line breaks", error(&lines(&hex(TOKEN).replace(' ', "")))),
        ("a list of numbers", error(&all(|b| format!("{b}, ")))),
        ("octal escapes", error(&all(|b| format!("\\{b:03o}")))),
        ("hex escapes", error(&all(|b| format!("0x{b:x},")))),
    ];
    let texts = texts.into_iter().map(|(name, text)| (name, text.into_bytes()));
    texts.chain([("UTF-16", utf16)]).collect()
}

#[test]
fn an_error_in_a_form_that_is_not_understood_is_replaced_whatever_its_status() {
    let statuses = ["403 Forbidden", "400 Bad Request", "404 Not Found", "502 Bad Gateway", "307 Elsewhere"];
    for (index, (name, body)) in documents_not_understood().into_iter().enumerate() {
        let status = statuses[index % statuses.len()];
        let header = STANDARD.encode(&body);
        let upstream = erring(&format!("{status}\r\nx-oss-request-id: A1\r\nx-oss-err: {header}"), body);
        let proxy = temporary(&upstream);
        let got = ask(proxy.address, "GET", "/photos/k", b"");
        assert!(got.whole && status.starts_with(&got.status.to_string()), "{name}");
        assert_eq!(got.header("content-type"), Some("application/xml"), "{name}");
        let told = STANDARD.decode(got.header("x-oss-err").expect("a header")).expect("base64");
        for text in [got.text(), String::from_utf8_lossy(&told).into_owned()] {
            assert!(text.starts_with("<?xml") && text.contains("error text omitted"), "{name}: {text}");
            assert!(text.contains("<RequestId>A1</RequestId>"), "{name}: {text}");
            for piece in ["planted", "token/v", "70 6C", "112", "160", &STANDARD.encode(TOKEN)[..8]] {
                assert!(!text.contains(piece), "{name}: {text}");
            }
        }
    }
}

#[test]
fn a_203_in_a_form_that_is_not_understood_is_no_success() {
    for (name, body) in documents_not_understood().into_iter().take(6) {
        let upstream = erring("203 Non-Authoritative Information\r\nx-oss-request-id: A1", body);
        let proxy = temporary(&upstream);
        let got = ask(proxy.address, "PUT", "/photos/k", b"v");
        assert_eq!((got.status, got.refused()), (502, Some("upstream-invalid")), "{name}");
        assert!(!got.text().contains("planted"), "{name}: {}", got.text());
    }
}

/// Error documents as OSS writes them, all without a token.
const PLAIN: [(&str, &str); 8] = [
    ("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>"),
    (
        "404 Not Found",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>\n  <Code>NoSuchKey</Code>\n  <Message>The specified key does not exist.</Message>\n  <RequestId>5C3D9175B6FC201293AD0000</RequestId>\n  <HostId>photos.oss-cn-hangzhou.aliyuncs.com</HostId>\n  <Key>a &amp; &#228; \u{4e2d}.jpg</Key>\n  <EC>0026-00000001</EC>\n  <RecommendDoc>https://api.aliyun.com/troubleshoot?q=0026-00000001</RecommendDoc>\n</Error>\n",
    ),
    (
        "403 Forbidden",
        "<?xml version='1.0' encoding='utf-8' ?><Error xmlns=\"http://doc.oss-cn-hangzhou.aliyuncs.com\"><Code>AccessDenied</Code><AccessDeniedDetail><AuthAction>oss:GetObject</AuthAction><NoPermissionType>ImplicitDeny</NoPermissionType><EncodedDiagnosticMessage>AQFohtp4aIbaeEXYNzRCRkNBLTBGQjEtNUQ2RC1BRjQ1LTQ5OUQ5RDBEQzI2MQ==</EncodedDiagnosticMessage><Empty/></AccessDeniedDetail></Error>",
    ),
    (
        "403 Forbidden",
        "<Error><Code>SignatureDoesNotMatch</Code><StringToSign>OSS4-HMAC-SHA256\n20260101T000000Z\n20260101/cn-hangzhou/oss/aliyun_v4_request\ndeadbeef</StringToSign><StringToSignBytes>4F 53 53 34 2D 48 4D 41 43</StringToSignBytes><CanonicalRequest>GET\n/photos/a%20b\nx-oss-process=image%2Fresize\nx-oss-meta-path:C:\\data\\new\n\n\nUNSIGNED-PAYLOAD</CanonicalRequest></Error>",
    ),
    (
        "301 Moved Permanently",
        "<Error><Code>AccessDenied</Code><Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint></Error>",
    ),
    (
        "203 CallbackFailed",
        "<Error><Code>CallbackFailed</Code><Message>Error status : 502.</Message></Error>",
    ),
    ("400 Bad Request", ""),
    ("500 Internal Server Error", " \n"),
];

#[test]
fn a_plain_error_passes_byte_for_byte() {
    for (status, body) in PLAIN {
        let header = STANDARD.encode(body);
        let upstream = erring(&format!("{status}\r\nx-oss-err: {header}\r\nContent-Type: text/xml"), body);
        let proxy = temporary(&upstream);
        for method in ["PUT", "GET"] {
            let got = ask(proxy.address, method, "/photos/k", b"v");
            assert!(status.starts_with(&got.status.to_string()), "{body}: {}", got.status);
            assert_eq!((got.text(), got.whole), (body.to_owned(), true), "{status}");
            assert_eq!(got.header("x-oss-err").unwrap_or_default(), header, "{status}");
            assert_eq!(got.header("content-type"), Some("text/xml"), "{status}");
        }
    }
}

#[test]
fn errors_to_a_key_without_a_token_pass_whatever_they_are() {
    for status in ["203 Other", "302 Found", "400 Bad Request", "503 Busy"] {
        let upstream =
            erring(&format!("{status}\r\nContent-Encoding: gzip\r\nx-oss-err: {{}}"), "{\"a\": 1}");
        let proxy = proxy(upstream.address).start();
        let got = ask(proxy.address, "GET", "/photos/k", b"");
        assert!(status.starts_with(&got.status.to_string()), "{status}");
        assert_eq!((got.text(), got.header("x-oss-err")), ("{\"a\": 1}".to_owned(), Some("{}")), "{status}");
        assert_eq!(got.header("content-encoding"), Some("gzip"), "{status}");
    }
}

#[test]
fn header_lines_and_the_reason_of_an_error_hold_no_token() {
    let escapes: String = TOKEN.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let spaced = STANDARD
        .encode(TOKEN)
        .as_bytes()
        .chunks(5)
        .map(String::from_utf8_lossy)
        .collect::<Vec<_>>()
        .join(" ");
    for value in [TOKEN, &escapes, &spaced, &format!("/login?t={}", TOKEN.replace('+', "%2B"))] {
        let head = format!("302 Found {value}\r\nLocation: {value}\r\nx-oss-err: {value}\r\nx-oss-a: b");
        let upstream = erring(&head, "");
        let proxy = temporary(&upstream);
        let mut client = Client::connect(proxy.address);
        client
            .send(format!("HEAD /photos/k HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", proxy.address));
        let mut raw = String::new();
        std::io::Read::read_to_string(&mut client.stream, &mut raw).expect("a head");
        assert!(raw.starts_with("HTTP/1.1 302 Found\r\n") && raw.contains("x-oss-a: b"), "{raw}");
        assert!(raw.to_ascii_lowercase().contains("location: ") && raw.contains("[removed]"), "{raw}");
        for piece in ["planted", "token", "\\u0070", &*spaced] {
            assert!(!raw.contains(piece), "{piece}: {raw}");
        }
    }
}

#[test]
fn the_length_that_head_tells_stays() {
    let upstream = Script::start(move |peer| {
        peer.head();
        peer.send("HTTP/1.1 404 Not Found\r\nx-oss-err: eyJhIjoxfQ==\r\nContent-Length: 900\r\n\r\n");
        peer.rest();
    });
    let proxy = temporary(&upstream);
    let got = ask(proxy.address, "HEAD", "/photos/k", b"");
    assert_eq!((got.status, got.header("content-length")), (404, Some("900")));
    let told = STANDARD.decode(got.header("x-oss-err").expect("a header")).expect("base64");
    assert!(String::from_utf8_lossy(&told).contains("error text omitted"));
}

#[test]
fn an_error_that_breaks_off_does_not_become_whole() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n<Error>");
    });
    let proxy = temporary(&upstream);
    let got = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((got.status, got.refused()), (502, Some("upstream-reset")));
}

#[test]
fn connections_are_kept_over_errors_and_other_answers_are_not_touched() {
    let upstream = erring("404 Not Found", "<Error><Code>NoSuchKey</Code></Error>");
    let proxy_before = temporary(&upstream);
    let mut client = Client::connect(proxy_before.address);
    for _ in 0..3 {
        let got = client.ask("GET", "/photos/k", &proxy_before.address.to_string(), "", b"");
        assert_eq!(got.text(), "<Error><Code>NoSuchKey</Code></Error>");
    }
    let object = format!("an object that holds {TOKEN}");
    let upstream = erring("200 OK", object.clone());
    let proxy = temporary(&upstream);
    assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").text(), object);
}
