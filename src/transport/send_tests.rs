//! Tests of the permits that requests hold while they wait, and of their release on drop.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use http::{HeaderValue, Request, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use super::{
    DialError, DialName, LoopbackPolicy, PoolStatsSnapshot, PooledConnection, RequestBody, ResponseTimeout,
    SendError, TransportSettings, UpstreamDestination, UpstreamTransport,
};

const KEPT: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const CLOSED: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

type Sent = Result<PooledConnection, SendError>;

fn transport(connections: usize, dials: usize) -> UpstreamTransport {
    UpstreamTransport::new(TransportSettings::patient(connections, dials), Vec::new(), Arc::default())
}

fn destination(address: SocketAddr) -> Rc<UpstreamDestination> {
    let dial = DialName::new(&address.ip().to_string(), address.port());
    Rc::new(UpstreamDestination { dial, tls: None, guard: LoopbackPolicy::Configured })
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Responds to each request on this connection, after a delay.
async fn answer(mut stream: TcpStream, answer: &'static str, after: Duration) {
    let mut head = [0; 1024];
    while stream.read(&mut head).await.is_ok_and(|bytes| bytes > 0) {
        sleep(after).await;
        if stream.write_all(answer.as_bytes()).await.is_err() || answer == CLOSED {
            return;
        }
    }
}

/// An upstream that responds to each request in this way.
async fn upstream(text: &'static str, after: Duration) -> SocketAddr {
    let (listener, address) = listener().await;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(answer(stream, text, after));
        }
    });
    address
}

async fn send(transport: &UpstreamTransport, to: &Rc<UpstreamDestination>) -> Sent {
    let mut request = Request::new(RequestBody::none());
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("oss.example"));
    transport.send(to, request, ResponseTimeout::Usual).await.map(|exchange| exchange.connection)
}

/// Returns the gauges: connections in use, and requests in the queue.
fn gauges(transport: &UpstreamTransport) -> (u64, u64) {
    let PoolStatsSnapshot { in_use, waiting, .. } = transport.stats().read();
    (in_use, waiting)
}

/// Polls a request at most `polls` times. Returns whether it has ended.
async fn advance(sent: &mut Pin<Box<impl Future<Output = Sent>>>, polls: usize) -> bool {
    for _ in 0..polls {
        if sent.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return true;
        }
        sleep(Duration::from_millis(1)).await;
    }
    false
}

#[tokio::test]
async fn a_request_that_is_dropped_at_any_point_returns_all_it_held() {
    let test = async {
        for text in [KEPT, CLOSED] {
            let to = destination(upstream(text, Duration::from_millis(3)).await);
            let mut ended = 0;
            for (first, second) in (0..10).flat_map(|first| (0..10).map(move |second| (first, second))) {
                let transport = transport(1, 1);
                let mut one = Box::pin(send(&transport, &to));
                let mut two = Box::pin(send(&transport, &to));
                let over = [advance(&mut one, first).await, advance(&mut two, second).await];
                ended += over.iter().filter(|over| **over).count();
                drop(one);
                // Its grant may be on its way to the other request.
                if !over[1] && second % 2 == 1 {
                    advance(&mut two, 1).await;
                }
                drop(two);
                let lease = send(&transport, &to).await.expect("an answer");
                assert_eq!(gauges(&transport), (1, 0), "after {first} and {second} polls");
                drop(lease);
                assert_eq!(gauges(&transport), (0, 0), "after {first} and {second} polls");
            }
            assert!(ended > 0, "some came to an end");
        }
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn an_idle_connection_is_used_while_new_ones_cannot_be_made() {
    let test = async {
        let (listener, address) = listener().await;
        let to = destination(address);
        spawn_local(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            drop(listener);
            answer(stream, KEPT, Duration::ZERO).await;
        });
        let transport = transport(8, 8);
        let lease = send(&transport, &to).await.expect("an answer");
        for _ in 0..3 {
            let error = send(&transport, &to).await.err().expect("nothing listens any more");
            assert!(matches!(error, SendError::Dial(DialError::Unreachable { .. })), "{error}");
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        }
        lease.finish();
        let lease = send(&transport, &to).await.expect("an answer on the idle connection");
        assert_eq!(transport.stats().read().failed, 1, "one dial failed, two requests were rejected");
        drop(lease);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_released_connection_goes_to_the_request_that_has_waited_longest() {
    let test = async {
        let to = destination(upstream(KEPT, Duration::ZERO).await);
        let transport = transport(1, 1);
        let lease = send(&transport, &to).await.expect("an answer");
        let mut one = Box::pin(send(&transport, &to));
        let mut two = Box::pin(send(&transport, &to));
        assert!(!advance(&mut one, 1).await);
        assert!(!advance(&mut two, 1).await);
        assert_eq!(gauges(&transport), (1, 2));
        lease.finish();
        assert!(!advance(&mut two, 20).await, "the other one came first");
        let lease = one.await.expect("an answer");
        lease.finish();
        let lease = two.await.expect("an answer");
        lease.finish();
        assert_eq!(gauges(&transport), (0, 0));
        assert_eq!(transport.stats().read().dialled, 1);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_reload_with_a_higher_limit_serves_the_queue_and_one_with_a_lower_keeps_what_is_in_use() {
    let test = async {
        let to = destination(upstream(KEPT, Duration::ZERO).await);
        let before = transport(1, 1);
        let first = send(&before, &to).await.expect("an answer");
        let mut queued = Box::pin(send(&before, &to));
        assert!(!advance(&mut queued, 1).await);
        let after = before.renewed(TransportSettings::patient(2, 2), Vec::new(), Arc::default());
        let second = queued.await.expect("an answer");
        let lower = after.renewed(TransportSettings::patient(1, 1), Vec::new(), Arc::default());
        let mut queued = Box::pin(send(&lower, &to));
        first.finish();
        assert!(!advance(&mut queued, 20).await, "one is still in use");
        second.finish();
        let third = queued.await.expect("an answer");
        third.finish();
        assert_eq!(gauges(&lower), (0, 0));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_request_in_the_queue_holds_nothing_that_another_destination_needs() {
    let test = async {
        let good = destination(upstream(KEPT, Duration::ZERO).await);
        // Connections are accepted by the kernel but get no response.
        let (_kept, mute) = listener().await;
        let mute = destination(mute);
        let transport = transport(2, 2);
        let mut stuck: Vec<_> = (0..20).map(|_| Box::pin(send(&transport, &mute))).collect();
        for sent in &mut stuck {
            assert!(!advance(sent, 3).await);
        }
        assert_eq!(gauges(&transport), (2, 18));
        let lease = send(&transport, &good).await.expect("an answer");
        lease.finish();
        drop(stuck);
        assert_eq!(gauges(&transport), (0, 0));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_request_that_has_waited_too_long_is_rejected_with_the_name_of_its_destination() {
    let test = async {
        let address = upstream(KEPT, Duration::ZERO).await;
        let to = destination(address);
        let limits =
            TransportSettings { queue: Duration::from_millis(50), ..TransportSettings::patient(1, 1) };
        let transport = UpstreamTransport::new(limits, Vec::new(), Arc::default());
        let lease = send(&transport, &to).await.expect("an answer");
        let error = send(&transport, &to).await.err().expect("the only connection is in use");
        assert!(matches!(error, SendError::Busy { .. }), "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        assert_eq!(gauges(&transport), (1, 0));
        drop(lease);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn an_address_that_stops_answering_loses_its_idle_connections() {
    let test = async {
        let (listener, address) = listener().await;
        let to = destination(address);
        spawn_local(async move {
            let (one, _) = listener.accept().await.expect("a connection");
            let first = spawn_local(answer(one, KEPT, Duration::ZERO));
            let (two, _) = listener.accept().await.expect("a connection");
            spawn_local(answer(two, KEPT, Duration::from_secs(3600)));
            let _ = first.await;
        });
        let limits =
            TransportSettings { first_byte: Duration::from_millis(200), ..TransportSettings::patient(8, 8) };
        let transport = UpstreamTransport::new(limits, Vec::new(), Arc::default());
        let lease = send(&transport, &to).await.expect("an answer");
        let mut second = Box::pin(send(&transport, &to));
        assert!(!advance(&mut second, 3).await);
        lease.finish();
        assert_eq!(transport.stats().read().idle, 1);
        assert!(matches!(second.await, Err(SendError::Stalled(_))));
        assert_eq!(transport.stats().read().idle, 0);
    };
    LocalSet::new().run_until(test).await;
}
