//! What OSS repeats of our request in its errors: the token is never among it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Client, Proxy, SECRET, STS_ID, Script, TOKEN, ask, proxy};

/// A proxy that signs with a token.
fn temporary(upstream: &Script) -> Proxy {
    let lines = format!(
        "type = \"static\"\naccess_key_id = \"{STS_ID}\"\naccess_key_secret = \"{SECRET}\"\nsecurity_token = \"{TOKEN}\"\n"
    );
    proxy(upstream.address).credentials(&lines).start()
}

/// An upstream that answers each request with this head, to which its length is added, and body.
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
