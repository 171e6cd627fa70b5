//! Refresh attempts over the network that are dropped midway. Each is polled to each of its await
//! points and dropped there, and the next attempt works.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, Mutex};
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::dropped_tests::dropped_after;
use crate::credentials::service_client::ServiceClient;
use crate::credentials::sts::AssumedRole;
use crate::credentials::test_env::TestEnv;
use crate::credentials::{
    AssumeRoleConfig, AssumeRoleParams, AuthorizationFile, ChainConfig, CredentialServices, EcsConfig,
    NamedSpec, OidcConfig, ProviderSpec, RequestIdentityConfig, StsEndpointConfig, StsSignature, UriConfig,
    build_sources,
};
use crate::transport::{HttpRequest, HttpTimeouts, Url};

/// A request received by the service.
struct ServiceRequest {
    /// The head, in lowercase but for the first line.
    head: String,
    body: String,
}

/// Reads a request; `None` if the client has disconnected.
async fn receive(stream: &mut BufReader<TcpStream>) -> Option<ServiceRequest> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
        if start > 0 {
            head[start..].make_ascii_lowercase();
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|text| text.parse().ok()).unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(ServiceRequest { head, body: String::from_utf8(body).ok()? })
}

/// Sends a response in two pieces, so that the client has another await point between them.
async fn respond(stream: &mut BufReader<TcpStream>, (status, body): (u16, &str)) {
    let head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n", body.len());
    // A client that has disconnected gets no response.
    let _ = stream.write_all(head.as_bytes()).await;
    sleep(Duration::from_millis(5)).await;
    let _ = stream.write_all(body.as_bytes()).await;
}

/// Returns the response of a credentials URI, the metadata service or STS, each on its own path, if
/// the request is as expected.
fn answer(request: &ServiceRequest) -> (u16, String) {
    let has = |line: &str| request.head.lines().any(|known| known == line);
    let triple = "\"AccessKeyId\": \"STS.network\", \"AccessKeySecret\": \"s\", \"SecurityToken\": \"t\", \
                  \"Expiration\": \"2999-01-01T00:00:00Z\"";
    let credentials = || format!("{{\"Code\": \"Success\", {triple}}}");
    match request.head.split(" HTTP/1.1").next().unwrap_or_default() {
        "GET /open" => (200, credentials()),
        "GET /keys" if has("authorization: bearer planted") => (200, credentials()),
        "PUT /latest/api/token" => (200, "metadata-token".to_owned()),
        "GET /latest/meta-data/ram/security-credentials/" if has(METADATA_TOKEN) => (200, "app\n".to_owned()),
        "GET /latest/meta-data/ram/security-credentials/app" if has(METADATA_TOKEN) => (200, credentials()),
        "POST /" if has("x-acs-action: assumerole") => (200, format!("{{\"Credentials\": {{{triple}}}}}")),
        target if target.starts_with("POST /?") && request.body.contains("OIDCToken=planted") => {
            (200, format!("{{\"Credentials\": {{{triple}}}}}"))
        }
        _ => (403, String::new()),
    }
}

/// Starts all those services at one address.
async fn services() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                if let Some(request) = receive(&mut stream).await {
                    let (status, body) = answer(&request);
                    respond(&mut stream, (status, &body)).await;
                }
            });
        }
    });
    address
}

/// A kind of provider that calls services.
#[derive(Clone, Copy, Debug)]
enum NetworkKind {
    Uri,
    Ecs,
    Oidc,
    /// A role whose base calls a service too.
    AssumeRole,
    /// A chain that finds a URI in the environment.
    Chain,
}

impl NetworkKind {
    const ALL: [Self; 5] = [Self::Uri, Self::Ecs, Self::Oidc, Self::AssumeRole, Self::Chain];

    /// Returns the source `default` of this kind, with the sources that it needs.
    fn specs(self, services: SocketAddr, directory: &Path) -> Vec<NamedSpec> {
        let url = |path: &str| Url::parse(&format!("http://{services}{path}")).expect("a URL");
        let file = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).expect("written");
            Some(path)
        };
        let place = || StsEndpointConfig { endpoint: Some(url("/")), ..StsEndpointConfig::default() };
        let uri = || {
            ProviderSpec::new(UriConfig {
                url: Some(url("/keys")),
                identity: RequestIdentityConfig {
                    authorization: file("authorization", "bearer planted\n").map(AuthorizationFile::Value),
                    key_pair: None,
                },
            })
        };
        let spec = match self {
            Self::Uri => uri(),
            Self::Ecs => ProviderSpec::new(EcsConfig { endpoint: Some(url("/")), ..EcsConfig::default() }),
            Self::Oidc => {
                let pod = OidcConfig {
                    role: AssumeRoleParams { role_arn: Some(ROLE.to_owned()), ..AssumeRoleParams::default() },
                    provider_arn: Some("acs:ram::1:oidc-provider/p".to_owned()),
                    token_file: file("token", "planted"),
                    sts_endpoint: place(),
                };
                ProviderSpec::new(pod)
            }
            Self::AssumeRole => {
                let role = AssumedRole {
                    arn: ROLE.to_owned(),
                    session_name: None,
                    duration: Duration::from_secs(900),
                    policy: None,
                    external_id: None,
                };
                let role = AssumeRoleConfig { role, sts_endpoint: place(), signature: StsSignature::Acs3 };
                ProviderSpec::AssumeRole { source: "base".to_owned(), role: Box::new(role) }
            }
            Self::Chain => ProviderSpec::new(ChainConfig::default()),
        };
        let base = matches!(self, Self::AssumeRole).then(|| NamedSpec::new("base", uri()));
        base.into_iter().chain([NamedSpec::new("default", spec)]).collect()
    }

    /// Returns the environment that this kind needs.
    fn world(self, services: SocketAddr) -> TestEnv {
        match self {
            Self::Uri | Self::Oidc | Self::AssumeRole => TestEnv::default(),
            Self::Ecs => TestEnv::with(&[("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "false")]),
            Self::Chain => {
                let url: &str = format!("http://{services}/open").leak();
                TestEnv::with(&[("ALIBABA_CLOUD_CREDENTIALS_URI", url)])
            }
        }
    }

    fn provider(self) -> &'static str {
        match self {
            Self::Uri => "credential_uri",
            Self::Ecs => "ecs_ram_role",
            Self::Oidc => "oidc_role_arn",
            Self::AssumeRole => "ram_role_arn/credential_uri",
            Self::Chain => "default/credential_uri",
        }
    }

    /// Drops an attempt after `times` polls, and asserts that the next one works. Returns whether
    /// it was dropped.
    async fn survives(self, times: usize, directory: &Path) -> bool {
        let services = services().await;
        let (sources, world) =
            (build_sources(&self.specs(services, directory), &Arc::default()), self.world(services));
        let source = &sources["default"];
        let was_dropped = dropped_after(times, source.refresh(&world)).await;
        for (name, source) in &sources {
            let status = source.status(&world);
            let of_attempt = (status.asking_for, status.waiting, status.failures);
            assert_eq!(of_attempt, (None, 0, 0), "{self:?}, {name} after {times} polls");
        }
        for (name, source) in &sources {
            let again = timeout(Duration::from_secs(5), source.refresh(&world)).await;
            let again = again.unwrap_or_else(|_| panic!("{self:?}, {name}: nothing after {times} polls"));
            let again = again.map(|given| (given.id.clone(), given.provider.to_string()));
            let provider = if name == "base" { "credential_uri" } else { self.provider() };
            let expected = ("STS.network".to_owned(), provider.to_owned());
            assert_eq!(again, Ok(expected), "{self:?}, {name} after {times} polls");
        }
        was_dropped
    }
}

#[tokio::test]
async fn an_attempt_over_the_network_can_be_dropped_anywhere() {
    let directory = tempfile::tempdir().expect("a directory");
    for kind in NetworkKind::ALL {
        let mut times = 0;
        while kind.survives(times, directory.path()).await {
            times += 1;
            assert!(times < 100, "{kind:?} has no end");
        }
        assert!(times >= 3, "{kind:?} has only {times} await points");
    }
}

/// A service that never responds to `/lost`, and responds to `/fails` with an error. It responds to
/// `/together` only when there are [`FLIGHTS`] such calls at once.
struct LossyService {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    services: Arc<CredentialServices>,
}

impl LossyService {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (connections, together) = (Arc::<AtomicUsize>::default(), Arc::new(Barrier::new(FLIGHTS)));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(Self::serve(BufReader::new(stream), Arc::clone(&together)));
            }
        });
        Self { address, connections, services: Arc::default() }
    }

    async fn serve(mut stream: BufReader<TcpStream>, together: Arc<Barrier>) {
        let Some(request) = receive(&mut stream).await else { return };
        let status = match request.head.split(' ').nth(1) {
            Some("/lost") => std::future::pending().await,
            Some("/fails") => 500,
            Some("/together") => {
                // Shorter than the `SILENT_AFTER` of the circuit breaker, when a call returns its
                // permit.
                let others = timeout(Duration::from_millis(1_500), together.wait()).await;
                if others.is_ok() { 200 } else { 503 }
            }
            _ => 200,
        };
        // Long enough for the client to have both calls in flight at one poll.
        sleep(Duration::from_millis(50)).await;
        respond(&mut stream, (status, "answer")).await;
    }

    fn ask(&self, path: &str) -> HttpRequest {
        let url = Url::parse(&format!("http://{}{path}", self.address)).expect("a URL");
        HttpRequest {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: Zeroizing::default(),
            key_pair: None,
        }
    }

    /// Makes a single call and returns its status.
    async fn call(&self, path: &str) -> u16 {
        let reply = ServiceClient::new(&self.services).send(self.ask(path), || None, TIMEOUTS).await;
        reply.expect("an answer").status
    }

    /// Makes a call whose response is lost and that is retried, and drops it after `times` polls.
    /// Returns whether it was dropped, and the number of connections at that time.
    async fn lose_one(&self, times: usize) -> (bool, usize) {
        let client = ServiceClient::new(&self.services);
        let before = self.connections.load(Ordering::Relaxed);
        let again = || Some(self.ask("/again"));
        let asked = async {
            let reply = client.send(self.ask("/lost"), again, TIMEOUTS).await;
            assert_eq!(reply.map(|reply| reply.status).ok(), Some(200), "after {times} polls");
        };
        let was_dropped = dropped_after(times, asked).await;
        (was_dropped, self.connections.load(Ordering::Relaxed) - before)
    }
}

/// Drops a call to a separate service after `times` polls, and asserts that other calls succeed.
/// With `is_left_alone` the circuit breaker is open at first, so that the call is the probe.
async fn leaves_the_endpoint_free(times: usize, is_left_alone: bool, alone: Arc<Mutex<()>>) -> (bool, usize) {
    let service = LossyService::start().await;
    for _ in 0..if is_left_alone { 5 } else { 0 } {
        assert_eq!(service.call("/fails").await, 500);
    }
    let lost = service.lose_one(times).await;
    let name = format!("http://{}", service.address);
    let known = service.services.endpoints();
    let known = known.into_iter().find(|known| known.name == name).expect("it was asked");
    assert!(is_left_alone || !known.is_circuit_open, "after {times} polls");
    // One service at a time, so that these calls are quick.
    let _alone = alone.lock().await;
    let all = async {
        // This call may be the probe, during which no other is made.
        assert_eq!(service.call("/").await, 200);
        let together = join_all((0..FLIGHTS).map(|_| service.call("/together"))).await;
        [together, join_all((0..12).map(|_| service.call("/"))).await].concat()
    };
    let all = timeout(Duration::from_secs(10), all).await;
    let all = all.unwrap_or_else(|_| panic!("no answers after {times} polls, left alone: {is_left_alone}"));
    assert!(all.iter().all(|status| *status == 200), "a permit is lost after {times} polls: {all:?}");
    lost
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_is_repeated_leaves_the_endpoint_to_others() {
    let alone = Arc::<Mutex<()>>::default();
    let at_each_poll = async |is_left_alone: bool| {
        // Concurrently, because each takes seconds.
        let all = (0..POLLS_MAX)
            .map(|times| tokio::spawn(leaves_the_endpoint_free(times, is_left_alone, Arc::clone(&alone))));
        let lost: Vec<_> = join_all(all).await.into_iter().map(|lost| lost.expect("no panic")).collect();
        assert!(!lost[POLLS_MAX - 1].0, "the last one has an answer: {lost:?}");
        let dropped_both = lost.iter().filter(|lost| **lost == (true, 2)).count();
        assert!(dropped_both >= 2, "while both calls are on: {lost:?}");
    };
    tokio::join!(at_each_poll(false), at_each_poll(true));
}

const METADATA_TOKEN: &str = "x-aliyun-ecs-metadata-token: metadata-token";
const ROLE: &str = "acs:ram::1:role/r";
/// The number of calls to one endpoint at once.
const FLIGHTS: usize = 8;
/// More polls than a call needs.
const POLLS_MAX: usize = 16;
const TIMEOUTS: HttpTimeouts =
    HttpTimeouts { connect: Duration::from_secs(5), total: Duration::from_secs(20) };
