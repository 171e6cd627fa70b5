//! A client for single requests to services other than OSS: STS, the metadata service, a
//! credentials URI. It does not pool connections, follow redirects or use an HTTP proxy. Response
//! bodies are wiped from memory on drop.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::connect_error::DialPhase;
use super::flight::SharedTask;
use super::names::{AddressBook, AddressFailure, DialName};
use super::race::{DialFailure, TimeLimit};
use super::tls::{ClientKeyPair, TrustStore};

/// The URL of a service: `https://HOST[:PORT][/PATH][?QUERY]`. `http://` is valid only for this
/// machine, the metadata service and explicitly allowed addresses.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Url {
    tls: bool,
    host: String,
    port: u16,
    target: String,
}

/// The reason why a URL is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum InvalidUrl {
    /// The URL is malformed.
    #[error("is not a valid URL; expected https://HOST or https://HOST:PORT, with or without a path")]
    Form,
    /// The URL contains a user name or a password.
    #[error("contains an @; user names and passwords are not supported")]
    UserInfo,
    /// The URL is unencrypted, and its host is not allowed without TLS.
    #[error(
        "would send credentials unencrypted; use https://, or http:// to a loopback address or to 100.100.100.200"
    )]
    Plain,
}

/// A request.
#[derive(Clone)]
pub(crate) struct HttpRequest {
    /// The method.
    pub(crate) method: Method,
    /// The URL.
    pub(crate) url: Url,
    /// The headers, except Host and Content-Length.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// The certificate that the client presents to a server that requests one.
    pub(crate) key_pair: Option<ClientKeyPair>,
}

/// A response.
pub(crate) struct HttpResponse {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The complete body.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// The timeouts of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpTimeouts {
    /// The timeout for connecting, including the TLS handshake.
    pub(crate) connect: Duration,
    /// The timeout for the whole request.
    pub(crate) total: Duration,
}

/// The reason why there is no response. No message contains anything that was sent or received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpClientError {
    /// The connection failed.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    /// The connect timeout expired. The last field lists the addresses that were tried.
    #[error("no connection to {0} within {1:?}{2}")]
    ConnectLate(String, Duration, String),
    /// The total timeout expired.
    #[error("no response from {0} within {1:?}")]
    Late(String, Duration),
    /// The response is incomplete or not valid HTTP.
    #[error("invalid response from {0}: {1}")]
    Broken(String, hyper::Error),
    /// The response is larger than the limit.
    #[error("the response from {0} is larger than {limit} KiB", limit = .1 / 1024)]
    TooLarge(String, usize),
    /// The request cannot be built.
    #[error("cannot send the request to {0}: {1}")]
    Unsendable(String, http::Error),
}

impl Url {
    /// Parses a URL.
    ///
    /// # Errors
    /// [`InvalidUrl`], the reason why `text` is rejected.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidUrl> {
        Self::parse_among(text, &[])
    }

    /// Parses a URL, and accepts `http://` for exactly the addresses in `allowed` too. A name is
    /// rejected even if it resolves to one of them.
    ///
    /// # Errors
    /// [`InvalidUrl`], the reason why `text` is rejected.
    pub(crate) fn parse_among(text: &str, allowed: &[IpAddr]) -> Result<Self, InvalidUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidUrl::Form)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(InvalidUrl::Form),
        };
        let authority = uri.authority().ok_or(InvalidUrl::Form)?;
        if authority.as_str().contains('@') {
            return Err(InvalidUrl::UserInfo);
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, digits)) if !digits.contains(']') => digits.parse().map_err(|_| InvalidUrl::Form)?,
            Some(_) | None if tls => 443,
            Some(_) | None => 80,
        };
        if host.is_empty() || port == 0 || text.contains('#') {
            return Err(InvalidUrl::Form);
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let url = Self { tls, host: host.to_ascii_lowercase(), port, target };
        let is_allowed = || url.host.parse().is_ok_and(|ip: IpAddr| allowed.contains(&ip));
        // guard: plain-http
        let is_kept = url.tls || url.is_of_this_machine() || url.host == METADATA || is_allowed();
        if is_kept { Ok(url) } else { Err(InvalidUrl::Plain) }
    }

    /// Returns whether the host is `localhost` or a loopback address.
    #[must_use]
    pub(crate) fn is_of_this_machine(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Returns whether the connection uses TLS.
    #[must_use]
    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls
    }

    /// Returns this URL with another path and query.
    #[must_use]
    pub(crate) fn at(&self, target: &str) -> Self {
        Self { target: target.to_owned(), ..self.clone() }
    }

    /// Returns the value of the Host header.
    #[must_use]
    pub(crate) fn host(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Url {
    /// Omits path and query, which can contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.host())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The client. Unless it has a trust store of its own, it trusts the host's, which is loaded on
/// first use.
pub(crate) struct HttpClient {
    names: AddressBook,
    /// The maximum size of a response body.
    body_max: usize,
    trust: Mutex<Option<SharedTask<Result<TrustStore, String>>>>,
}

impl HttpClient {
    /// Creates a client that resolves names with `names`. Clients that share an address book start
    /// with the address that worked for one of them.
    #[must_use]
    pub(crate) fn new(names: AddressBook) -> Self {
        Self { names, body_max: LONGEST, trust: Mutex::default() }
    }

    /// Creates a client that trusts `trust` instead of the host's trust store.
    #[must_use]
    pub(crate) fn trusting(names: AddressBook, trust: TrustStore) -> Self {
        let trust = Mutex::new(Some(SharedTask::finished(Ok(trust))));
        Self { trust, ..Self::new(names) }
    }

    /// Returns the client with another maximum size of a response body.
    #[must_use]
    pub(crate) fn with_body_max(self, body_max: usize) -> Self {
        Self { body_max, ..self }
    }

    /// Sends one request and returns its response.
    ///
    /// # Errors
    /// [`HttpClientError`] if there is no complete response. A response with any status is a
    /// success.
    pub(crate) async fn fetch(
        &self,
        ask: HttpRequest,
        within: HttpTimeouts,
    ) -> Result<HttpResponse, HttpClientError> {
        let at = ask.url.to_string();
        let late = HttpClientError::Late(at.clone(), within.total);
        tokio::time::timeout(within.total, self.attempt(ask, at, within.connect)).await.unwrap_or(Err(late))
    }

    async fn attempt(
        &self,
        ask: HttpRequest,
        at: String,
        connect: Duration,
    ) -> Result<HttpResponse, HttpClientError> {
        let HttpRequest { method, url, headers, body, key_pair } = ask;
        let mut request = Request::builder().method(method).uri(&url.target);
        if let Some(lines) = request.headers_mut() {
            lines.extend(headers);
        }
        let request = request
            .header(HOST, url.host())
            .header(CONTENT_LENGTH, body.len())
            .body(Full::new(Bytes::from_owner(body)))
            .map_err(|error| HttpClientError::Unsendable(at.clone(), error))?;
        match self.connect(&url, key_pair.as_ref(), connect).await {
            Err(failure) => Err(failed(at, connect, failure)),
            Ok(HttpStream::Plain(stream)) => exchange(stream, request, at, self.body_max).await,
            Ok(HttpStream::Tls(stream)) => exchange(*stream, request, at, self.body_max).await,
        }
    }

    async fn connect(
        &self,
        url: &Url,
        key_pair: Option<&ClientKeyPair>,
        limit: Duration,
    ) -> Result<HttpStream, AddressFailure> {
        let time = TimeLimit::starting_now(limit);
        let mut trust = if url.tls { Some(self.trust(time).await?) } else { None };
        if let (Some(trust), Some(own)) = (&mut trust, key_pair) {
            let presenting = trust.presenting(own);
            *trust = presenting.map_err(|error| DialFailure::Io(DialPhase::Tls, io::Error::other(error)))?;
        }
        let only_here = url.is_of_this_machine();
        let vet = |mut addresses: Vec<SocketAddr>| {
            addresses.retain(|address| !only_here || address.ip().is_loopback());
            if only_here && addresses.is_empty() {
                let error = io::Error::other("the name does not resolve to a loopback address");
                return Err(DialFailure::Io(DialPhase::Name, error));
            }
            Ok(addresses)
        };
        self.names
            .connect(&DialName::new(&url.host, url.port), time, vet, |stream, _| {
                handshake(url, trust.as_ref(), stream)
            })
            .await
    }

    /// Returns the host's trust store. It is loaded once, on another thread, because the disk may
    /// be slow.
    async fn trust(&self, time: TimeLimit) -> Result<TrustStore, AddressFailure> {
        let loading = {
            let mut trust = self.trust.lock();
            // A failed load is retried.
            let is_useful = |loading: &&SharedTask<Result<TrustStore, String>>| {
                !loading.is_over() || matches!(loading.result(), Some(Ok(_)))
            };
            match trust.as_ref().filter(is_useful) {
                Some(loading) => loading.clone(),
                None => trust.insert(SharedTask::spawn(load_trust())).clone(),
            }
        };
        let loaded = tokio::time::timeout_at(time.deadline, loading.wait()).await;
        let loaded = loaded.map_err(|_| {
            let text = format!("the certificates of this host were not loaded within {:?}", time.limit);
            DialFailure::Io(DialPhase::Tls, io::Error::other(text))
        })?;
        let loaded =
            loaded.unwrap_or_else(|| Err("loading the certificates of this host was cancelled".to_owned()));
        loaded.map_err(|text| DialFailure::Io(DialPhase::Tls, io::Error::other(text)).into())
    }
}

/// Converts the failure of a connection.
fn failed(at: String, limit: Duration, failure: AddressFailure) -> HttpClientError {
    match failure.why {
        DialFailure::Io(_, error) if error.kind() == io::ErrorKind::TimedOut => {
            HttpClientError::ConnectLate(at, limit, failure.tried)
        }
        DialFailure::Io(_, error) if failure.tried.is_empty() => HttpClientError::Connect(at, error),
        DialFailure::Io(_, error) => {
            let text = format!("{error}{}", failure.tried);
            HttpClientError::Connect(at, io::Error::new(error.kind(), text))
        }
        DialFailure::Loop(address) => {
            HttpClientError::Connect(at, io::Error::other(format!("{address} is this host")))
        }
    }
}

/// Loads the host's trust store on a blocking thread.
async fn load_trust() -> Result<TrustStore, String> {
    let loaded = tokio::task::spawn_blocking(TrustStore::host).await.map_err(|error| error.to_string())?;
    loaded.map_err(|error| error.to_string())
}

/// Completes a connection, with TLS if there is a trust store.
async fn handshake(
    url: &Url,
    trust: Option<&TrustStore>,
    stream: TcpStream,
) -> Result<HttpStream, DialFailure> {
    let Some(trust) = trust else { return Ok(HttpStream::Plain(stream)) };
    let failed = |error| DialFailure::Io(DialPhase::Tls, error);
    let name = ServerName::try_from(url.host.clone()).map_err(|error| failed(io::Error::other(error)))?;
    let stream = trust.connector.connect(name, stream).await.map_err(failed)?;
    Ok(HttpStream::Tls(Box::new(stream)))
}

enum HttpStream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    at: String,
    body_max: usize,
) -> Result<HttpResponse, HttpClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error| HttpClientError::Broken(at.clone(), error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answered = async {
        let response = sender.send_request(request).await;
        // The connection ends once its sender is dropped and the response is read.
        drop(sender);
        let (head, mut incoming) = response.map_err(broken)?.into_parts();
        // The buffer is never reallocated, so no copy of its content remains in freed memory.
        let mut body = Zeroizing::new(Vec::with_capacity(body_max));
        while let Some(frame) = incoming.frame().await {
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                // guard: response-size
                if body.len() + data.len() > body_max {
                    return Err(HttpClientError::TooLarge(at.clone(), body_max));
                }
                body.extend_from_slice(&data);
            }
        }
        Ok(HttpResponse { status: head.status.as_u16(), headers: head.headers, body })
    };
    tokio::pin!(answered, connection);
    let mut ended = false;
    loop {
        tokio::select! {
            biased;
            answered = &mut answered => return answered,
            // The outcome is in the response, or in its absence.
            _ = &mut connection, if !ended => ended = true,
        }
    }
}

/// The metadata service of Alibaba Cloud. It has no TLS, and is served by this machine's
/// hypervisor.
const METADATA: &str = "100.100.100.200";
/// The usual maximum size of a response body. Responses with credentials are a few KiB.
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{IpAddr, TcpListener};
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use http::Method;
    use zeroize::Zeroizing;

    use super::{
        AddressBook, HttpClient, HttpClientError, HttpRequest, HttpResponse, HttpTimeouts, InvalidUrl, Url,
    };

    async fn fetch(fetcher: &HttpClient, url: &Url) -> Result<HttpResponse, HttpClientError> {
        let ask = HttpRequest {
            method: Method::GET,
            url: url.clone(),
            headers: Vec::new(),
            body: Zeroizing::default(),
            key_pair: None,
        };
        let within = HttpTimeouts { connect: Duration::from_secs(5), total: Duration::from_secs(20) };
        fetcher.fetch(ask, within).await
    }

    #[tokio::test]
    async fn a_fetch_that_is_dropped_at_any_point_harms_no_later_one() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // A client that has disconnected gets no response.
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            }
        });
        let mut ended = 0;
        for polls in 0..16 {
            // Two names of the same server, with and without a lookup; and TLS, which the server
            // does not support.
            for (scheme, host, is_good) in
                [("http", "localhost", true), ("http", "127.0.0.1", true), ("https", "localhost", false)]
            {
                let url = Url::parse(&format!("{scheme}://{host}:{port}/")).expect("a URL");
                let fetcher = HttpClient::new(AddressBook::default());
                {
                    let mut fetching = pin!(fetch(&fetcher, &url));
                    for _ in 0..polls {
                        if fetching.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                            ended += 1;
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
                let got = fetch(&fetcher, &url).await;
                let is_refused = matches!(got, Err(HttpClientError::Connect(..)));
                assert_eq!((got.is_ok(), is_refused), (is_good, !is_good), "{url} after {polls} polls");
            }
        }
        assert!(ended > 0, "some came to an end");
    }

    #[test]
    fn urls_are_read_and_shown_without_what_may_be_secret() {
        for (text, host, target) in [
            ("https://sts.aliyuncs.com", "sts.aliyuncs.com", "/"),
            ("https://STS.example.com:8443/a?b=c", "sts.example.com:8443", "/a?b=c"),
            ("http://127.0.0.1:80/x", "127.0.0.1", "/x"),
            ("http://[::1]:9000", "[::1]:9000", "/"),
            ("http://localhost:1?q", "localhost:1", "/?q"),
            ("http://100.100.100.200", "100.100.100.200", "/"),
        ] {
            let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.host().as_str(), url.target.as_str()), (host, target), "{text}");
            assert!(!format!("{url} {url:?}").contains('?'), "{url}");
        }
    }

    #[test]
    fn an_address_that_is_listed_is_asked_without_tls_and_no_other() {
        let allowed: Vec<IpAddr> =
            ["10.0.0.5", "fd00::5"].map(|text| text.parse().expect("an address")).into();
        for text in
            ["http://10.0.0.5/keys", "http://10.0.0.5:8080", "http://[fd00::5]/", "http://[FD00:0::5]/"]
        {
            assert!(Url::parse_among(text, &allowed).is_ok(), "{text}");
            assert_eq!(Url::parse(text), Err(InvalidUrl::Plain), "{text}");
        }
        for text in [
            "http://10.0.0.6/",
            "http://10.0.0.5.example.com/",
            "http://keys.example.com/",
            "http://010.0.0.5/",
            "http://10.0.0.5./",
            "http://167772165/",
            "http://[::ffff:10.0.0.5]/",
        ] {
            assert_eq!(Url::parse_among(text, &allowed), Err(InvalidUrl::Plain), "{text}");
        }
        assert_eq!(Url::parse_among("http://u:p@10.0.0.5/", &allowed), Err(InvalidUrl::UserInfo));
    }

    #[test]
    fn what_would_give_credentials_away_is_refused() {
        for (text, error) in [
            ("sts.aliyuncs.com", InvalidUrl::Form),
            ("ftp://sts.aliyuncs.com", InvalidUrl::Form),
            ("https://", InvalidUrl::Form),
            ("https://sts.aliyuncs.com:", InvalidUrl::Form),
            ("https://sts.aliyuncs.com:99999", InvalidUrl::Form),
            ("https://sts.aliyuncs.com/#a", InvalidUrl::Form),
            ("https://u:p@sts.aliyuncs.com", InvalidUrl::UserInfo),
            ("http://sts.aliyuncs.com", InvalidUrl::Plain),
            ("http://10.0.0.1", InvalidUrl::Plain),
            ("http://127.0.0.1.example.com", InvalidUrl::Plain),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }
}
