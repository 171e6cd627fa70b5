//! Callers by the identities of their connections: client certificates on TLS listeners, and users on
//! Unix sockets.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::time::Clock as _;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, SanType, SerialNumber, date_time_ymd};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};

use crate::callers::Asked;
use crate::support::certificates::{Authority, Files};
use crate::support::h2::{Connection, play, request};
use crate::support::{KEY, Served, oss, program, proxy, run};

/// Callers with certificates, of which two also have keys.
const CALLERS: &str = "
    [[caller]]
    name = \"team-a\"
    allow = \"everything\"
    certificate = { dns = \"team-a.example\" }
    key = [{ id = \"team-a-1\", secret = \"TeamAPlantedSecretOf30Letters0\" }]
    [[caller]]
    name = \"team-b\"
    allow = \"read\"
    certificate = { uri = \"spiffe://example.org/team-b\" }
    key = [{ id = \"team-b-1\", secret = \"TeamBPlantedSecretOf30Letters0\" }]
    [[caller]]
    name = \"team-c\"
    allow = \"read\"
    certificate = { subject = \"CN=team-c,O=Example\" }
";

/// A TLS connection for several requests.
struct TlsClient(StreamOwned<ClientConnection, TcpStream>);

/// A response to HEAD.
#[derive(Debug, PartialEq, Eq)]
struct HeadAnswer {
    status: u16,
    error: Option<String>,
}

impl HeadAnswer {
    /// The response of OSS for the object, which does not exist.
    const SERVED: Self = Self { status: 404, error: None };

    fn rejected(status: u16, error: &str) -> Self {
        Self { status, error: Some(error.to_owned()) }
    }
}

impl TlsClient {
    fn connect(to: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(to).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        let name = "localhost".try_into().expect("a name");
        Self(StreamOwned::new(ClientConnection::new(config, name).expect("a client"), stream))
    }

    /// Sends a request with these header lines; `None` if the connection ends without a response.
    fn ask(&mut self, lines: &str) -> Option<HeadAnswer> {
        let head = format!("HEAD /photos/none HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
        self.0.write_all(head.as_bytes()).ok()?;
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut some = [0; 4096];
            let count = self.0.read(&mut some).ok().filter(|count| *count > 0)?;
            bytes.extend_from_slice(&some[..count]);
        }
        let text = String::from_utf8(bytes).expect("text");
        let error = text.lines().find_map(|line| line.strip_prefix("x-proxy-error: "));
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Some(HeadAnswer { status, error: error.map(str::to_owned) })
    }
}

/// Issues a certificate for clients.
fn client(authority: &Authority, stem: &str, change: impl FnOnce(&mut CertificateParams)) -> Files {
    authority.sign_with(stem, "client", |parameters| {
        parameters.subject_alt_names.clear();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(parameters);
    })
}

fn dns(parameters: &mut CertificateParams, name: &str) {
    parameters.subject_alt_names.push(SanType::DnsName(name.try_into().expect("a name")));
}

fn uri(parameters: &mut CertificateParams, uri: &str) {
    parameters.subject_alt_names.push(SanType::URI(uri.try_into().expect("a URI")));
}

/// Returns the lines of a listener that accepts these identities, and certificates of `authority`.
fn listener(authority: &Authority, identify: &str, more: &str) -> String {
    let files = authority.sign("listener", "localhost");
    let asks = format!(", client_ca_file = {:?}{more}", authority.file());
    format!("identify = [{identify}]\n{}", Authority::listen(&files, &asks))
}

#[test]
fn a_client_certificate_identifies_its_caller() {
    let (authority, oss) = (Authority::new(), oss());
    let lines = listener(&authority, "\"certificate\"", "");
    let proxy = proxy(oss.address).listen(&lines).sections(CALLERS).start();
    let ask = |files: &Files, lines: &str| {
        TlsClient::connect(proxy.address, authority.client(&[], Some(files))).ask(lines)
    };
    let unknown = || Some(HeadAnswer::rejected(403, "no-identity"));
    let ambiguous = || Some(HeadAnswer::rejected(400, "malformed-signature"));
    let by_dns = client(&authority, "dns", |parameters| dns(parameters, "Team-A.example"));
    assert_eq!(ask(&by_dns, ""), Some(HeadAnswer::SERVED));
    let by_uri = client(&authority, "uri", |parameters| uri(parameters, "spiffe://example.org/team-b"));
    assert_eq!(ask(&by_uri, ""), Some(HeadAnswer::SERVED));
    let by_subject = client(&authority, "subject", |parameters| {
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::OrganizationName, "Example");
        parameters.distinguished_name.push(DnType::CommonName, "team-c");
    });
    assert_eq!(ask(&by_subject, ""), Some(HeadAnswer::SERVED));
    let two_uris = client(&authority, "uris", |parameters| {
        uri(parameters, "spiffe://example.org/team-b");
        uri(parameters, "spiffe://example.org/other");
    });
    assert_eq!(ask(&two_uris, ""), unknown());
    let two_callers = client(&authority, "callers", |parameters| {
        dns(parameters, "team-a.example");
        uri(parameters, "spiffe://example.org/team-b");
    });
    assert_eq!(ask(&two_callers, ""), ambiguous());
    let usage = |stem: &str, usages: &[ExtendedKeyUsagePurpose]| {
        client(&authority, stem, |parameters| {
            dns(parameters, "team-a.example");
            parameters.extended_key_usages = usages.to_vec();
        })
    };
    assert_eq!(ask(&usage("server", &[ExtendedKeyUsagePurpose::ServerAuth]), ""), None, "no handshake");
    assert_eq!(ask(&usage("any", &[]), ""), unknown(), "of no stated use");

    // Neither a proxy in front nor the client itself can name another certificate.
    let other = client(&authority, "other", |parameters| dns(parameters, "other.example"));
    for line in [
        "X-Forwarded-Client-Cert: By=spiffe://a/b;DNS=team-a.example;URI=spiffe://example.org/team-b\r\n",
        "X-SSL-Client-S-DN: CN=team-c,O=Example\r\nX-SSL-Client-Verify: SUCCESS\r\n",
        "Client-Cert: :MIIB:\r\n",
    ] {
        assert_eq!(ask(&other, line), unknown(), "{line}");
    }
}

#[test]
fn a_key_and_the_certificate_of_its_connection_are_of_one_caller() {
    let (authority, oss) = (Authority::new(), oss());
    let team_a = client(&authority, "dns", |parameters| dns(parameters, "team-a.example"));
    let other = client(&authority, "other", |parameters| dns(parameters, "other.example"));
    let signed = |id: &str, secret: &str| Asked { id, secret, ..Asked::new("HEAD", "none") }.lines();
    let of_a = signed("team-a-1", "TeamAPlantedSecretOf30Letters0");
    let of_b = signed("team-b-1", "TeamBPlantedSecretOf30Letters0");
    let wrong = signed("team-b-1", "another-secret-of-30-letters-0");
    let conflict = || Some(HeadAnswer::rejected(400, "malformed-signature"));
    let rows = [
        ("\"certificate\", \"key\"", &team_a, &of_a, Some(HeadAnswer::SERVED)),
        ("\"certificate\", \"key\"", &team_a, &of_b, conflict()),
        ("\"certificate\", \"key\"", &team_a, &wrong, conflict()),
        ("\"certificate\", \"key\"", &other, &of_b, Some(HeadAnswer::SERVED)),
        ("\"certificate\", \"key\"", &other, &wrong, Some(HeadAnswer::rejected(403, "bad-signature"))),
        // A listener for certificates accepts no signature, and one for keys no certificate.
        ("\"certificate\"", &team_a, &of_a, conflict()),
        ("\"key\"", &team_a, &of_b, Some(HeadAnswer::SERVED)),
    ];
    for (identify, files, lines, expected) in rows {
        let listener = listener(&authority, identify, "");
        let proxy = proxy(oss.address).listen(&listener).sections(CALLERS).start();
        let mut client = TlsClient::connect(proxy.address, authority.client(&[], Some(files)));
        assert_eq!(client.ask(lines), expected, "{identify}");
    }
}

#[test]
fn a_certificate_that_expires_is_rejected_on_open_and_resumed_connections() {
    let (authority, oss) = (Authority::new(), oss());
    let lines = listener(&authority, "\"certificate\"", "");
    let proxy = proxy(oss.address).listen(&lines).sections(CALLERS).start();
    let now = Duration::from_secs(SystemEnv.now().unix_s().unsigned_abs());
    let short = client(&authority, "short", |parameters| {
        dns(parameters, "team-a.example");
        parameters.not_after = date_time_ymd(1970, 1, 1) + now + Duration::from_secs(6);
    });
    let config = authority.client(&[], Some(&short));
    let mut open = TlsClient::connect(proxy.address, Arc::clone(&config));
    assert_eq!(open.ask(""), Some(HeadAnswer::SERVED));
    let deadline = Instant::now() + Duration::from_secs(30);
    let rejected = loop {
        assert!(Instant::now() < deadline, "it is still served");
        match open.ask("") {
            Some(HeadAnswer::SERVED) => std::thread::sleep(Duration::from_millis(100)),
            other => break other,
        }
    };
    assert_eq!(rejected, Some(HeadAnswer::rejected(403, "expired")));
    // TLS does not verify the certificate of a resumed session again.
    let mut resumed = TlsClient::connect(proxy.address, config);
    assert_eq!(resumed.ask(""), rejected);
    assert_eq!(resumed.0.conn.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_certificate_that_a_reload_revokes_is_never_served_again() {
    let (authority, oss) = (Authority::new(), oss());
    let lists = authority.directory().join("crl.pem");
    fs::write(&lists, authority.revocation_list(&[])).expect("written");
    let lines = listener(&authority, "\"certificate\"", &format!(", client_crl_file = {lists:?}"));
    let sections = format!("[[listen]]\n{lines}\n{CALLERS}");
    let served = Served::start_with(oss.address, &sections, &[], &KEY);
    let numbered = |stem: &str, serial: u64| {
        client(&authority, stem, |parameters| {
            parameters.serial_number = Some(SerialNumber::from(serial));
            dns(parameters, "team-a.example");
        })
    };
    let (good, bad) = (numbered("good", 8), numbered("bad", 7));
    let connect = |files: &Files| TlsClient::connect(served.address, authority.client(&[], Some(files)));
    let (mut of_bad, mut of_good) = (connect(&bad), connect(&good));
    for open in [&mut of_bad, &mut of_good] {
        assert_eq!(open.ask(""), Some(HeadAnswer::SERVED));
    }
    play(async {
        let over_h2 = async |files: &Files| {
            let stream = tokio::net::TcpStream::connect(served.address).await.expect("connected");
            let name = "localhost".try_into().expect("a name");
            let connector = tokio_rustls::TlsConnector::from(authority.client(&["h2"], Some(files)));
            Connection::open(connector.connect(name, stream).await.expect("TLS")).await
        };
        let (of_bad, of_good) = (over_h2(&bad).await, over_h2(&good).await);
        let asked = || request("GET", "https://localhost/photos/none");
        for connection in [&of_bad, &of_good] {
            assert_eq!(connection.ask(asked(), b"").await.status, 404);
        }
        fs::write(&lists, authority.revocation_list(&[7])).expect("written");
        assert_eq!(served.reload().0, 200);
        assert_eq!(of_good.ask(asked(), b"").await.status, 404);
        // The other connection is about to end, and may still take a request.
        if let Some((response, mut body)) = of_bad.try_begin(asked()).await
            && body.send_data(bytes::Bytes::new(), true).is_ok()
            && let Ok(response) = response.await
        {
            assert_eq!(response.status(), 403);
        }
    });
    assert_ne!(of_bad.ask(""), Some(HeadAnswer::SERVED));
    assert_eq!(of_good.ask(""), Some(HeadAnswer::SERVED), "the same connection");
    assert_eq!(connect(&bad).ask(""), None);
    assert_eq!(connect(&good).ask(""), Some(HeadAnswer::SERVED));
}

#[test]
fn the_user_of_a_unix_socket_identifies_its_caller() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("oss.sock");
    let own = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    let name = nix::unistd::User::from_uid(own.into()).expect("a database").expect("a user").name;
    for (identity, status) in [
        (format!("uid = {own}"), "404"),
        (format!("gid = {group}"), "404"),
        (format!("user = {name:?}"), "404"),
        (format!("uid = {}", own + 1), "403"),
        (format!("gid = {}", group + 1), "403"),
    ] {
        let sections = format!(
            "[[listen]]\naddress = \"unix:{}\"\nidentify = [\"uid\"]\n\
             [[caller]]\nname = \"local\"\nallow = \"read\"\n{identity}\n",
            socket.display()
        );
        let proxy = proxy(oss.address).listen("identify = [\"key\"]").sections(&sections).start();
        let got = ask_at(&socket, "GET", "/photos/none");
        assert!(got.starts_with(&format!("HTTP/1.1 {status}")), "{identity}: {got}");
        let written = ask_at(&socket, "PUT", "/photos/none");
        assert!(written.starts_with("HTTP/1.1 403"), "it may only read: {written}");
        drop(proxy);
    }
}

/// Sends a request without a body to a Unix socket, and returns the response.
fn ask_at(socket: &Path, method: &str, target: &str) -> String {
    let mut stream = UnixStream::connect(socket).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    let head = "Host: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    write!(stream, "{method} {target} HTTP/1.1\r\n{head}").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn check_and_explain_show_the_identities_of_connections() {
    let authority = Authority::new();
    let own = rustix::process::geteuid().as_raw();
    let lines = listener(&authority, "\"certificate\"", "");
    let text = format!(
        "[[listen]]\naddress = \"unix:{}\"\nidentify = [\"uid\"]\n[[listen]]\naddress = \"127.0.0.1:18772\"\n{lines}\n\
         {CALLERS}\n[[caller]]\nname = \"local\"\nallow = \"read\"\nuid = {own}\n\
         [admin]\naddress = \"off\"\n[upstream]\nregion = \"cn-hangzhou\"\n",
        authority.directory().join("oss.sock").display()
    );
    let file = authority.directory().join("proxy.toml");
    fs::write(&file, text).expect("written");
    let path = file.to_str().expect("a path");
    let (code, out, errors) = run(&["check", "--config", path], &KEY);
    assert_eq!(code, Some(0), "{errors}");
    for line in [
        "caller     team-a allow everything keys team-a-1 certificate dns team-a.example".to_owned(),
        "caller     team-c allow read keys - certificate subject CN=team-c,O=Example".to_owned(),
        format!("caller     local allow read keys - uid {own}"),
    ] {
        let line = format!("{line} ({path}:");
        assert!(out.lines().any(|shown| shown.starts_with(&line)), "{line}: {out}");
    }
    let explain = |url: &str, more: &[&str]| {
        let arguments = [&["explain", "GET", url, "--config", path], more].concat();
        let output = program(&arguments).envs(KEY).output().expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let out = explain("/photos/k", &[]);
    assert!(
        out.contains(&format!("caller      local ({path}:"))
            && out.contains(&format!("client      uid {own}, ")),
        "{out}"
    );
    let tls = "https://127.0.0.1:18772/photos/k";
    let out = explain(tls, &[]);
    assert!(out.contains("client      without a certificate; give one"), "{out}");
    assert!(out.contains("neither the client certificate nor the user"), "{out}");
    let own = client(&authority, "client", |parameters| {
        dns(parameters, "Team-A.example");
        parameters.not_after = date_time_ymd(2100, 1, 1);
    });
    let own = own.certificate.to_str().expect("a path");
    let out = explain(tls, &["--client-certificate", own]);
    assert!(out.contains("client      certificate dns team-a.example, subject CN=rcgen"), "{out}");
    assert!(out.contains(", until 2100-01-01T00:00:00Z\n") && out.contains("caller      team-a ("), "{out}");
    let for_servers = authority.sign("server", "team-a.example");
    let for_servers = for_servers.certificate.to_str().expect("a path");
    let out = explain(tls, &["--client-certificate", for_servers]);
    assert!(out.contains("not for clients (clientAuth)"), "{out}");
    assert!(out.contains("issue one with the extended key usage clientAuth"), "{out}");
    let arguments = ["explain", "GET", tls, "--config", path, "--client-certificate", path];
    let (code, _, errors) = run(&arguments, &KEY);
    assert!(code == Some(2) && errors.contains("it must be a PEM file"), "{code:?} {errors}");
}
