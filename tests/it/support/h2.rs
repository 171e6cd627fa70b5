//! An HTTP/2 client that can end its streams in every possible way.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, LocalSet, spawn_local};

/// A connection with prior knowledge, driven by another task.
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    /// Finishes when the connection ends.
    pub(crate) driver: JoinHandle<Result<(), h2::Error>>,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The reason of the stream reset, if there was one.
    pub(crate) reset: Option<Reason>,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the error code of the proxy.
    pub(crate) fn refused(&self) -> Option<&str> {
        self.header("x-proxy-error")
    }
}

/// Runs `part` with a connection, in a new runtime and within the time limit.
pub(crate) fn over_h2<T>(to: SocketAddr, part: impl AsyncFnOnce(&mut Connection) -> T) -> T {
    play(async {
        let stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let mut connection = Connection::open(stream).await;
        part(&mut connection).await
    })
}

/// Runs [`over_h2`] with a client that gives each stream a window of `window` bytes.
pub(crate) fn over_h2_with_window<T>(
    to: SocketAddr,
    window: u32,
    part: impl AsyncFnOnce(&mut Connection) -> T,
) -> T {
    play(async {
        let stream = TcpStream::connect(to).await.expect("a connection");
        let mut connection = Connection::open_with_window(stream, window).await;
        part(&mut connection).await
    })
}

/// Runs a future in a new runtime, within the time limit.
pub(crate) fn play<T>(all: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let limited = async { tokio::time::timeout(LIMIT, all).await.expect("it ends in time") };
    LocalSet::new().block_on(&runtime, limited)
}

/// Builds a request for HTTP/2, with the authority, scheme and path of `uri`.
pub(crate) fn request(method: &str, uri: &str) -> Request<()> {
    let request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
    request.body(()).expect("a request")
}

impl Connection {
    /// Opens a connection over any stream.
    pub(crate) async fn open<S>(stream: S) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        let (requests, driver) = h2::client::handshake(stream).await.expect("HTTP/2");
        Self { requests, driver: spawn_local(driver) }
    }

    /// Opens a connection over any stream, with a window of `window` bytes for each response.
    pub(crate) async fn open_with_window<S>(stream: S, window: u32) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        let (requests, driver) = builder.handshake(stream).await.expect("HTTP/2");
        Self { requests, driver: spawn_local(driver) }
    }

    /// Sends the head of a request whose body follows.
    pub(crate) async fn begin(&self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.begin_with(request, false).await
    }

    /// Sends the head of a request, which either ends the stream or has a body.
    pub(crate) async fn begin_with(
        &self,
        request: Request<()>,
        ends: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut ready = self.requests.clone().ready().await.expect("room for a stream");
        ready.send_request(request, ends).expect("a request that can be sent")
    }

    /// Sends the head of a request as [`Self::begin`]. `None` if the connection has ended.
    pub(crate) async fn try_begin(
        &self,
        request: Request<()>,
    ) -> Option<(ResponseFuture, SendStream<Bytes>)> {
        self.requests.clone().ready().await.ok()?.send_request(request, false).ok()
    }

    /// Sends a request and reads its response.
    pub(crate) async fn ask(&self, request: Request<()>, body: &[u8]) -> Got {
        let (response, mut stream) = self.begin_with(request, body.is_empty()).await;
        if !body.is_empty() {
            send(&mut stream, body, true).await;
        }
        got(response.await.expect("an answer")).await
    }
}

/// Sends data as the window allows.
pub(crate) async fn send(stream: &mut SendStream<Bytes>, mut data: &[u8], end: bool) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(room)) = room else { return };
        let (now, later) = data.split_at(room.min(data.len()));
        data = later;
        if stream.send_data(Bytes::copy_from_slice(now), end && data.is_empty()).is_err() {
            return;
        }
    }
}

/// Reads the body of a response.
pub(crate) async fn got(response: Response<RecvStream>) -> Got {
    let (head, mut stream) = response.into_parts();
    let (mut body, mut reset) = (Vec::new(), None);
    while let Some(data) = stream.data().await {
        match data {
            Ok(data) => {
                stream.flow_control().release_capacity(data.len()).expect("what was received");
                body.extend_from_slice(&data);
            }
            Err(error) => {
                reset = Some(error.reason().unwrap_or(Reason::CONNECT_ERROR));
                break;
            }
        }
    }
    Got { status: head.status, headers: head.headers, body, reset }
}

const LIMIT: Duration = Duration::from_secs(30);
