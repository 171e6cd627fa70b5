//! An HTTP/1.1 client that sends exactly the given bytes and exposes the whole response.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    reader: BufReader<TcpStream>,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Set if the body ended as its framing announced.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Returns the values of all lines of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.head.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the error code of the proxy.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.header("x-proxy-error")
    }
}

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        stream.set_write_timeout(Some(LIMIT)).expect("a limit");
        stream.set_nodelay(true).expect("no delay");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { stream, reader }
    }

    /// Sends bytes unchanged.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("sent");
    }

    /// Limits the wait for each byte.
    pub(crate) fn limit(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a limit");
    }

    /// Closes the connection with a reset. After a plain close, the client could still be reading.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("an option");
    }

    /// Reads the head of a response; `None` if the connection ended before it.
    pub(crate) fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        let status = line.split(' ').nth(1)?.trim().parse().ok()?;
        let mut head = Vec::new();
        loop {
            let mut line = Vec::new();
            self.reader.read_until(b'\n', &mut line).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                return Some((status, head));
            }
            let (name, value) = line.split_once(':')?;
            head.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// Reads a response. A response to HEAD has no body.
    pub(crate) fn answer(&mut self, method: &str) -> Option<Answer> {
        let (status, head) = loop {
            match self.head()? {
                (100, _) => {}
                other => break other,
            }
        };
        let header =
            |name: &str| head.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let (body, whole) = if method == "HEAD" || status == 204 || status == 304 {
            (Vec::new(), true)
        } else if header("transfer-encoding").is_some() {
            self.chunks()
        } else if let Some(length) = header("content-length") {
            let length: usize = length.parse().expect("one number");
            let mut body = Vec::new();
            let read = in_time(self.reader.by_ref().take(length as u64).read_to_end(&mut body));
            let whole = read.is_ok() && body.len() == length;
            (body, whole)
        } else {
            let mut body = Vec::new();
            let whole = in_time(self.reader.read_to_end(&mut body)).is_ok();
            (body, whole)
        };
        Some(Answer { status, head, body, whole })
    }

    fn chunks(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            if in_time(self.reader.read_line(&mut line)).unwrap_or(0) == 0 {
                return (body, false);
            }
            let Ok(size) = usize::from_str_radix(line.trim(), 16) else {
                return (body, false);
            };
            let mut chunk = vec![0; size + 2];
            if in_time(self.reader.read_exact(&mut chunk)).is_err() {
                return (body, false);
            }
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return (body, true);
            }
        }
    }

    /// Sends one request with a length, and reads its response.
    #[expect(clippy::too_many_arguments, reason = "the parts of a request, in the order of the wire")]
    pub(crate) fn ask(
        &mut self,
        method: &str,
        target: &str,
        host: &str,
        headers: &str,
        body: &[u8],
    ) -> Answer {
        self.send(head(method, target, host, headers, body));
        self.send(body);
        self.answer(method).expect("an answer")
    }

    /// Returns whether the peer has closed, with nothing more to read.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.reader.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

/// Sends one request on a new connection, addressed to the proxy itself.
pub(crate) fn ask(to: SocketAddr, method: &str, target: &str, body: &[u8]) -> Answer {
    Client::connect(to).ask(method, target, &to.to_string(), "", body)
}

/// Sends a request as [`ask`]. The connection may be closed instead of a response.
pub(crate) fn ask_if_open(to: SocketAddr, method: &str, target: &str, body: &[u8]) -> Option<Answer> {
    let mut client = Client::connect(to);
    let request = [&*head(method, target, &to.to_string(), "", body).into_bytes(), body].concat();
    client.stream.write_all(&request).ok()?;
    client.answer(method)
}

fn head(method: &str, target: &str, host: &str, headers: &str, body: &[u8]) -> String {
    let length = if body.is_empty() && !matches!(method, "PUT" | "POST") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}{length}\r\n")
}

/// Returns the result of a read. Panics if nothing arrived within the limit: the end of a
/// connection must be visible.
fn in_time<T>(read: io::Result<T>) -> io::Result<T> {
    let late =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    assert!(!read.as_ref().is_err_and(late), "nothing came for {LIMIT:?}, and no end");
    read
}

/// The longest wait for a byte in any test.
const LIMIT: Duration = Duration::from_secs(10);
