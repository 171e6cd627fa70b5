//! Repeated reloads under load: no request fails, on any kind of listener and of any duration.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use oss_signing_proxy::emulator::EmulatorThread;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::support::certificates::Authority;
use crate::support::h2::{Connection, play, request};
use crate::support::{Client, ID, KEY, SECRET, STS_ID, Served, TOKEN, eventually, oss};

/// State shared by the clients and the reloading loop.
#[derive(Default)]
struct Progress {
    done: AtomicBool,
    /// The number of reloads.
    turns: AtomicU64,
    /// The number of answered requests.
    answered: AtomicU64,
    /// The number of requests that took longer than one reload.
    long: AtomicU64,
}

impl Progress {
    fn is_done(&self) -> bool {
        self.done.load(SeqCst)
    }

    /// Waits until the configuration has been reloaded again.
    fn next_turn(&self) {
        let turn = self.turns.load(SeqCst);
        eventually("the configuration is read", || self.is_done() || self.turns.load(SeqCst) > turn);
    }

    /// Records that a request that began in this turn has been answered.
    fn answered_since(&self, turn: u64) {
        self.answered.fetch_add(1, SeqCst);
        if self.turns.load(SeqCst) > turn + 1 {
            self.long.fetch_add(1, SeqCst);
        }
    }
}

/// A connection of any kind.
trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

type Open = Arc<dyn Fn() -> Box<dyn Stream> + Send + Sync>;

const PIECE: usize = 256 << 10;
const PIECES: usize = 100;

/// Sends a request and reads the response until the end. Calls `pace` for each piece in between.
fn exchange(open: &Open, head: &str, body: &[u8], mut pace: impl FnMut()) -> Vec<u8> {
    let mut stream = open();
    write!(
        stream,
        "{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .expect("sent");
    for piece in body.chunks(PIECE) {
        stream.write_all(piece).expect("sent");
        pace();
    }
    let mut answer = Vec::new();
    while (&mut stream).take(PIECE as u64).read_to_end(&mut answer).expect("an answer") > 0 {
        pace();
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    answer
}

/// Starts the clients of a listener: short requests on new connections, and transfers that last for
/// many reloads.
fn load(open: &Open, progress: &Arc<Progress>) -> Vec<JoinHandle<()>> {
    let spawn = |task: fn(&Open, &Progress)| {
        let (open, progress) = (Arc::clone(open), Arc::clone(progress));
        thread::spawn(move || {
            while !progress.is_done() {
                let turn = progress.turns.load(SeqCst);
                task(&open, &progress);
                progress.answered_since(turn);
            }
        })
    };
    let brief = |open: &Open, _: &Progress| {
        let answer = exchange(open, "GET /photos/k", b"", || {});
        assert!(answer.ends_with(&[b'x'; 2000]));
    };
    let upload = |open: &Open, progress: &Progress| {
        exchange(open, "PUT /photos/upload", &vec![b'u'; PIECES * PIECE], || progress.next_turn());
    };
    let download = |open: &Open, progress: &Progress| {
        let answer = exchange(open, "GET /photos/large", b"", || progress.next_turn());
        assert!(answer.len() > PIECES * PIECE, "{}", answer.len());
    };
    vec![spawn(brief), spawn(brief), spawn(upload), spawn(download)]
}

/// Returns one of two keys that the emulated OSS accepts.
fn key(turn: u64) -> String {
    let token = format!("security_token = \"{TOKEN}\"\n");
    let (id, token) = if turn.is_multiple_of(2) { (ID, "") } else { (STS_ID, &*token) };
    format!("type = \"static\"\naccess_key_id = \"{id}\"\naccess_key_secret = \"{SECRET}\"\n{token}")
}

/// Returns the token of the admin listener from this turn on.
fn admin_token(turn: u64) -> String {
    format!("token-of-turn-{turn}")
}

/// Returns the lines that change at each turn in addition to the sections under test. They cover
/// the signing credentials and their route, the trusted authorities of the upstream, and the admin
/// token. The first lines continue `[upstream]`.
fn varied(turn: u64, trusted: &Path) -> String {
    let by_route = "[[route]]\nmatch = { bucket = \"photos\" }\ncredentials = \"other\"\n";
    format!(
        "ca_file = {trusted:?}\n[[route]]\nmatch = {{ bucket = \"turn-{turn}\" }}\nendpoint = \"https://oss-cn-hangzhou.aliyuncs.com\"\n{}\
         [credentials.default]\n{}[credentials.other]\n{}[admin]\ntoken = \"{}\"\n",
        if turn % 3 == 2 { by_route } else { "" },
        key(turn),
        key(turn / 2),
        admin_token(turn)
    )
}

/// Reloads repeatedly, with other sections each time, while these clients send requests.
fn soak(
    (oss, served): (&EmulatorThread, &Served),
    sections: impl Fn(u64) -> String,
    progress: &Progress,
    clients: Vec<JoinHandle<()>>,
) {
    let authorities = [Authority::new(), Authority::new()];
    let trusted = authorities[0].directory().join("trusted.pem");
    let admin = served.admin().to_string();
    for turn in 0..20 {
        let before = progress.answered.load(SeqCst);
        fs::copy(authorities[usize::from(turn % 2 == 1)].file(), &trusted).expect("copied");
        let (varied, sections) = (varied(turn, &trusted), sections(turn));
        let limits = format!("[limits]\nupstream_connections = {}\n", 8 + turn % 2);
        served.rewrite(oss.address, &format!("{varied}{sections}{limits}"));
        let token = turn.checked_sub(1).map(admin_token).unwrap_or_default();
        let shown = format!("Authorization: Bearer {token}\r\n");
        let told = Client::connect(served.admin()).ask("POST", "/-/reload", &admin, &shown, b"");
        assert_eq!(told.status, 200, "{}", told.text());
        if turn > 0 {
            for change in ["trusted.pem changed", "credentials.default.security_token", "route[0]"] {
                assert!(told.text().contains(change), "{change}: {}", told.text());
            }
        }
        progress.turns.fetch_add(1, SeqCst);
        eventually("requests are answered", || progress.answered.load(SeqCst) > before + 8);
    }
    progress.done.store(true, SeqCst);
    for client in clients {
        client.join().expect("no request failed");
    }
    assert!(progress.long.load(SeqCst) >= 2, "transfers last longer than a configuration");
    let received = oss.recorder.requests();
    let signed_by = |id: &str| {
        received
            .iter()
            .any(|one| one.headers.get("authorization").is_some_and(|value| names(value.as_bytes(), id)))
    };
    assert!(signed_by(ID) && signed_by(STS_ID), "both keys have signed");
}

fn names(authorization: &[u8], id: &str) -> bool {
    String::from_utf8_lossy(authorization).contains(&format!("Credential={id}/"))
}

fn connected(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a limit");
    stream
}

#[test]
fn requests_and_transfers_on_a_port_are_all_answered() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    let (to, host) = (served.address, served.address.to_string());
    let mut client = Client::connect(to);
    for (key, size) in [("k", 2000), ("large", PIECES * PIECE)] {
        assert_eq!(client.ask("PUT", &format!("/photos/{key}"), &host, "", &vec![b'x'; size]).status, 200);
    }
    let progress = Arc::<Progress>::default();
    let open: Open = Arc::new(move || Box::new(connected(to)));
    let mut clients = load(&open, &progress);
    // Clients with persistent connections.
    clients.extend((0..2).map(|_| {
        let (progress, host) = (Arc::clone(&progress), host.clone());
        thread::spawn(move || {
            let mut client = Client::connect(to);
            while !progress.is_done() {
                let answer = client.ask("GET", "/photos/k", &host, "", b"");
                assert_eq!((answer.status, answer.body.len(), answer.whole), (200, 2000, true));
                progress.answered.fetch_add(1, SeqCst);
            }
        })
    }));
    soak((&oss, &served), |_| String::new(), &progress, clients);
}

/// Sends requests over one HTTP/2 connection until the soak is done.
fn over_one_connection(to: SocketAddr, config: Arc<ClientConfig>, progress: &Progress) {
    play(async {
        let stream = tokio::net::TcpStream::connect(to).await.expect("connected");
        let name = "localhost".try_into().expect("a name");
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await.expect("TLS");
        let connection = Connection::open(stream).await;
        while !progress.is_done() {
            let got = connection.ask(request("GET", "https://localhost/photos/k"), b"").await;
            assert_eq!((got.status.as_u16(), got.body.len(), got.reset), (200, 2000, None));
            progress.answered.fetch_add(1, SeqCst);
        }
    });
}

#[test]
fn requests_and_transfers_over_tls_and_http_2_are_all_answered_while_the_certificate_changes() {
    let (oss, authority) = (oss(), Authority::new());
    let files = authority.sign("listener", "localhost");
    let sections = format!("[[listen]]\n{}\n", Authority::listen(&files, ""));
    let served = Served::start_with(oss.address, &sections, &[], &KEY);
    let to = served.address;
    let (http1, http2) = (authority.client(&["http/1.1"], None), authority.client(&["h2"], None));
    let open: Open = Arc::new(move || {
        let name = "localhost".try_into().expect("a name");
        let connection = ClientConnection::new(Arc::clone(&http1), name).expect("a client");
        Box::new(StreamOwned::new(connection, connected(to)))
    });
    for (key, size) in [("k", 2000), ("large", PIECES * PIECE)] {
        exchange(&open, &format!("PUT /photos/{key}"), &vec![b'x'; size], || {});
    }
    let progress = Arc::<Progress>::default();
    let mut clients = load(&open, &progress);
    let counted = Arc::clone(&progress);
    clients.push(thread::spawn(move || over_one_connection(to, http2, &counted)));
    let renewed = |_| {
        authority.sign("listener", "localhost");
        sections.clone()
    };
    soak((&oss, &served), renewed, &progress, clients);
}
