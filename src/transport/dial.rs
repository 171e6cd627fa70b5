//! Dials upstreams: name resolution, the loop check, TCP, TLS and hyper's handshake.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tracing::{info, warn};

use super::connect_error::{ConnectFailure, DialPhase};
use super::connection::UpstreamConnection;
use super::destination::{LoopbackPolicy, UpstreamDestination};
use super::dial_error::DialError;
use super::io_timeout::WriteTimeout;
use super::names::{AddressBook, DialName};
use super::race::{DialFailure, TimeLimit};
use super::settings::{HEADER_LINES_MAX, TransportSettings};
use super::trust_store_entry::TrustStoreEntry;
use super::upstream_io::{UpstreamStream, UpstreamStreamState};

/// The state of upstreams that all workers share: the proxy's own listeners, and the destinations
/// that cannot be reached. Each outage is logged once.
#[derive(Debug, Default)]
pub struct UpstreamReachability {
    listeners: Vec<SocketAddr>,
    down: Mutex<BTreeSet<DialName>>,
}

impl UpstreamReachability {
    /// Creates the state with the addresses that this process listens on.
    #[must_use]
    pub(crate) fn new(listeners: Vec<SocketAddr>) -> Self {
        Self { listeners, down: Mutex::default() }
    }

    /// Logs the first failed dial of a destination, and the first successful one after it.
    pub(super) fn record_dial(&self, to: &UpstreamDestination, error: Option<&DialError>) {
        let mut down = self.down.lock();
        match error {
            Some(error) if !down.contains(&to.dial) && down.len() < DOWN_MAX => {
                down.insert(to.dial.clone());
                warn!(
                    upstream = to.at(),
                    error = %error,
                    "upstream unreachable; check `endpoint` and `connect`, or run `oss-signing-proxy doctor`"
                );
            }
            None if down.remove(&to.dial) => info!(upstream = to.at(), "upstream reachable again"),
            Some(_) | None => {}
        }
    }

    /// Returns whether a connection from `local` to `peer` ends at one of the proxy's own
    /// listeners.
    fn is_ours(&self, local: io::Result<SocketAddr>, peer: SocketAddr) -> bool {
        let peer_ip = peer.ip().to_canonical();
        let this_machine = local.is_ok_and(|local| local.ip().to_canonical() == peer_ip);
        self.listeners.iter().any(|listener| {
            let ip = listener.ip().to_canonical();
            listener.port() == peer.port() && (ip == peer_ip || (ip.is_unspecified() && this_machine))
        })
    }
}

/// The dependencies of a dial.
#[derive(Clone, Copy)]
pub(super) struct DialContext<'a> {
    pub(super) trust_stores: &'a [TrustStoreEntry],
    pub(super) settings: &'a TransportSettings,
    pub(super) reachability: &'a UpstreamReachability,
    pub(super) names: &'a AddressBook,
}

/// Connects to the first address of the destination that accepts, with TLS if configured.
pub(super) async fn dial(
    to: &UpstreamDestination,
    means: DialContext<'_>,
) -> Result<UpstreamConnection, DialError> {
    let time = TimeLimit::starting_now(means.settings.connect);
    let dialled = means.names.connect(
        &to.dial,
        time,
        |addresses| vet(to.guard, addresses),
        |stream, address| complete(to, means, stream, address),
    );
    dialled.await.map_err(|failure| match failure.why {
        DialFailure::Io(phase, error) => DialError::Unreachable {
            at: to.at(),
            failure: ConnectFailure::classify(phase, &error),
            reason: format!("{error}{}", failure.tried),
        },
        DialFailure::Loop(address) => DialError::Loop { name: to.dial.host.clone(), address },
    })
}

/// Rejects an OSS endpoint name if any of its addresses is on this machine.
fn vet(guard: LoopbackPolicy, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, DialFailure> {
    let is_here = |address: &&SocketAddr| {
        let ip = address.ip().to_canonical();
        ip.is_loopback() || ip.is_unspecified()
    };
    match addresses.iter().find(is_here) {
        Some(here) if guard == LoopbackPolicy::OssName => Err(DialFailure::Loop(*here)),
        Some(_) | None => Ok(addresses),
    }
}

/// Turns an accepted stream into a connection, after the loop check.
async fn complete(
    to: &UpstreamDestination,
    means: DialContext<'_>,
    stream: TcpStream,
    address: SocketAddr,
) -> Result<UpstreamConnection, DialFailure> {
    if means.reachability.is_ours(stream.local_addr(), address) {
        return Err(DialFailure::Loop(address));
    }
    stream.set_nodelay(true).map_err(|error| DialFailure::Io(DialPhase::Connect, error))?;
    secure(to, means, stream, address).await.map_err(|error| DialFailure::Io(DialPhase::Tls, error))
}

/// Runs the handshakes over a stream: TLS if configured, then HTTP.
async fn secure<T>(
    to: &UpstreamDestination,
    means: DialContext<'_>,
    stream: T,
    address: SocketAddr,
) -> io::Result<UpstreamConnection>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    // Below TLS, so that bytes waiting in the TLS buffer are limited as well.
    // guard: write-limit-below-tls
    let stream = WriteTimeout::new(stream, means.settings.stall);
    let Some(tls) = &to.tls else {
        return handshake(stream, address).await;
    };
    let name = ServerName::try_from(tls.name.clone()).map_err(io::Error::other)?;
    let trust = means.trust_stores.iter().find(|entry| entry.id == tls.trust);
    let trust = trust.ok_or_else(|| io::Error::other("unknown trust store"))?;
    let stream = BufReader::with_capacity(TLS_READ_BYTES, stream);
    handshake(trust.store.connector.connect(name, stream).await?, address).await
}

async fn handshake<T>(stream: T, address: SocketAddr) -> io::Result<UpstreamConnection>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let state = Rc::new(UpstreamStreamState::default());
    let io = TokioIo::new(UpstreamStream::new(stream, Rc::clone(&state)));
    let (sender, driver) = http1::Builder::new()
        .max_headers(HEADER_LINES_MAX)
        .max_buf_size(BUFFER_MAX)
        .handshake(io)
        .await
        .map_err(io::Error::other)?;
    let driver = spawn_local(async move {
        // Errors from the driver are reported to the request that caused them.
        let _ = driver.await;
    });
    Ok(UpstreamConnection::new(sender, driver.abort_handle(), address, state))
}

/// The size of socket reads under TLS. A large size saves system calls.
const TLS_READ_BYTES: usize = 256 * 1024;
/// The maximum number of bytes read from a response in one call, and buffered by a connection for a
/// stalled reader. hyper's default is about the same. For large downloads, a larger buffer means
/// fewer system calls.
const BUFFER_MAX: usize = 400 * 1024;
/// The limit on destinations remembered as down. Names come from requests, so the number must be
/// bounded.
const DOWN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use hyper::Request;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::ServerConfig;
    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, duplex};
    use tokio::net::TcpListener;
    use tokio::task::{LocalSet, spawn_local};
    use tokio::time::timeout;
    use tokio_rustls::TlsAcceptor;

    use super::super::request_body::RequestBody;
    use super::super::tls::TrustStore;
    use super::super::{TrustStoreId, UpstreamTls};
    use super::{
        AddressBook, DialContext, DialError, DialName, LoopbackPolicy, TransportSettings, TrustStoreEntry,
        UpstreamDestination, UpstreamReachability, dial, secure,
    };

    /// The TLS acceptor of an upstream named `oss`, and a trust store for its certificate.
    fn upstream() -> (TlsAcceptor, TrustStore) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["oss".to_owned()]).expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, cert.pem()).expect("written");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a pair");
        (TlsAcceptor::from(Arc::new(config)), TrustStore::file(&file).expect("an authority"))
    }

    /// Returns whether a request fails when the upstream reads only its first bytes. The request
    /// fits into the TLS buffer as a whole, but not into the upstream's connection.
    async fn is_given_up(is_tls: bool) -> bool {
        let (acceptor, trust) = upstream();
        let tls = is_tls.then(|| UpstreamTls { name: "oss".to_owned(), trust: TrustStoreId(0) });
        let to =
            UpstreamDestination { dial: DialName::new("oss", 443), tls, guard: LoopbackPolicy::Configured };
        let settings = TransportSettings::patient(1, 1);
        let reachability = UpstreamReachability::default();
        let names = AddressBook::default();
        let trusts = [TrustStoreEntry { id: TrustStoreId(0), store: trust }];
        let means = DialContext {
            trust_stores: &trusts,
            settings: &settings,
            reachability: &reachability,
            names: &names,
        };
        let (near, mut far) = duplex(4 * 1024);
        spawn_local(async move {
            if is_tls {
                // Keeps the stream open without reading further.
                let mut stream = acceptor.accept(far).await.expect("TLS");
                stream.read_u8().await.expect("a request");
                std::future::pending::<()>().await;
            } else {
                far.read_u8().await.expect("a request");
                std::future::pending::<()>().await;
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 443));
        let mut connection = secure(&to, means, near, address).await.expect("a connection");
        let mut request = Request::new(RequestBody::none());
        request.headers_mut().insert("x-long", "x".repeat(30 * 1024).parse().expect("a value"));
        let answered = timeout(3 * settings.stall, connection.sender.try_send_request(request)).await;
        answered.is_ok_and(|answer| answer.is_err())
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_takes_nothing_is_given_up_though_the_buffer_of_tls_has_room() {
        LocalSet::new()
            .run_until(async {
                for is_tls in [false, true] {
                    assert!(is_given_up(is_tls).await, "with TLS: {is_tls}");
                }
            })
            .await;
    }

    /// Dials a listener on this machine by `name`, and returns the address of the detected loop.
    async fn looped(
        name: &str,
        guard: LoopbackPolicy,
        is_ours: impl Fn(SocketAddr) -> Vec<SocketAddr>,
    ) -> Option<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let to = UpstreamDestination { dial: DialName::new(name, address.port()), tls: None, guard };
        let reachability = UpstreamReachability::new(is_ours(address));
        let settings = TransportSettings::patient(1, 1);
        let names = AddressBook::default();
        let means = DialContext {
            trust_stores: &[],
            settings: &settings,
            reachability: &reachability,
            names: &names,
        };
        let dialled = LocalSet::new().run_until(dial(&to, means)).await;
        match dialled {
            Ok(_) => None,
            Err(DialError::Loop { address, .. }) => Some(address),
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn a_dial_that_ends_at_our_own_listener_is_a_loop() {
        assert!(looped("127.0.0.1", LoopbackPolicy::Configured, |own| vec![own]).await.is_some());
        let any = |own: SocketAddr| vec![SocketAddr::from(([0, 0, 0, 0], own.port()))];
        assert!(looped("127.0.0.1", LoopbackPolicy::Configured, any).await.is_some());
        let other = |own: SocketAddr| vec![SocketAddr::from(([127, 0, 0, 1], own.port() ^ 1))];
        assert_eq!(looped("127.0.0.1", LoopbackPolicy::Configured, other).await, None);
    }

    #[tokio::test]
    async fn a_name_of_oss_that_leads_to_this_machine_is_a_loop() {
        for name in ["127.0.0.1", "::ffff:127.0.0.1"] {
            assert!(looped(name, LoopbackPolicy::OssName, |_| Vec::new()).await.is_some(), "{name}");
        }
    }
}
