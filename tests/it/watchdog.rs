//! The watchdog notifications to systemd: they are sent while all threads that serve respond,
//! during any other activity.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use oss_signing_proxy::app::DrainSignal;
use oss_signing_proxy::internals::server::Server;
use tokio::time::timeout;

use crate::support::cores::cores;
use crate::support::h2::play;
use crate::support::{Client, KEY, Script, Served, eventually};

const SOME: Duration = Duration::from_secs(10);

#[test]
fn a_core_that_is_stuck_gives_none_until_it_goes_on() {
    let (go_on, wait) = mpsc::channel::<()>();
    let (wait, stuck) = (Mutex::new(wait), Arc::<AtomicBool>::default());
    let gets_stuck = Arc::clone(&stuck);
    play(async {
        let plan = cores(2, move || {
            if gets_stuck.swap(false, SeqCst) {
                wait.lock().expect("one waits").recv().expect("it goes on");
            }
        });
        let plan = plan.await;
        let server = Server::start(Vec::new(), &plan, DrainSignal::new()).expect("threads");
        let pulse = server.watchdog();
        assert!(pulse.beat().await);
        stuck.store(true, SeqCst);
        server.renew(Vec::new(), &plan);
        assert!(timeout(Duration::from_millis(300), pulse.beat()).await.is_err(), "one of two is stuck");
        go_on.send(()).expect("it waits");
        assert!(pulse.beat().await);
        server.end().await;
        assert!(!pulse.beat().await, "they have ended");
    });
}

/// The notifications to systemd, read as they arrive: the socket queues only a limited number.
struct Told {
    messages: mpsc::Receiver<String>,
    directory: tempfile::TempDir,
}

impl Told {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        let (tell, messages) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok(count) = socket.recv(&mut bytes)
                && tell.send(String::from_utf8_lossy(&bytes[..count]).into_owned()).is_ok()
            {}
        });
        Self { messages, directory }
    }

    /// Returns the number of watchdog notifications before this message.
    fn signs_before(&self, end: &str) -> usize {
        let next = || self.messages.recv_timeout(SOME).expect("a message");
        signs(std::iter::from_fn(|| Some(next()).filter(|message| !message.contains(end))))
    }
}

fn signs(messages: impl Iterator<Item = String>) -> usize {
    messages.filter(|message| message.contains("WATCHDOG=1")).count()
}

#[test]
fn it_is_given_while_a_configuration_is_read_and_while_requests_in_flight_end() {
    let told = Told::new();
    let path = told.directory.path().join("notify");
    let environment =
        [KEY[0], KEY[1], ("NOTIFY_SOCKET", path.to_str().expect("a path")), ("WATCHDOG_USEC", "300000")];
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let drain = "[timeouts]\ndrain = \"1500ms\"\n";
    let served = Served::start_with(upstream.address, drain, &[], &environment);
    told.signs_before("READY=1");
    // A provider that does not respond delays this reload until it is rejected.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    served.rewrite(
        upstream.address,
        &format!("{drain}[credentials.default]\ntype = \"uri\"\nurl = \"{url}\"\n"),
    );
    served.signal("HUP");
    told.signs_before("RELOADING=1");
    let count = told.signs_before("READY=1");
    assert!(count >= 3, "{count} in 1.5 s");
    let mut client = Client::connect(served.address);
    client.send(format!("GET /photos/k HTTP/1.1\r\nHost: {}\r\n\r\n", served.address));
    eventually("the request arrives", || !upstream.heads().is_empty());
    served.signal("TERM");
    told.signs_before("STOPPING=1");
    let (code, log) = served.end();
    assert_eq!(code, Some(1), "{log}");
    let count = signs(told.messages.try_iter());
    assert!(count >= 3, "{count} in 1.5 s");
}
