//! Keys that are difficult to sign correctly, in every form of address and with both signature
//! versions, byte for byte.

use std::fmt::Write as _;
use std::net::SocketAddr;

use oss_signing_proxy::emulator::EmulatorThread;

use crate::support::{Answer, Client, Proxy, bucket, oss, proxy};

/// Returns keys as bytes. OSS rejects keys that begin with a slash.
pub(crate) fn nasty() -> Vec<Vec<u8>> {
    let texts = [
        "plain.txt",
        "with space",
        "a+b",
        "100%",
        "%2F",
        "a%2Fb",
        "%25",
        "a//b",
        "a/",
        "a/./b",
        "a/../b",
        "..",
        ".",
        "../..",
        "what?",
        "what?a=b&c",
        "a#b",
        "a&b=c",
        "@:$'()*~!,;",
        "[x]{y}|\\^`\"<>",
        "tab\there",
        "line\r\nbreak",
        "nul\0byte",
        "\u{7f}",
        "\u{4e2d}\u{6587}/\u{6587}\u{4ef6}.txt",
        "\u{1f600}.png",
        "caf\u{e9}",
        "cafe\u{301}",
        "x-oss-process=a",
        "?acl",
    ];
    let mut keys: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    keys.push(vec![b'k'; 1023]);
    keys.push("\u{4e2d}".repeat(341).into_bytes());
    keys.push(vec![0xff, 0xfe, b'x', 0x80]);
    keys.push((1..=255).collect());
    keys
}

pub(crate) fn escaped(key: &[u8]) -> String {
    key.iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(*byte))
            }
            _ => write!(text, "%{byte:02X}").expect("a string"),
        }
        text
    })
}

/// The form in which a client addresses the object.
#[derive(Clone, Copy, Debug)]
enum Form {
    Path,
    Domain,
    OssName,
    Absolute,
    Pinned,
}

const FORMS: [Form; 5] = [Form::Path, Form::Domain, Form::OssName, Form::Absolute, Form::Pinned];

impl Form {
    /// Returns the target and the Host.
    fn write(self, key: &str, proxy: SocketAddr) -> (String, String) {
        match self {
            Self::Path => (format!("/photos/{key}"), proxy.to_string()),
            Self::Domain => (format!("/{key}"), "photos.oss.example.test".to_owned()),
            Self::OssName => (format!("/{key}"), "photos.oss-cn-hangzhou.aliyuncs.com".to_owned()),
            Self::Absolute => {
                (format!("http://photos.oss-cn-hangzhou.aliyuncs.com/{key}"), "ignored.example".to_owned())
            }
            Self::Pinned => (format!("/{key}"), proxy.to_string()),
        }
    }
}

/// One proxy for each kind of upstream, and one that is pinned to a bucket.
struct Bench {
    oss: EmulatorThread,
    open: Proxy,
    pinned: Proxy,
}

impl Bench {
    fn start(upstream: &str) -> Self {
        let oss = oss();
        let open = proxy(oss.address).upstream(upstream).start();
        let pinned = proxy(oss.address).upstream(&format!("bucket = \"photos\"\n{upstream}")).start();
        Self { oss, open, pinned }
    }

    fn ask(&self, form: Form, method: &str, key: &str, body: &[u8]) -> Answer {
        let address = match form {
            Form::Pinned => self.pinned.address,
            Form::Path | Form::Domain | Form::OssName | Form::Absolute => self.open.address,
        };
        let (target, host) = form.write(key, address);
        Client::connect(address).ask(method, &target, &host, "", body)
    }
}

/// Writes each key in one form, checks the stored object, and reads it back in the next form.
fn round_trip(upstream: &str) {
    let bench = Bench::start(upstream);
    for (number, key) in nasty().into_iter().enumerate() {
        for (index, form) in FORMS.into_iter().enumerate() {
            let content = format!("{number} through {form:?}");
            let text = escaped(&key);
            let put = bench.ask(form, "PUT", &text, content.as_bytes());
            assert_eq!(put.status, 200, "PUT {form:?} {text}: {}", put.text());
            let stored = bench.oss.service.object(&bucket("photos"), &key);
            assert_eq!(stored.as_deref(), Some(content.as_bytes()), "stored {form:?} {text}");

            let other = FORMS[(index + 1) % FORMS.len()];
            let get = bench.ask(other, "GET", &text, b"");
            assert_eq!((get.status, get.text()), (200, content), "GET {other:?} {text}");
        }
        let gone = bench.ask(Form::Path, "DELETE", &escaped(&key), b"");
        assert_eq!(gone.status, 204, "DELETE {}", escaped(&key));
    }
    assert!(bench.oss.service.keys(&bucket("photos")).is_empty());
}

#[test]
fn nasty_keys_survive_every_form_of_address_with_v4() {
    round_trip("");
}

#[test]
fn nasty_keys_survive_every_form_of_address_with_v1() {
    round_trip("signature = \"v1\"");
}

#[test]
fn nasty_keys_survive_an_upstream_in_path_style() {
    let oss = oss();
    let endpoint = format!("endpoint = \"http://{}\"", oss.address);
    for signature in ["v4", "v1"] {
        let proxy = proxy(oss.address).upstream(&format!("{endpoint}\nsignature = \"{signature}\"")).start();
        for key in nasty() {
            let target = format!("/photos/{}", escaped(&key));
            let put = crate::support::ask(proxy.address, "PUT", &target, signature.as_bytes());
            assert_eq!(put.status, 200, "{target}: {}", put.text());
            let stored = oss.service.object(&bucket("photos"), &key);
            assert_eq!(stored.as_deref(), Some(signature.as_bytes()), "{target}");
        }
    }
}

#[test]
fn nasty_keys_survive_a_cname() {
    let oss = oss();
    for signature in ["v4", "v1"] {
        let lines = format!(
            "endpoint = \"http://img.example.com\"\nconnect = \"{}\"\naddressing = \"cname\"\nbucket = \"photos\"\nsignature = \"{signature}\"",
            oss.address
        );
        let proxy = proxy(oss.address).upstream(&lines).start();
        for key in nasty() {
            let put = crate::support::ask(
                proxy.address,
                "PUT",
                &format!("/{}", escaped(&key)),
                signature.as_bytes(),
            );
            assert_eq!(put.status, 200, "{}: {}", escaped(&key), put.text());
            let stored = oss.service.object(&bucket("photos"), &key);
            assert_eq!(stored.as_deref(), Some(signature.as_bytes()), "{}", escaped(&key));
        }
    }
}

#[test]
fn keys_that_clients_leave_unescaped_are_the_same_keys() {
    let bench = Bench::start("");
    for (text, key) in [
        ("a+b'(c)*!~$,;:@&=", &b"a+b'(c)*!~$,;:@&="[..]),
        ("a%2Fb", b"a/b"),
        ("x%2F..%2Fy", b"x/../y"),
        ("a//b/./../c", b"a//b/./../c"),
        ("\u{4e2d}\u{6587}", "\u{4e2d}\u{6587}".as_bytes()),
        ("{a}|b\\c^d\"e", b"{a}|b\\c^d\"e"),
        ("%7e%41", b"~A"),
    ] {
        for form in FORMS {
            let put = bench.ask(form, "PUT", text, text.as_bytes());
            assert_eq!(put.status, 200, "{form:?} {text}: {}", put.text());
            let stored = bench.oss.service.object(&bucket("photos"), key);
            assert_eq!(stored.as_deref(), Some(text.as_bytes()), "{form:?} {text}");
        }
    }
}

#[test]
fn an_escaped_slash_stays_escaped_on_the_way_to_oss() {
    let bench = Bench::start("");
    bench.ask(Form::Path, "PUT", "x%2F..%2fy/z", b"v");
    let last = bench.oss.recorder.last().expect("a request");
    assert_eq!(last.target, "/x%2F..%2Fy/z");
}

#[test]
fn parameters_are_signed_as_oss_reads_them() {
    for signature in ["v4", "v1"] {
        let bench = Bench::start(&format!("signature = \"{signature}\""));
        for key in ["a b/1", "a b/2", "a+b/1", "z/%41"] {
            bench.ask(Form::Path, "PUT", &escaped(key.as_bytes()), b"v");
        }
        for (query, found) in [
            ("prefix=a+b", 2),
            ("prefix=a%20b&max-keys=10", 2),
            ("prefix=a%2Bb", 1),
            ("prefix=&delimiter=%2F", 0),
            ("list-type=2&prefix=z%2F%2541", 1),
            ("list-type=2&encoding-type=url&prefix=a", 3),
        ] {
            let list = bench.ask(Form::Pinned, "GET", &format!("?{query}"), b"");
            assert_eq!(list.status, 200, "{signature} {query}: {}", list.text());
            assert_eq!(
                list.text().matches("<Contents>").count(),
                found,
                "{signature} {query}: {}",
                list.text()
            );
        }
        for query in ["acl", "acl=", "location", "x-oss-unknown=1", "Zz=1&acl&a%2Fb=2&%7Cp=3&a-b=4"] {
            let answer = bench.ask(Form::Pinned, "GET", &format!("?{query}"), b"");
            assert!(
                !answer.text().contains("SignatureDoesNotMatch"),
                "{signature} {query}: {}",
                answer.text()
            );
        }
    }
}
