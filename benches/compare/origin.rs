//! A cheap origin. It answers GET of a path that ends in a number with a body of that many bytes,
//! and discards uploads. Each connection has a thread. It serves plain HTTP, and TLS with a
//! certificate authority generated for it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A running origin.
pub(crate) struct Origin {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// The file with the authority of its certificate.
    pub(crate) authority: PathBuf,
    open: Arc<Open>,
}

/// The current and the highest number of connections.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

static BYTES: [u8; 1 << 20] = [b'x'; 1 << 20];

impl Origin {
    pub(crate) fn start(folder: &Path) -> Self {
        let certified =
            rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "origin.test".to_owned()])
                .expect("a certificate");
        let authority = folder.join("ca.pem");
        fs::write(&authority, certified.cert.pem()).expect("written");
        let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .expect("a configuration");
        let (config, open) = (Arc::new(config), Arc::<Open>::default());
        let plain = listen(&open, serve);
        let tls = listen(&open, move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            serve(StreamOwned::new(connection, stream))
        });
        Self { plain, tls, authority, open }
    }

    /// Resets the highest number of connections to the current number, and returns it.
    pub(crate) fn count_anew(&self) -> usize {
        let now = self.open.now.load(Ordering::SeqCst);
        self.open.most.store(now, Ordering::SeqCst);
        now
    }

    /// Returns the highest number of simultaneous connections since the last reset.
    pub(crate) fn most(&self) -> usize {
        self.open.most.load(Ordering::SeqCst)
    }
}

fn listen(
    open: &Arc<Open>,
    serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + Sync + 'static,
) -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    socket.listen(4096).expect("listening");
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().expect("an address");
    let open = Arc::clone(open);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (serve, open) = (serve.clone(), Arc::clone(&open));
            let now = open.now.fetch_add(1, Ordering::SeqCst) + 1;
            open.most.fetch_max(now, Ordering::SeqCst);
            let _ = stream.set_nodelay(true);
            let each = thread::Builder::new().stack_size(256 << 10);
            let _ = each.spawn(move || {
                // The client sees any error.
                let _ = serve(stream);
                open.now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    address
}

fn serve(stream: impl Read + Write) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let mut sink = vec![0; 256 << 10];
    let (mut line, mut answer) = (String::new(), Vec::new());
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let is_get = line.starts_with("GET");
        let path = line.split(' ').nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let size: u64 = path.rsplit('/').next().and_then(|name| name.parse().ok()).unwrap_or(0);
        let mut left = 0;
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                left = value.trim().parse().unwrap_or(0);
            }
        }
        while left > 0 {
            let room = sink.len().min(left);
            left -= match stream.buffer().len() {
                // Bypasses the buffer: discarded bytes need not be copied into it first.
                0 => at_least_one(stream.get_mut().read(&mut sink[..room])?)?,
                _ => stream.read(&mut sink[..room])?,
            };
        }
        let size = if is_get { size } else { 0 };
        answer.clear();
        write!(answer, "HTTP/1.1 200 OK\r\nServer: origin\r\nETag: \"e\"\r\nContent-Length: {size}\r\n\r\n")?;
        let first = size.min(64 << 10) as usize;
        answer.extend_from_slice(&BYTES[..first]);
        stream.get_mut().write_all(&answer)?;
        let mut left = size - first as u64;
        while left > 0 {
            let piece = left.min(BYTES.len() as u64) as usize;
            stream.get_mut().write_all(&BYTES[..piece])?;
            left -= piece as u64;
        }
        stream.get_mut().flush()?;
    }
}

fn at_least_one(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
}
