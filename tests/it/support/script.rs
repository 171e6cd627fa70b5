//! A scripted upstream: a function serves each connection, and reads and writes freely.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// The upstream. It records the bytes that its connections received.
pub(crate) struct Script {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    ended: mpsc::Receiver<Vec<u8>>,
}

/// One connection, inside the script.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    reader: BufReader<TcpStream>,
    heads: Arc<Mutex<Vec<String>>>,
    pub(crate) ended: mpsc::Sender<Vec<u8>>,
}

impl Script {
    /// Runs `play` in a new thread for each connection. The listener lives as long as the test
    /// process.
    pub(crate) fn start(play: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (sender, ended) = mpsc::channel();
        let shared = Arc::clone(&heads);
        let play = Arc::new(play);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (play, heads, ended) = (Arc::clone(&play), Arc::clone(&shared), sender.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
                    let reader = BufReader::new(stream.try_clone().expect("a second handle"));
                    play(&mut Peer { stream, reader, heads, ended });
                });
            }
        });
        Self { address, heads, ended }
    }

    /// Answers each request with the same bytes, after its head and its body of a known length have
    /// arrived.
    pub(crate) fn answering(answer: &'static str) -> Self {
        Self::start(move |peer| {
            while let Some(head) = peer.head() {
                peer.body(&head);
                peer.send(answer);
            }
        })
    }

    /// Returns the heads of the requests received until now, as sent.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("no panic").clone()
    }

    /// Returns the bytes that a connection had left to read when it ended, as reported by
    /// [`Peer::rest`].
    pub(crate) fn rest(&self) -> Vec<u8> {
        self.ended.recv_timeout(LIMIT).expect("a connection ended")
    }
}

impl Peer {
    /// Reads the head of a request; `None` at the end of the connection.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        self.heads.lock().expect("no panic").push(head.clone());
        Some(head)
    }

    /// Reads the body whose length the head announces.
    pub(crate) fn body(&mut self, head: &str) -> Vec<u8> {
        let length = line_of(head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).expect("the whole body");
        body
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The proxy may have closed; the test checks the client side.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Reads `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    /// Reads to the end of the connection and reports the bytes to the test.
    pub(crate) fn rest(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = self.reader.read_to_end(&mut rest);
        let _ = self.ended.send(rest);
    }
}

/// Returns the value of a header in a head.
pub(crate) fn line_of<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// The longest wait in any script.
const LIMIT: Duration = Duration::from_secs(10);
