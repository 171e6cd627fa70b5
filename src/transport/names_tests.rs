//! Tests of the race and of the lookups, with fixed lists of addresses.

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream as StdStream};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use http::Method;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::super::connect_error::DialPhase;
use super::super::http_client::{HttpClient, HttpClientError, HttpRequest, HttpTimeouts, Url};
use super::super::race::{DialFailure, TimeLimit};
use super::{AddressBook, AddressFailure, DialName, LOOKUPS_MAX, LookupResult, NAMES_MAX};

/// A listener whose accept queue is full: it does not respond to connection attempts.
struct SilentListener {
    address: SocketAddr,
    _kept: (socket2::Socket, Vec<StdStream>),
}

impl SilentListener {
    fn bind(address: &str) -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let address: SocketAddr = address.parse().expect("an address");
        socket.bind(&address.into()).expect("a free port");
        socket.listen(0).expect("a queue");
        let address = socket.local_addr().expect("bound").as_socket().expect("an address");
        let mut queued = Vec::new();
        while let Ok(stream) = StdStream::connect_timeout(&address, Duration::from_millis(100)) {
            queued.push(stream);
        }
        Self { address, _kept: (socket, queued) }
    }
}

fn listener(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// An address without a listener.
fn refusing(address: &str) -> SocketAddr {
    listener(address).1
}

fn fixed(addresses: &[SocketAddr]) -> AddressBook {
    let addresses = addresses.to_vec();
    AddressBook::new(Arc::new(move |_| {
        let found: LookupResult = Ok(addresses.clone());
        Box::pin(async move { found })
    }))
}

async fn connect_within(book: &AddressBook, limit: Duration) -> Result<SocketAddr, AddressFailure> {
    let finish = |stream: TcpStream, address| async move {
        drop(stream);
        Ok(address)
    };
    book.connect(&DialName::new("oss.example", 80), TimeLimit::starting_now(limit), Ok, finish).await
}

async fn connect(book: &AddressBook) -> Result<SocketAddr, AddressFailure> {
    connect_within(book, LONG).await
}

fn first(book: &AddressBook, addresses: &[SocketAddr]) -> SocketAddr {
    book.ordered(&DialName::new("oss.example", 80), addresses)[0]
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_silent_address_delays_the_first_connection_and_none_after_it() {
    let silent = SilentListener::bind("127.0.0.11:0").address;
    let (_kept, good) = listener("127.0.0.1:0");
    let book = fixed(&[silent, good]);
    let begun = Instant::now();
    assert_eq!(connect(&book).await.expect("a connection"), good);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(first(&book, &[silent, good]), good);
}

#[tokio::test]
async fn after_a_refusal_the_next_address_starts_at_once() {
    let mut addresses: Vec<SocketAddr> =
        (20..36).map(|last| refusing(&format!("127.0.0.{last}:0"))).collect();
    let (_kept, good) = listener("127.0.0.1:0");
    addresses.push(good);
    let begun = Instant::now();
    assert_eq!(connect(&fixed(&addresses)).await.expect("a connection"), good);
    assert!(begun.elapsed() < Duration::from_secs(2), "16 delays are 4 s: {:?}", begun.elapsed());
}

#[tokio::test]
async fn silent_addresses_only_are_a_timeout_that_names_them() {
    let silent = [SilentListener::bind("127.0.0.12:0"), SilentListener::bind("127.0.0.13:0")];
    let addresses = [silent[0].address, silent[1].address];
    let failure =
        connect_within(&fixed(&addresses), Duration::from_millis(600)).await.expect_err("a timeout");
    let DialFailure::Io(DialPhase::Connect, error) = &failure.why else { panic!("{failure:?}") };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    for address in addresses {
        assert!(failure.tried.contains(&format!("{address} (no response)")), "{}", failure.tried);
    }
}

#[tokio::test]
async fn a_refused_ipv6_address_does_not_prevent_ipv4() {
    let (_kept, good) = listener("127.0.0.1:0");
    let v6 = SocketAddr::new("::1".parse().expect("an address"), good.port());
    assert_eq!(connect(&fixed(&[v6, good])).await.expect("a connection"), good);
    let finish = |_, address| async move { Ok(address) };
    let book = AddressBook::default();
    let time = TimeLimit::starting_now(LONG);
    assert_eq!(
        book.connect(&DialName::new("localhost", good.port()), time, Ok, finish).await.expect("a connection"),
        good
    );
}

#[tokio::test]
async fn families_alternate_after_the_address_that_worked_and_before_those_that_failed() {
    let parsed = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let list = ["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"].map(parsed);
    let order = |good: Option<&str>, doubtful: &[&str]| {
        let doubtful: Vec<_> = doubtful.iter().map(|text| parsed(text)).collect();
        let order = super::ordered(&list, good.map(parsed), &doubtful);
        order.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order(None, &[]), "[::1]:1 1.0.0.1:1 [::2]:1 1.0.0.2:1 [::3]:1");
    assert_eq!(order(Some("1.0.0.2:1"), &["[::1]:1"]), "1.0.0.2:1 1.0.0.1:1 [::2]:1 [::3]:1 [::1]:1");
    assert_eq!(order(Some("9.9.9.9:1"), &[]), "[::1]:1 1.0.0.1:1 [::2]:1 1.0.0.2:1 [::3]:1");
}

#[tokio::test]
async fn an_address_that_accepts_and_then_fails_or_hangs_is_not_remembered_as_good() {
    let (_bad_kept, bad) = listener("127.0.0.14:0");
    let (_kept, good) = listener("127.0.0.1:0");
    for hangs in [false, true] {
        let book = fixed(&[bad, good]);
        let finish = |_stream, address| async move {
            if address == bad && hangs {
                std::future::pending::<()>().await;
            }
            if address == bad {
                return Err(DialFailure::Io(DialPhase::Tls, io::Error::other("no TLS")));
            }
            Ok(address)
        };
        let time = TimeLimit::starting_now(LONG);
        assert_eq!(
            book.connect(&DialName::new("oss.example", 80), time, Ok, finish).await.expect("a connection"),
            good
        );
        assert_eq!(first(&book, &[bad, good]), good);
        let order =
            book.ordered(&DialName::new("oss.example", 80), &[bad, SocketAddr::from(([9, 9, 9, 9], 1))]);
        assert_eq!(order.back(), Some(&bad), "it is the last of all, {hangs}");
    }
}

#[tokio::test]
async fn no_address_is_tried_if_one_of_them_is_a_loop() {
    let (witness, good) = listener("127.0.0.1:0");
    witness.set_nonblocking(true).expect("a mode");
    let here = SocketAddr::from(([127, 0, 0, 1], 1));
    let book = fixed(&[good, here]);
    let vet = |addresses: Vec<SocketAddr>| {
        if addresses.contains(&here) { Err(DialFailure::Loop(here)) } else { Ok(addresses) }
    };
    let finish = |_, address| async move { Ok(address) };
    let failure =
        book.connect(&DialName::new("oss.example", 80), TimeLimit::starting_now(LONG), vet, finish).await;
    assert!(matches!(failure.expect_err("a loop").why, DialFailure::Loop(found) if found == here));
    assert_eq!(witness.accept().map_err(|error| error.kind()).err(), Some(io::ErrorKind::WouldBlock));
}

/// A resolver whose lookups end when the test triggers them.
#[derive(Clone, Default)]
struct ManualResolver {
    begun: Arc<AtomicUsize>,
    go: Arc<Notify>,
    found: Arc<Mutex<Option<LookupResult>>>,
}

impl ManualResolver {
    fn book(&self) -> AddressBook {
        let this = self.clone();
        AddressBook::new(Arc::new(move |_| {
            let this = this.clone();
            this.begun.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                loop {
                    let go = this.go.notified();
                    if let Some(found) = this.found.lock().expect("no panic").clone() {
                        return found;
                    }
                    go.await;
                }
            })
        }))
    }

    fn set(&self, found: Option<LookupResult>) {
        *self.found.lock().expect("no panic") = found;
        self.go.notify_waiters();
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_name_has_one_lookup_at_a_time_which_outlives_a_request_that_leaves() {
    let (_kept, good) = listener("127.0.0.1:0");
    let resolver = ManualResolver::default();
    let book = resolver.book();
    {
        let mut leaving = pin!(connect(&book));
        assert!(tokio::time::timeout(Duration::from_millis(20), &mut leaving).await.is_err());
    }
    let answers = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(resolver.begun(), 1);
        resolver.set(Some(Ok(vec![good])));
    };
    let (one, two, ()) = tokio::join!(connect(&book), connect(&book), answers);
    assert_eq!((one.expect("a connection"), two.expect("a connection")), (good, good));
    assert_eq!(resolver.begun(), 1);
    assert_eq!(connect(&book).await.expect("a connection"), good);
    assert_eq!(resolver.begun(), 2, "a later dial looks again");
}

#[tokio::test]
async fn a_lookup_that_hangs_or_fails_leaves_the_known_addresses_in_use() {
    let (_kept, good) = listener("127.0.0.1:0");
    let resolver = ManualResolver::default();
    let book = resolver.book();
    resolver.set(Some(Ok(vec![good])));
    connect(&book).await.expect("a connection");
    resolver.set(None);
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(connect(&book).await.expect("a connection"), good);
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(resolver.begun(), 2, "the hanging lookup is not repeated");
    resolver.set(Some(Err(io::Error::other("no name service").into())));
    assert_eq!(connect(&book).await.expect("a connection"), good);
}

#[tokio::test]
async fn a_late_lookup_brings_its_addresses_into_the_race() {
    let (_kept, good) = listener("127.0.0.1:0");
    let (old_listener, old) = listener("127.0.0.15:0");
    let resolver = ManualResolver::default();
    let book = resolver.book();
    resolver.set(Some(Ok(vec![old])));
    assert_eq!(connect(&book).await.expect("a connection"), old);
    drop(old_listener);
    resolver.set(None);
    let answers = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        resolver.set(Some(Ok(vec![good])));
    };
    let (connected, ()) = tokio::join!(connect(&book), answers);
    assert_eq!(connected.expect("a connection"), good);
}

#[tokio::test]
async fn hanging_lookups_are_bounded_and_a_waiting_one_goes_on_when_they_end() {
    let resolver = ManualResolver::default();
    let book = resolver.book();
    let (_kept, good) = listener("127.0.0.1:0");
    let names: Vec<_> =
        (0..LOOKUPS_MAX + 8).map(|number| DialName::new(&format!("{number}.example"), 80)).collect();
    let mut waits: Vec<_> = names.iter().map(|name| Box::pin(book.look_up(name))).collect();
    for wait in &mut waits {
        assert!(tokio::time::timeout(Duration::from_millis(1), wait).await.is_err());
    }
    assert_eq!(resolver.begun(), LOOKUPS_MAX);
    resolver.set(Some(Ok(vec![good])));
    for wait in waits {
        assert_eq!(wait.await.expect("addresses"), [good]);
    }
}

#[tokio::test]
async fn names_that_are_remembered_are_bounded() {
    let book = fixed(&[]);
    for number in 0..2 * NAMES_MAX {
        book.look_up(&DialName::new(&format!("{number}.example"), 80)).await.expect("an empty list");
    }
    assert_eq!(book.memory.lock().len(), NAMES_MAX);
}

#[tokio::test]
async fn a_dial_that_is_dropped_at_any_point_harms_no_later_one() {
    let silent = SilentListener::bind("127.0.0.16:0").address;
    let (_kept, good) = listener("127.0.0.1:0");
    let finished = Cell::new(0);
    for polls in 0..12 {
        let book = fixed(&[silent, good]);
        let reached = RefCell::new(None);
        {
            let finish = |_stream, address| {
                finished.set(finished.get() + 1);
                async move { Ok(address) }
            };
            let name = DialName::new("oss.example", 80);
            let dial = book.connect(&name, TimeLimit::starting_now(LONG), Ok, finish);
            let mut dial = pin!(dial);
            for _ in 0..polls {
                if dial.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    reached.replace(Some(good));
                    break;
                }
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        }
        assert_eq!(connect(&book).await.expect("a connection"), good, "after {polls} polls");
        assert_eq!(book.lookups.available_permits(), LOOKUPS_MAX, "after {polls} polls");
    }
    assert!(finished.get() > 0, "the last of them came to an end");
}

#[tokio::test]
async fn only_clients_with_the_same_address_book_share_the_addresses_of_a_lookup() {
    let (server, here) = listener("127.0.0.1:0");
    std::thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let resolver = ManualResolver::default();
    let url = Url::parse(&format!("http://localhost:{}/", here.port())).expect("a URL");
    let fetch = async |book: &AddressBook, connect: Duration| {
        let ask = HttpRequest {
            method: Method::GET,
            url: url.clone(),
            headers: Vec::new(),
            body: Zeroizing::default(),
            key_pair: None,
        };
        let client = HttpClient::new(book.clone());
        client.fetch(ask, HttpTimeouts { connect, total: LONG }).await.map(|response| response.status)
    };
    let book = resolver.book();
    resolver.set(Some(Ok(vec![here])));
    assert_eq!(fetch(&book, LONG).await.expect("a response"), 204);
    resolver.set(None);
    assert_eq!(fetch(&book, LONG).await.expect("a response without a lookup"), 204);
    let apart = fetch(&resolver.book(), Duration::from_millis(500)).await;
    assert!(matches!(apart, Err(HttpClientError::ConnectLate(..))), "{apart:?}");
}
