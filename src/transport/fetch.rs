//! One request to a service beside OSS: STS, the metadata service, a credentials URI. No connection is kept, no redirect is
//! followed, no proxy is asked, and what is received is wiped.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use zeroize::Zeroizing;

use super::tls::Trust;

/// Where something is asked: `https://HOST[:PORT][/PATH][?QUERY]`, or `http://` on this machine and at the metadata service.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    tls: bool,
    host: String,
    port: u16,
    target: String,
}

/// A text that is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadUrl {
    /// Not of the form.
    #[error("is no URL; write https://HOST or https://HOST:PORT, with or without a path")]
    Form,
    /// With a user or a password.
    #[error("holds an @; a user name or password has no place here")]
    UserInfo,
    /// Unencrypted, to elsewhere.
    #[error(
        "would send credentials unencrypted; use https://, or http:// to a loopback address or to 100.100.100.200"
    )]
    Plain,
}

/// A request.
pub struct Ask {
    /// The method.
    pub method: Method,
    /// Where it goes.
    pub url: Url,
    /// Headers, but for Host and Content-Length.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

/// An answer.
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Zeroizing<Vec<u8>>,
}

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    /// Until the connection stands, TLS included.
    pub connect: Duration,
    /// In all.
    pub total: Duration,
}

/// Why there is no answer. No text holds anything that was sent or received.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    /// No connection in time.
    #[error("no connection to {0} within {1:?}")]
    ConnectLate(String, Duration),
    /// No answer in time.
    #[error("no answer from {0} within {1:?}")]
    Late(String, Duration),
    /// The answer broke off, or is no HTTP.
    #[error("the answer of {0} cannot be read: {1}")]
    Broken(String, hyper::Error),
    /// The answer is larger than any with credentials.
    #[error("the answer of {0} is larger than 64 KiB")]
    TooLarge(String),
    /// The request cannot be written.
    #[error("the request to {0} cannot be sent: {1}")]
    Unsendable(String, http::Error),
}

impl Url {
    /// Reads it.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        Self::parse_among(text, &[])
    }

    /// Reads it, and takes `http://` to exactly these addresses too. A name that leads to one of them is none of them.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn parse_among(text: &str, allowed: &[IpAddr]) -> Result<Self, BadUrl> {
        let uri: Uri = text.parse().map_err(|_| BadUrl::Form)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => return Err(BadUrl::Form),
        };
        let authority = uri.authority().ok_or(BadUrl::Form)?;
        if authority.as_str().contains('@') {
            return Err(BadUrl::UserInfo);
        }
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, digits)) if !digits.contains(']') => digits.parse().map_err(|_| BadUrl::Form)?,
            Some(_) | None if tls => 443,
            Some(_) | None => 80,
        };
        if host.is_empty() || port == 0 || text.contains('#') {
            return Err(BadUrl::Form);
        }
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let url = Self { tls, host: host.to_ascii_lowercase(), port, target };
        let is_allowed = || url.host.parse().is_ok_and(|ip: IpAddr| allowed.contains(&ip));
        let is_kept = url.tls || url.is_of_this_machine() || url.host == METADATA || is_allowed();
        if is_kept { Ok(url) } else { Err(BadUrl::Plain) }
    }

    /// Whether it can only be of this machine.
    #[must_use]
    pub fn is_of_this_machine(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The same place, another path and query.
    #[must_use]
    pub fn at(&self, target: &str) -> Self {
        Self { target: target.to_owned(), ..self.clone() }
    }

    /// What the Host header says.
    #[must_use]
    pub fn host(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Url {
    /// Without path and query, which can hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.host())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who asks. Trusts what the host trusts, which is looked up when it is first needed.
#[derive(Default)]
pub struct Fetcher {
    trust: OnceLock<Trust>,
}

impl Fetcher {
    /// Asks once.
    ///
    /// # Errors
    /// [`FetchError`] if there is no whole answer; one with any status is an answer.
    pub async fn fetch(&self, ask: Ask, within: Within) -> Result<Reply, FetchError> {
        let at = ask.url.to_string();
        let late = FetchError::Late(at.clone(), within.total);
        tokio::time::timeout(within.total, self.attempt(ask, at, within.connect)).await.unwrap_or(Err(late))
    }

    async fn attempt(&self, ask: Ask, at: String, connect: Duration) -> Result<Reply, FetchError> {
        let Ask { method, url, headers, body } = ask;
        let mut request = Request::builder().method(method).uri(&url.target);
        if let Some(lines) = request.headers_mut() {
            lines.extend(headers);
        }
        let request = request
            .header(HOST, url.host())
            .header(CONTENT_LENGTH, body.len())
            .body(Full::new(Bytes::from_owner(body)))
            .map_err(|error| FetchError::Unsendable(at.clone(), error))?;
        let connected = tokio::time::timeout(connect, self.connect(&url)).await;
        match connected {
            Err(_) => Err(FetchError::ConnectLate(at, connect)),
            Ok(Err(error)) => Err(FetchError::Connect(at, error)),
            Ok(Ok(Stream::Plain(stream))) => exchange(stream, request, at).await,
            Ok(Ok(Stream::Tls(stream))) => exchange(*stream, request, at).await,
        }
    }

    async fn connect(&self, url: &Url) -> io::Result<Stream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in lookup_host((url.host.as_str(), url.port)).await? {
            if url.is_of_this_machine() && !address.ip().is_loopback() {
                last = io::Error::other("the name is not of this machine");
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) if url.tls => return self.handshake(url, stream).await,
                Ok(stream) => return Ok(Stream::Plain(stream)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn handshake(&self, url: &Url, stream: TcpStream) -> io::Result<Stream> {
        let trust = match self.trust.get() {
            Some(trust) => trust,
            None => {
                let host = Trust::host().map_err(io::Error::other)?;
                self.trust.get_or_init(|| host)
            }
        };
        let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(trust.connector.connect(name, stream).await?)))
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>, at: String) -> Result<Reply, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error| FetchError::Broken(at.clone(), error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answered = async {
        let response = sender.send_request(request).await;
        // The connection ends with its sender, once the answer is read.
        drop(sender);
        let (head, mut incoming) = response.map_err(broken)?.into_parts();
        // It never grows, so that nothing is left behind where it was.
        let mut body = Zeroizing::new(Vec::with_capacity(LONGEST));
        while let Some(frame) = incoming.frame().await {
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                if body.len() + data.len() > LONGEST {
                    return Err(FetchError::TooLarge(at.clone()));
                }
                body.extend_from_slice(&data);
            }
        }
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    };
    tokio::pin!(answered, connection);
    let mut ended = false;
    loop {
        tokio::select! {
            biased;
            answered = &mut answered => return answered,
            // How it ended is told by the answer, or its absence.
            _ = &mut connection, if !ended => ended = true,
        }
    }
}

/// The metadata service of Alibaba Cloud, which speaks no TLS and is of this machine's hypervisor.
const METADATA: &str = "100.100.100.200";
/// Answers with credentials are a few KiB.
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{BadUrl, Url};

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
            assert_eq!(Url::parse(text), Err(BadUrl::Plain), "{text}");
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
            assert_eq!(Url::parse_among(text, &allowed), Err(BadUrl::Plain), "{text}");
        }
        assert_eq!(Url::parse_among("http://u:p@10.0.0.5/", &allowed), Err(BadUrl::UserInfo));
    }

    #[test]
    fn what_would_give_credentials_away_is_refused() {
        for (text, error) in [
            ("sts.aliyuncs.com", BadUrl::Form),
            ("ftp://sts.aliyuncs.com", BadUrl::Form),
            ("https://", BadUrl::Form),
            ("https://sts.aliyuncs.com:", BadUrl::Form),
            ("https://sts.aliyuncs.com:99999", BadUrl::Form),
            ("https://sts.aliyuncs.com/#a", BadUrl::Form),
            ("https://u:p@sts.aliyuncs.com", BadUrl::UserInfo),
            ("http://sts.aliyuncs.com", BadUrl::Plain),
            ("http://10.0.0.1", BadUrl::Plain),
            ("http://127.0.0.1.example.com", BadUrl::Plain),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
    }
}
