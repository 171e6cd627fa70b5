//! The lower bound of the cost of a proxy on hyper: one runtime per core, pooled connections, no
//! limits, no address resolution and no signature. What the proxy costs beyond this floor is its
//! own cost. What the floor costs beyond nginx is the cost of hyper.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;

/// The address of an upstream and the idle connections to it.
struct Upstream {
    address: SocketAddr,
    tls: Option<TlsConnector>,
    unused: RefCell<Vec<SendRequest<Incoming>>>,
}

/// Serves until the process is killed: `PLAIN TLS PLAIN_ORIGIN TLS_ORIGIN AUTHORITY`.
pub(crate) fn run(arguments: &[String]) {
    let [plain, tls, plain_origin, tls_origin, authority] = arguments else { panic!("five arguments") };
    let parsed = |text: &String| text.parse::<SocketAddr>().expect("an address");
    let ways = [(parsed(plain), parsed(plain_origin), false), (parsed(tls), parsed(tls_origin), true)];
    let ways = ways.map(|(own, origin, tls)| {
        let listener = TcpListener::bind(own).expect("a listener");
        listener.set_nonblocking(true).expect("a mode");
        (listener, origin, tls)
    });
    let connector = connector(Path::new(authority));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads: Vec<_> = (0..cores)
        .map(|_| {
            let connector = connector.clone();
            let ways = ways.each_ref().map(|(listener, origin, tls)| {
                (listener.try_clone().expect("a listener"), *origin, tls.then(|| connector.clone()))
            });
            std::thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
                runtime.expect("a runtime").block_on(async move {
                    let [plain, tls] = ways.map(|(listener, address, tls)| {
                        let upstream = Upstream { address, tls, unused: RefCell::default() };
                        spawn_local(accept(listener, Rc::new(upstream)))
                    });
                    let _ = tokio::join!(plain, tls);
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
}

fn connector(authority: &Path) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("a certificate")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn accept(listener: TcpListener, upstream: Rc<Upstream>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true).expect("no delay");
        let upstream = Rc::clone(&upstream);
        spawn_local(async move {
            let service = service_fn(|request| forward(Rc::clone(&upstream), request));
            // The client sees how the connection ends, so the result is ignored.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn forward(
    upstream: Rc<Upstream>,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, hyper::Error> {
    let target = request.uri().path_and_query().cloned().expect("a target");
    *request.uri_mut() = Uri::from(target);
    let unused = upstream.unused.borrow_mut().pop();
    let mut sender = match unused {
        Some(sender) => sender,
        None => dial(&upstream).await?,
    };
    let response = sender.send_request(request).await?;
    spawn_local(async move {
        if sender.ready().await.is_ok() {
            upstream.unused.borrow_mut().push(sender);
        }
    });
    Ok(response)
}

async fn dial(upstream: &Upstream) -> Result<SendRequest<Incoming>, hyper::Error> {
    let stream = TcpStream::connect(upstream.address).await.expect("the origin");
    stream.set_nodelay(true).expect("no delay");
    let Some(connector) = &upstream.tls else {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        spawn_local(connection);
        return Ok(sender);
    };
    let name = ServerName::try_from("origin.test").expect("a name");
    let stream = BufReader::with_capacity(256 << 10, stream);
    let stream = connector.connect(name, stream).await.expect("TLS");
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    spawn_local(connection);
    Ok(sender)
}
