//! Signatures of callers in each form: in a header and in a URL, of V1 and V4, over HTTP/1.1 and
//! HTTP/2, and where the address of the request does not name the bucket.

use std::net::SocketAddr;
use std::time::Duration;

use oss_signing_proxy::internals::sign::SignatureVersion;

use crate::callers::{Asked, CALLER_SECRET, CALLERS};
use crate::support::h2::{Connection, over_h2, request};
use crate::support::{Client, oss, proxy};

const VERSIONS: [SignatureVersion; 2] = [SignatureVersion::V4, SignatureVersion::V1];
const LISTEN: &str = "identify = [\"key\"]";

/// The part of a request that has the signature.
#[derive(Clone, Copy, Debug)]
enum Place {
    Header,
    Url,
}

/// A signed request for the path of its key.
struct SignedAsk {
    method: String,
    target: String,
    /// The header lines.
    lines: String,
    body: &'static [u8],
}

impl SignedAsk {
    fn new(asked: &Asked<'_>, place: Place) -> Self {
        let path = format!("/{}", asked.key);
        let (target, lines) = match place {
            Place::Header => (path, asked.lines()),
            Place::Url => (path + &asked.signed_query(Duration::from_secs(60)), String::new()),
        };
        let body: &[u8] = if asked.method == "PUT" { b"bytes" } else { b"" };
        Self { method: asked.method.to_owned(), target, lines, body }
    }

    /// Sends the request to a host over HTTP/1.1, and returns the status of the response.
    fn send(&self, proxy: SocketAddr, host: &str) -> u16 {
        Client::connect(proxy).ask(&self.method, &self.target, host, &self.lines, self.body).status
    }

    /// Sends the request to a host over HTTP/2, and returns the status of the response.
    async fn send_on(&self, connection: &Connection, host: &str) -> u16 {
        let mut head = request(&self.method, &format!("http://{host}{}", self.target));
        for line in self.lines.lines() {
            let (name, value) = line.split_once(": ").expect("a line");
            let name: http::HeaderName = name.parse().expect("a name");
            head.headers_mut().append(name, value.parse().expect("a value"));
        }
        connection.ask(head, self.body).await.status.as_u16()
    }
}

/// Returns an upload and a download of an object of a bucket, each with the expected status: first
/// with a wrong secret, then signed for another bucket, then as they should be.
fn asks(bucket: &'static str, other: &'static str) -> Vec<(String, SignedAsk, u16)> {
    let mut asks = Vec::new();
    for version in VERSIONS {
        for place in [Place::Header, Place::Url] {
            for method in ["PUT", "GET"] {
                for (bucket, secret, status) in
                    [(bucket, "wrong", 403), (other, CALLER_SECRET, 403), (bucket, CALLER_SECRET, 200)]
                {
                    let asked = Asked { version, bucket, secret, ..Asked::new(method, "a%20b+c") };
                    let name = format!("{method} {version:?} {place:?} {bucket} {secret}");
                    asks.push((name, SignedAsk::new(&asked, place), status));
                }
            }
        }
    }
    asks
}

#[test]
fn signatures_are_verified_over_http2_as_over_http1() {
    let oss = oss();
    let proxy = proxy(oss.address).listen(LISTEN).sections(CALLERS).start();
    let host = "photos.oss.example.test";
    over_h2(proxy.address, async |connection| {
        for (name, ask, status) in asks("photos", "files") {
            assert_eq!(ask.send_on(connection, host).await, status, "{name} over HTTP/2");
        }
    });
    for (name, ask, status) in asks("photos", "files") {
        assert_eq!(ask.send(proxy.address, host), status, "{name} over HTTP/1.1");
    }
}

#[test]
fn a_signature_has_the_bucket_to_which_an_upstream_is_restricted() {
    let oss = oss();
    let proxy = proxy(oss.address).listen(LISTEN).upstream("bucket = \"photos\"").sections(CALLERS).start();
    for host in [proxy.address.to_string().as_str(), "photos.oss.example.test"] {
        for (name, ask, status) in asks("photos", "files") {
            assert_eq!(ask.send(proxy.address, host), status, "{name} for {host}");
        }
    }
}

#[test]
fn a_signature_has_the_bucket_of_the_route_for_its_host() {
    let oss = oss();
    let routes = format!(
        r#"
[[route]]
match = {{ host = "files.example.com" }}
endpoint = "http://oss-cn-hangzhou.aliyuncs.com"
connect = "{address}"
bucket = "files"
region = "cn-hangzhou"

[[route]]
match = {{ host = "img.example.com" }}
endpoint = "http://img.example.com"
addressing = "cname"
connect = "{address}"
bucket = "photos"
region = "cn-hangzhou"
"#,
        address = oss.address
    );
    let proxy = proxy(oss.address).listen(LISTEN).sections(&format!("{CALLERS}{routes}")).start();
    for (host, bucket, other) in
        [("files.example.com", "files", "photos"), ("img.example.com", "photos", "files")]
    {
        for (name, ask, status) in asks(bucket, other) {
            assert_eq!(ask.send(proxy.address, host), status, "{name} for {host}");
        }
    }
}
