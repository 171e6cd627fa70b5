//! Tests of the times at which the keys of an issuer are fetched, in virtual time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use super::super::{FetchedKeySets, KeySetConfig};
use super::IssuerKeys;
use crate::caller::JwtKeySource as _;
use crate::transport::Url;

const ISSUER: &str = "https://issuer";
/// RFC 8037, A.2.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A server of keys.
struct KeyServer {
    port: u16,
    fetches: Arc<AtomicUsize>,
}

impl KeyServer {
    /// Starts a server whose response depends on the number of the request.
    async fn start(respond: impl Fn(usize) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let fetches = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&fetches);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(respond(counted.fetch_add(1, Ordering::Relaxed)).as_bytes()).await;
            }
        });
        Self { port, fetches }
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }

    fn config(&self) -> KeySetConfig {
        let url = Url::parse(&format!("http://127.0.0.1:{}/keys", self.port)).expect("a URL");
        KeySetConfig { issuer: ISSUER.to_owned(), url, ca_file: None, token_file: None }
    }

    /// Starts to fetch the keys, and waits for the first fetch.
    async fn keys(&self) -> FetchedKeySets {
        let sets = FetchedKeySets::new(vec![self.config()], None);
        run(&sets);
        sets.refreshed(ISSUER).await;
        sets
    }
}

fn run(sets: &FetchedKeySets) {
    for keys in sets.all() {
        let keys: Arc<IssuerKeys> = Arc::clone(keys);
        tokio::spawn(async move { keys.run().await });
    }
}

fn good(_: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{KEYS}", KEYS.len())
}

fn first_good(number: usize) -> String {
    if number == 0 { good(0) } else { "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_on_demand_once_a_minute_and_regularly_otherwise() {
    let server = KeyServer::start(good).await;
    let sets = server.keys().await;
    assert_eq!((server.fetches(), sets.keys(ISSUER).expect("keys").key_count()), (1, 1));
    // The first demand is served, even right after a regular fetch.
    for _ in 0..1_000 {
        sets.refreshed(ISSUER).await;
    }
    assert_eq!(server.fetches(), 2);
    sleep(Duration::from_secs(59)).await;
    sets.refreshed(ISSUER).await;
    assert_eq!(server.fetches(), 2);
    sleep(Duration::from_secs(2)).await;
    for _ in 0..1_000 {
        sets.refreshed(ISSUER).await;
    }
    assert_eq!(server.fetches(), 3);
    sleep(Duration::from_secs(60 * 60)).await;
    let regular = server.fetches() - 3;
    assert!((5..=7).contains(&regular), "{regular} in an hour");
    sets.refreshed("https://other").await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_kept_while_the_issuer_fails_and_the_fetches_become_rare() {
    let server = KeyServer::start(first_good).await;
    let sets = server.keys().await;
    sleep(Duration::from_secs(2 * 60 * 60)).await;
    assert_eq!(sets.keys(ISSUER).expect("keys").key_count(), 1);
    let [status] = &sets.statuses()[..] else { panic!("one issuer") };
    assert_eq!((status.keys, status.successes), (1, 1));
    assert!((100..125).contains(&status.failures), "{status:?}");
    assert!(status.age.is_some_and(|age| age >= Duration::from_secs(2 * 60 * 60)), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_an_issuer_that_does_not_respond_for_seconds_and_few_of_them() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = KeyServer { port: listener.local_addr().expect("bound").port(), fetches: Arc::default() };
    let sets = FetchedKeySets::new(vec![server.config()], None);
    run(&sets);
    let begun = Instant::now();
    let durations = futures_util::future::join_all((0..200).map(|_| async {
        sets.refreshed(ISSUER).await;
        begun.elapsed()
    }));
    let durations = durations.await;
    let waited = durations.iter().filter(|waited| **waited > Duration::from_millis(500)).count();
    assert_eq!(waited, 64);
    assert!(durations.iter().all(|waited| *waited < Duration::from_millis(3_500)));
    assert!(sets.keys(ISSUER).is_none());
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_an_issuer_with_the_same_settings() {
    let server = KeyServer::start(good).await;
    let sets = server.keys().await;
    let same = FetchedKeySets::new(vec![server.config()], Some(&sets));
    assert!(same.keys(ISSUER).is_some());
    let other = KeySetConfig { token_file: Some("token".into()), ..server.config() };
    assert!(FetchedKeySets::new(vec![other], Some(&sets)).keys(ISSUER).is_none());
    assert_eq!(server.fetches(), 1);
}
