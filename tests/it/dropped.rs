//! Futures of the assembly and of the server that are dropped in the middle, at each of their await points: the next use works.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use oss_signing_proxy::cli::{App, Reloads, System};
use oss_signing_proxy::config::{Config, Machine};
use oss_signing_proxy::server::{Drain, Drained};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::support::h2::play;
use crate::support::{ID, SECRET, ask, oss};

/// Polls `future` until it has been pending `times`, or waits for what does not come, and drops it. Returns whether it was dropped
/// before its end.
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

fn config(listen: SocketAddr, upstream: SocketAddr) -> Config {
    let text = format!(
        "[[listen]]\naddress = \"{listen}\"\n[admin]\naddress = \"off\"\n[upstream]\nregion = \"cn-hangzhou\"\n\
         endpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{upstream}\"\n[credentials.default]\n\
         type = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n"
    );
    Config::load(Some((Path::new("test"), &text)), &[], &Machine(&System)).expect("no mistake")
}

/// Assembles a proxy on this port, as soon as it is free.
async fn assembled(listen: SocketAddr, upstream: SocketAddr) -> App {
    for _ in 0..1_000 {
        if let Ok(app) = App::assemble(config(listen, upstream), Arc::new(System)).await {
            return app;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("the port is never free again");
}

/// Asserts that a proxy on this port serves, and ends it.
async fn serves(app: App, listen: SocketAddr) {
    let drain = Drain::new();
    let serving = spawn_local(app.run(drain.clone()));
    let asked = tokio::task::spawn_blocking(move || ask(listen, "GET", "/photos?list-type=2", b"").status);
    assert_eq!(timeout(Duration::from_secs(10), asked).await.expect("in time").expect("no panic"), 200);
    drain.leave();
    let ended = timeout(Duration::from_secs(10), serving).await.expect("in time").expect("no panic");
    assert_eq!(ended.expect("it served"), Drained::Whole);
}

#[test]
fn an_assembly_that_is_dropped_anywhere_frees_what_it_had() {
    let (oss, listen) = (oss(), free());
    play(async {
        for times in 0.. {
            let was_dropped =
                dropped_after(times, App::assemble(config(listen, oss.address), Arc::new(System))).await;
            serves(assembled(listen, oss.address).await, listen).await;
            if !was_dropped {
                assert!(times >= 1, "{times}");
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
            assert!(dropped_after(times, app.run(Drain::new())).await);
        }
        // While it ends, too.
        for times in 0..10 {
            let (app, drain) = (assembled(listen, oss.address).await, Drain::new());
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
        let (reloads, drain): (Reloads, _) = (app.reloads(), Drain::new());
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
