//! A client of the admin listener of a running proxy.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::secret::Secret;
use crate::server::ListenAddress;

/// A request for a page of the admin listener.
pub(super) struct AdminRequest<'a> {
    /// The path of the page.
    pub(super) path: &'static str,
    /// The token, if the listener requires one.
    pub(super) token: Option<&'a Secret>,
    /// The limit on the time until the response is read.
    pub(super) limit: Duration,
    /// The limit on the length of the response, in bytes. A longer one counts as empty.
    pub(super) bytes_max: usize,
}

/// A page of the admin listener.
pub(super) struct FetchedPage {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// A request to the admin listener that got no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoResponse {
    #[error("connection failed: {0}")]
    Nobody(#[from] io::Error),
    #[error("invalid response: {0}")]
    Broken(#[from] hyper::Error),
    #[error("no response within {}s", .0.as_secs())]
    Late(Duration),
}

impl AdminRequest<'_> {
    /// Sends the request to the listener at this address. Must be called inside a `LocalSet`.
    ///
    /// # Errors
    /// [`NoResponse`].
    pub(super) async fn send(&self, to: &ListenAddress) -> Result<FetchedPage, NoResponse> {
        let response = async {
            match to {
                ListenAddress::Tcp(socket) => {
                    let socket = reachable(*socket);
                    self.exchange(TcpStream::connect(socket).await?, &socket.to_string()).await
                }
                ListenAddress::Unix(path) => {
                    self.exchange(UnixStream::connect(path).await?, "localhost").await
                }
                // The configuration accepts no inherited socket for the admin listener.
                ListenAddress::Inherited(_) => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
            }
        };
        timeout(self.limit, response).await.unwrap_or(Err(NoResponse::Late(self.limit)))
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        host: &str,
    ) -> Result<FetchedPage, NoResponse> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // An error of the connection shows in the response.
        spawn_local(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = Uri::from_static(self.path);
        if let Ok(host) = host.parse() {
            request.headers_mut().insert(HOST, host);
        }
        let token = self.token.map(|token| HeaderValue::from_str(&format!("Bearer {}", token.expose())));
        if let Some(Ok(mut token)) = token {
            token.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), self.bytes_max).collect().await;
        Ok(FetchedPage { status, body: body.map(http_body_util::Collected::to_bytes).unwrap_or_default() })
    }
}

/// Returns the address at which a client on the same machine reaches the listener.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listener.port())
}
