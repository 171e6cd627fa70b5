//! Futures of the assembly and of the server that are dropped at each of their await points: the
//! next use works.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::time::Duration;

use oss_signing_proxy::app::{App, ReloadHandle, SystemEnv};
use oss_signing_proxy::app::{DrainOutcome, DrainSignal, ListenAddress};
use oss_signing_proxy::config::{ConfigFile, ProxyConfig};
use oss_signing_proxy::internals::server::{
    ActivatedSockets, BoundListener, ListenSettings, ListenerPlan, Server, SharedListener,
};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::support::cores::cores;
use crate::support::h2::play;
use crate::support::{ID, SECRET, ask, oss};

/// Polls `future` until it has been pending more than `times` times, or for 3 s, and drops it.
/// Returns whether it was dropped before its completion.
async fn dropped_after(times: usize, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut pending = 0;
    let polled = poll_fn(|cx| {
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        pending += 1;
        if pending > times { Poll::Ready(true) } else { Poll::Pending }
    });
    timeout(Duration::from_secs(3), polled).await.unwrap_or(true)
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address")
}

fn config(listen: SocketAddr, upstream: SocketAddr) -> ProxyConfig {
    let text = format!(
        "[[listen]]\naddress = \"{listen}\"\n[admin]\naddress = \"off\"\n[upstream]\nregion = \"cn-hangzhou\"\n\
         endpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{upstream}\"\n[credentials.default]\n\
         type = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n"
    );
    ProxyConfig::load(Some(ConfigFile { path: Path::new("test"), text: &text }), &[], &SystemEnv)
        .expect("no mistake")
}

/// Assembles a proxy on this port, as soon as it is free.
async fn assembled(listen: SocketAddr, upstream: SocketAddr) -> App {
    for _ in 0..1_000 {
        if let Ok(app) = App::assemble(config(listen, upstream), Arc::new(SystemEnv)).await {
            return app;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the port is never free again");
}

/// Asserts that a proxy on this port serves, and shuts it down.
async fn serves(app: App, listen: SocketAddr) {
    let drain = DrainSignal::new();
    let serving = spawn_local(app.run(drain.clone()));
    let asked = tokio::task::spawn_blocking(move || ask(listen, "GET", "/photos?list-type=2", b"").status);
    assert_eq!(timeout(Duration::from_secs(10), asked).await.expect("in time").expect("no panic"), 200);
    drain.leave();
    let ended = timeout(Duration::from_secs(10), serving).await.expect("in time").expect("no panic");
    assert_eq!(ended.expect("it served"), DrainOutcome::Whole);
}

#[test]
fn an_assembly_that_is_dropped_anywhere_frees_what_it_had() {
    let (oss, listen) = (oss(), free());
    play(async {
        for times in 0.. {
            let was_dropped =
                dropped_after(times, App::assemble(config(listen, oss.address), Arc::new(SystemEnv))).await;
            serves(assembled(listen, oss.address).await, listen).await;
            if !was_dropped {
                assert!(times > 0, "it never waits");
                return;
            }
        }
    });
}

#[test]
fn a_proxy_that_is_dropped_while_it_serves_frees_what_it_had() {
    let (oss, listen) = (oss(), free());
    play(async {
        for times in 0..6 {
            let app = assembled(listen, oss.address).await;
            assert!(dropped_after(times, app.run(DrainSignal::new())).await);
        }
        // Also during the drain.
        for times in 0..10 {
            let (app, drain) = (assembled(listen, oss.address).await, DrainSignal::new());
            drain.leave();
            if !dropped_after(times, app.run(drain)).await {
                break;
            }
        }
        serves(assembled(listen, oss.address).await, listen).await;
    });
}

#[test]
fn whoever_asks_for_a_reload_can_leave_at_any_time() {
    let (oss, listen) = (oss(), free());
    play(async {
        let again = move || Ok(config(listen, oss.address));
        let app = assembled(listen, oss.address).await.reloading(Arc::new(again));
        let (reloads, drain): (ReloadHandle, _) = (app.reloads(), DrainSignal::new());
        let serving = spawn_local(app.run(drain.clone()));
        for times in 0..5 {
            dropped_after(times, reloads.reload()).await;
            let reloaded = timeout(Duration::from_secs(10), reloads.reload()).await.expect("in time");
            assert_eq!(reloaded.expect("it is the same"), Vec::<String>::new());
        }
        drain.leave();
        serving.await.expect("no panic").expect("it served");
    });
}

#[test]
fn a_reload_releases_the_state_of_the_first_configuration() {
    let (oss, listen) = (oss(), free());
    play(async {
        let again = move || Ok(config(listen, oss.address));
        let app = assembled(listen, oss.address).await.reloading(Arc::new(again));
        let (reloads, drain, first) = (app.reloads(), DrainSignal::new(), Arc::downgrade(&app.state()));
        let serving = spawn_local(app.run(drain.clone()));
        reloads.reload().await.expect("it is the same");
        // The workers release it when they apply the next one.
        let released = async {
            while first.upgrade().is_some() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), released).await.expect("nothing holds it");
        drain.leave();
        serving.await.expect("no panic").expect("it served");
    });
}

/// Starts a server on this port with one listener and two workers.
async fn server(listen: SocketAddr, drain: DrainSignal) -> Server {
    let listen = ListenSettings::plain(ListenAddress::Tcp(listen));
    let bound =
        BoundListener::bind(&listen, &mut ActivatedSockets::nothing(), &[]).expect("the port is free");
    let listener = ListenerPlan { listen, tls: None, bound };
    Server::start(vec![listener], &cores(2, || {}).await, drain).expect("threads")
}

#[test]
fn whoever_waits_for_a_sign_of_life_can_leave_at_any_time() {
    play(async {
        let server = server(free(), DrainSignal::new()).await;
        let (pulse, mut dropped) = (server.watchdog(), 0);
        // The number of polls depends on how soon the threads respond, so each number is tried
        // several times.
        for times in (0..5).cycle().take(50) {
            dropped += usize::from(dropped_after(times, pulse.beat()).await);
            assert!(pulse.beat().await, "after {times} polls");
        }
        assert!(dropped > 0, "no thread answers before it is asked");
    });
}

#[test]
fn the_end_of_a_server_can_be_given_up_anywhere_and_waited_for_again() {
    let listen = free();
    play(async {
        let mut dropped = 0;
        for times in (0..5).cycle().take(20) {
            let server = server(listen, DrainSignal::new()).await;
            dropped += usize::from(dropped_after(times, server.end()).await);
            let ended = timeout(Duration::from_secs(5), server.end()).await.expect("in time");
            assert_eq!(ended, DrainOutcome::Whole, "after {times} polls");
            assert!(!server.watchdog().beat().await, "after {times} polls");
            assert!(TcpStream::connect(listen).is_err(), "after {times} polls");
        }
        assert!(dropped > 0, "no thread ends before it is asked to");
    });
}

#[test]
fn an_end_that_is_waited_for_again_is_one_of_all_cores() {
    play(async {
        let (is_held, left) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (holds, leaves) = (Arc::clone(&is_held), Arc::clone(&left));
        let plan = cores(1, move || {
            if holds.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(200));
                leaves.store(true, SeqCst);
            }
        });
        let plan = plan.await;
        let server = Server::start(Vec::new(), &plan, DrainSignal::new()).expect("threads");
        assert!(server.watchdog().beat().await);
        is_held.store(true, SeqCst);
        server.renew(Vec::new(), &plan);
        assert!(timeout(Duration::from_millis(50), server.end()).await.is_err(), "the core is busy");
        server.end().await;
        assert!(left.load(SeqCst), "it is waited for");
    });
}

#[test]
fn whoever_waits_for_a_phase_of_the_drain_can_leave() {
    play(async {
        let drain = DrainSignal::new();
        let all = async || tokio::join!(drain.leaving(), drain.wait_for_start(), drain.forced());
        assert!(dropped_after(0, all()).await);
        drain.leave();
        drain.leaving().await;
        assert!(dropped_after(0, all()).await, "it is not forced yet");
        drain.force();
        timeout(Duration::from_secs(5), all()).await.expect("in time");
    });
}

/// Accepts with one permit, until a client has it. The counter is the number of permits in use.
async fn accept_one(held: &SharedListener, listen: &ListenSettings, taken: &Arc<AtomicUsize>) {
    let bound = BoundListener::bind(listen, &mut ActivatedSockets::nothing(), std::slice::from_ref(held))
        .expect("a handle");
    let (socket, _) = bound.into_iter().next().expect("one socket").into_parts();
    let place = || {
        let was_free = taken.compare_exchange(0, 1, SeqCst, SeqCst).is_ok();
        was_free.then(|| Taken(Arc::clone(taken)))
    };
    let (accepted, is_accepted) = tokio::sync::oneshot::channel();
    let mut accepted = Some(accepted);
    let serve = |connection, place: Taken| {
        let accepted = accepted.take().expect("only one has the place");
        assert!(accepted.send((connection, place)).is_ok(), "it is waited for");
    };
    let freed = async || std::future::pending::<()>().await;
    tokio::select! {
        biased;
        connection = is_accepted => drop(connection),
        Err(error) = socket.accept(place, freed, serve) => panic!("{error}"),
    }
}

/// A permit, released on drop.
struct Taken(Arc<AtomicUsize>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.store(0, SeqCst);
    }
}

#[test]
fn accepting_that_is_dropped_leaves_its_place_free_and_its_client_to_the_next() {
    play(async {
        for times in 0..2 {
            let listen = ListenSettings::plain(ListenAddress::Tcp(free()));
            let bound = BoundListener::bind(&listen, &mut ActivatedSockets::nothing(), &[])
                .expect("the port is free");
            let (_socket, held) = bound.into_iter().next().expect("one socket").into_parts();
            let taken = Arc::default();
            assert!(dropped_after(times, accept_one(&held, &listen, &taken)).await, "nobody comes");
            assert_eq!(taken.load(SeqCst), 0, "after {times} polls");
            let address = listen.address.socket().expect("a port");
            let _client = TcpStream::connect(address).expect("it waits in the queue");
            timeout(Duration::from_secs(5), accept_one(&held, &listen, &taken))
                .await
                .expect("it is accepted");
        }
    });
}
