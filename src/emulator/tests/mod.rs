//! Tests of the service over its own socket, with raw bytes.

mod addressing;
mod breaks;
mod extras;
mod faults;
mod judgement;
mod listing;
mod objects;
mod operations;
mod settings;
mod uploads;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::request::OssRequest;
use super::settings::ServiceIdentity;
use super::verify::tests::authorization;
use super::{EmulatedAccount, Emulator, EmulatorSettings, EmulatorThread};
use crate::oss::{Bucket, Region};
use crate::time::{Clock, Timestamp};

/// A clock that does not advance.
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A response as received.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

/// A request that is being built.
struct Ask {
    method: &'static str,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    host: &'static str,
}

fn start() -> EmulatorThread {
    start_with(EmulatedAccount::pair("ak", "sk"))
}

fn start_with(account: EmulatedAccount) -> EmulatorThread {
    let settings = EmulatorSettings::new(Region::parse("cn-hangzhou").expect("a region"), Arc::new(Fixed))
        .account(account)
        .bucket(photos())
        .domain("img.example.com", photos());
    Emulator::spawn("127.0.0.1:0".parse().expect("an address"), settings).expect("a free port")
}

fn photos() -> Bucket {
    Bucket::parse("photos").expect("a bucket name")
}

fn ask(method: &'static str, target: &str) -> Ask {
    Ask {
        method,
        target: target.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        host: "photos.oss-cn-hangzhou.aliyuncs.com",
    }
}

fn get(target: &str) -> Ask {
    ask("GET", target)
}

fn put(target: &str, body: &str) -> Ask {
    ask("PUT", target).body(body.as_bytes())
}

impl Ask {
    fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        let length = body.len().to_string();
        self.header("Content-Length", length)
    }

    /// Adds the date and a V1 signature. The vectors verify that algorithm.
    fn signed(self) -> Self {
        let ask = self.header("Date", NOW.http_date());
        let mut headers = HeaderMap::new();
        headers.append("host", HeaderValue::from_static(ask.host));
        for (name, value) in &ask.headers {
            let name = HeaderName::from_str(name).expect("a header name");
            headers.append(name, HeaderValue::from_bytes(value).expect("a header value"));
        }
        let place = ServiceIdentity::new(
            Region::parse("cn-hangzhou").expect("a region"),
            vec![("img.example.com".to_owned(), photos())],
        );
        let uri: Uri = ask.target.parse().expect("a target");
        let method = Method::from_str(ask.method).expect("a method");
        let request = OssRequest::read(method, &uri, headers, &place).expect("a readable request");
        let signature = authorization(&request, "sk", "ak");
        ask.header("Authorization", signature)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut wire =
            format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.host).into_bytes();
        for (name, value) in &self.headers {
            wire.extend(format!("{name}: ").as_bytes());
            wire.extend(value);
            wire.extend(b"\r\n");
        }
        wire.extend(b"\r\n");
        wire.extend(&self.body);
        wire
    }

    /// Sends the request unchanged on a new connection.
    fn send_unsigned(self, oss: &EmulatorThread) -> Answer {
        let mut wire = connect(oss);
        wire.write_all(&self.header("Connection", "close").bytes()).expect("sent");
        read(&mut wire)
    }

    fn send(self, oss: &EmulatorThread) -> Answer {
        self.signed().send_unsigned(oss)
    }
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(": ")?;
            own.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the texts of all elements with this name.
    fn elements(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let after = text.split(&open).skip(1);
        after.filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
    }

    fn element(&self, name: &str) -> String {
        self.elements(name).into_iter().next().unwrap_or_default()
    }

    /// Returns status and code.
    fn refusal(&self) -> (u16, String) {
        (self.status, self.element("Code"))
    }
}

/// Connects with a read timeout, so that a test fails instead of waiting forever.
fn connect(oss: &EmulatorThread) -> TcpStream {
    let wire = TcpStream::connect(oss.address).expect("a connection");
    wire.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    wire
}

/// Reads one response until the connection ends.
fn read(wire: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A truncated connection can end in a reset; the data before it is kept.
    let _ = wire.read_to_end(&mut bytes);
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { status, head, body: bytes.split_off(at) }
}

/// Fri, 24 May 2024 00:00:00 GMT.
const NOW: Timestamp = Timestamp::from_unix_s(1_716_508_800);
