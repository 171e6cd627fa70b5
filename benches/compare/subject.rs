//! The subjects of the comparison: the proxy, nginx and haproxy as plain reverse proxies with
//! upstream keep-alive, and the floor.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::callers;
use super::load::Ask;
use super::origin::Origin;
use super::process::Process;

/// A running reverse proxy.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) process: Process,
    /// The address that serves the plain origin.
    pub(crate) plain: SocketAddr,
    /// The address that serves the TLS origin.
    pub(crate) tls: SocketAddr,
    /// The address of the admin listener, if it has one.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) ready_ms: f64,
    /// The number of configured callers; 0 if any client is served.
    pub(crate) callers: usize,
}

const NGINX: &str = r#"
daemon off; worker_processes {workers}; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events { worker_connections 16000; multi_accept on; }
http {
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on; client_max_body_size 0;
    client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_request_buffering off;
    proxy_buffer_size 256k; proxy_buffers 8 256k; proxy_busy_buffers_size 512k; client_body_buffer_size 256k;
    proxy_ssl_trusted_certificate {authority}; proxy_ssl_verify on; proxy_ssl_name origin.test; proxy_ssl_session_reuse on;
    upstream plain { server {plain_origin}; keepalive 256; keepalive_requests 1000000000; }
    upstream tls { server {tls_origin}; keepalive 256; keepalive_requests 1000000000; }
    server { listen {plain} backlog=4096; location / { proxy_pass http://plain; } }
    server { listen {tls} backlog=4096; location / { proxy_pass https://tls; } }
}
"#;

const HAPROXY: &str = r"
global
    nbthread {workers}
    maxconn 9500
    tune.bufsize 65536
defaults
    mode http
    timeout client 600s
    timeout server 600s
    timeout connect 5s
    timeout http-keep-alive 600s
    http-reuse always
frontend plain
    bind {plain} backlog 4096
    default_backend plain
backend plain
    server o {plain_origin} pool-max-conn 256
frontend tls
    bind {tls} backlog 4096
    default_backend tls
backend tls
    server o {tls_origin} ssl verify required ca-file {authority} sni str(origin.test) pool-max-conn 256
";

const PROXY: &str = r#"
[[listen]]
address = "{plain}"
{identify}
[admin]
address = "{admin}"
[upstream]
region = "cn-hangzhou"
endpoint = "http://{plain_origin}"
ca_file = "{authority}"
[[route]]
match = { bucket = "tls-*" }
region = "cn-hangzhou"
endpoint = "https://{tls_origin}"
[timeouts]
idle = "600s"
[log]
access = {access}
{callers}
{audit}
"#;

/// An audit log that delays no request.
const AUDIT: &str = "[audit]\nsink = \"file:{folder}/audit.jsonl\"\non_failure = \"drop\"\n";

/// The rights of a caller whose requests are judged.
const LIMITED: &str = r#"policy = ['{"Version":"1","Statement":[{"Effect":"Allow","Action":["oss:GetObject","oss:PutObject"],"Resource":"acs:oss:*:*:*/*"}]}']"#;

impl Subject {
    /// Starts all subjects and waits until they are ready. `base` is another build of the proxy.
    pub(crate) fn all(folder: &Path, origin: &Origin, proxy: &Path, base: Option<&Path>) -> Vec<Self> {
        let names =
            ["nginx", "haproxy", "floor", "proxy", "logging", "verifying", "verifying-10k", "auditing"];
        let subjects = names.into_iter().map(|name| Self::start(name, folder, origin, proxy));
        subjects.chain(base.map(|base| Self::start("base", folder, origin, base))).collect()
    }

    /// Returns whether this is the proxy, in any build or configuration.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.name, "proxy" | "logging" | "verifying" | "verifying-10k" | "auditing" | "base")
    }

    /// Returns whether a scenario applies. Logging and verification cost the same in each, so they
    /// are measured in few.
    pub(crate) fn takes_part_in(&self, scenario: &str) -> bool {
        match self.name {
            "logging" => scenario == "get-1k-plain",
            "verifying" | "verifying-10k" | "auditing" => matches!(scenario, "get-1k-plain" | "put-1k-plain"),
            _ => true,
        }
    }

    /// Returns the requests of one run. A subject with callers gets requests that are signed with
    /// the keys of its callers.
    pub(crate) fn requests(&self, method: &str, bucket: &str, size: u64) -> Vec<Ask> {
        match self.callers.min(ACTIVE_CALLERS_MAX) {
            0 => vec![Ask::new(method, bucket, size)],
            active => Ask::signed(method, bucket, size, active),
        }
    }

    /// Starts a subject and waits until it is ready.
    pub(crate) fn start(name: &'static str, folder: &Path, origin: &Origin, proxy: &Path) -> Self {
        let (plain, tls) = (free(), free());
        let admin = matches!(name, "reloading" | "auditing").then(free);
        let template = match name {
            "nginx" => NGINX,
            "haproxy" => HAPROXY,
            "floor" => "",
            _ => PROXY,
        };
        let callers = match name {
            "verifying" | "auditing" => 1,
            "verifying-10k" | "reloading" => 10_000,
            _ => 0,
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let mut text = template.to_owned();
        for (key, value) in [
            ("workers", workers.to_string()),
            ("folder", folder.display().to_string()),
            ("authority", origin.authority.display().to_string()),
            ("plain_origin", origin.plain.to_string()),
            ("tls_origin", origin.tls.to_string()),
            ("plain", plain.to_string()),
            ("tls", tls.to_string()),
            ("admin", admin.map_or_else(|| "off".to_owned(), |admin| admin.to_string())),
            ("access", matches!(name, "logging" | "auditing").to_string()),
            ("identify", if callers > 0 { "identify = [\"key\"]" } else { "" }.to_owned()),
            ("callers", callers::sections(callers, 0)),
            ("audit", if name == "auditing" { AUDIT } else { "" }.to_owned()),
            ("folder", folder.display().to_string()),
        ] {
            text = text.replace(&format!("{{{key}}}"), &value);
        }
        if name == "auditing" {
            text = text.replace("allow = \"everything\"", LIMITED);
        }
        let path = folder.join(format!("{name}.conf"));
        fs::write(&path, text).expect("written");
        let mut command = match name {
            "nginx" => {
                command("nginx", &["-p".as_ref(), folder.as_os_str(), "-c".as_ref(), path.as_os_str()])
            }
            "floor" => {
                let this = std::env::current_exe().expect("a program");
                let mut command = command(this.to_str().expect("a path"), &["--floor".as_ref()]);
                command.args([plain, tls, origin.plain, origin.tls].map(|address| address.to_string()));
                command.arg(&origin.authority);
                command
            }
            "haproxy" => command("haproxy", &["-db".as_ref(), "-f".as_ref(), path.as_os_str()]),
            _ => {
                let mut command = Command::new(proxy);
                command.args(["--config".as_ref(), path.as_os_str()]);
                command
                    .env("OSS_ACCESS_KEY_ID", "LTAI5tBenchKeyId")
                    .env("OSS_ACCESS_KEY_SECRET", "bench-secret");
                command
            }
        };
        command.stderr(File::create(folder.join(format!("{name}.log"))).expect("a log"));
        let begun = Instant::now();
        let process = Process::start(&mut command);
        while TcpStream::connect(plain).is_err() {
            let waited = begun.elapsed();
            let log = || fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
            assert!(waited < Duration::from_secs(10), "{name} does not listen: {}", log());
            std::thread::sleep(Duration::from_micros(500));
        }
        let ready_ms = begun.elapsed().as_secs_f64() * 1e3;
        Self { name, process, plain, tls, admin, ready_ms, callers }
    }
}

fn command(program: &str, arguments: &[&std::ffi::OsStr]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port")
}

/// The maximum number of callers that send requests in a run.
const ACTIVE_CALLERS_MAX: usize = 1000;
