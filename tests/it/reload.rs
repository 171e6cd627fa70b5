//! Reloads: a new configuration is applied as a whole or not at all, without losing a request or a
//! connection.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::{Client, ID, KEY, SECRET, Served, ask, eventually, oss};

const READ_ONLY: &str = "[[listen]]\nread_only = true\n";

#[test]
fn the_next_request_of_the_same_connection_comes_under_the_new_configuration() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    let mut client = Client::connect(served.address);
    let host = served.address.to_string();
    assert_eq!(client.ask("PUT", "/photos/k", &host, "", b"1").status, 200);
    served.rewrite(oss.address, READ_ONLY);
    let (status, told) = served.reload();
    assert_eq!((status, told.contains("listen[0].read_only = true was false")), (200, true), "{told}");
    let refused = client.ask("PUT", "/photos/k", &host, "", b"2");
    assert_eq!((refused.status, refused.refused()), (403, Some("denied")));
    assert_eq!(client.ask("GET", "/photos/k", &host, "", b"").text(), "1");
    // A signal reloads too.
    served.rewrite(oss.address, "");
    served.signal("HUP");
    eventually("it may write again", || client.ask("PUT", "/photos/k", &host, "", b"3").status == 200);
    // A change of the file alone reloads too.
    served.rewrite(oss.address, READ_ONLY);
    eventually("the file was looked at", || {
        client.ask("PUT", "/photos/other", &host, "", b"4").status == 403
    });
    assert_eq!(ask(served.address, "GET", "/photos/k", b"").text(), "3");
}

#[test]
fn a_configuration_with_a_mistake_changes_nothing_and_is_told() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    let role =
        "[credentials.default]\ntype = \"static\"\naccess_key_id = \"LTAI\"\naccess_key_secret = \"LTAI\"\n";
    let nobody = "[credentials.default]\ntype = \"uri\"\nurl = \"http://127.0.0.1:9/none\"\n";
    for (sections, word) in [
        ("[limits]\nbodyy = 1\n", "did you mean body"),
        ("[[listen]]\nread_only = true\ntls = { cert_file = \"/none\", key_file = \"/none\" }\n", "/none"),
        (role, "access"),
        (nobody, "127.0.0.1:9"),
        ("this is no TOML", "key"),
    ] {
        served.rewrite(oss.address, sections);
        let (status, told) = served.reload();
        assert!(
            status == 400 && told.contains("keeping the current configuration") && told.contains(word),
            "{sections}: {told}"
        );
        assert_eq!(ask(served.address, "PUT", "/photos/k", b"1").status, 200, "{sections}");
    }
    let metrics = ask(served.admin(), "GET", "/metrics", b"").text();
    for line in
        ["oss_proxy_config_reload_total{result=\"refused\"} 5", "oss_proxy_config_last_reload_successful 0"]
    {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    served.rewrite(oss.address, "");
    assert_eq!(served.reload(), (200, "reloaded; no changes\n".to_owned()));
    served.signal("TERM");
    let (code, log) = served.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("reload failed; keeping the current configuration"), "{log}");
    assert!(!log.contains(SECRET));
}

#[test]
fn routes_limits_and_credentials_are_taken_and_sources_that_stay_are_kept() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    let credentials = |served: &Served| -> Value {
        serde_json::from_str(&ask(served.admin(), "GET", "/credentials", b"").text()).expect("json")
    };
    let generation = credentials(&served)[0]["generation"].clone();
    let route = format!(
        "[[route]]\nmatch = {{ bucket = \"files\" }}\ncredentials = \"other\"\n[credentials.default]\ntype = \"chain\"\n\
         [credentials.other]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"not-the-secret\"\n[limits]\nbody = \"4B\"\n"
    );
    served.rewrite(oss.address, &route);
    let (status, told) = served.reload();
    assert_eq!(status, 200, "{told}");
    assert!(!told.contains("not-the-secret") && told.contains("limits.body = \"4B\""), "{told}");
    // The previous provider was not called again.
    assert_eq!(credentials(&served)[0]["generation"], generation);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"1234").status, 200);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"12345").refused(), Some("too-large"));
    let answer = ask(served.address, "PUT", "/files/k", b"1");
    assert!(answer.status == 403 && answer.text().contains("SignatureDoesNotMatch"), "{}", answer.text());
}

#[test]
fn listeners_come_and_go_and_what_came_through_one_that_is_gone_ends() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("more.sock");
    let both = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"unix:{}\"\nread_only = true\n",
        path.display()
    );
    let admin = "[admin]\naddress = \"127.0.0.1:0\"\n";
    let file = directory.path().join("proxy.toml");
    let upstream = format!(
        "[upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{}\"\n",
        oss.address
    );
    let one = format!("[[listen]]\naddress = \"127.0.0.1:0\"\n{admin}{upstream}");
    std::fs::write(&file, &one).expect("written");
    let served = Served::of_file(&file, &KEY);
    assert!(!path.exists());
    std::fs::write(&file, format!("{both}{admin}{upstream}")).expect("written");
    assert_eq!(served.reload().0, 200);
    let mut unix = std::os::unix::net::UnixStream::connect(&path).expect("it listens");
    unix.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("a limit");
    unix.write_all(b"GET /photos?max-keys=1 HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut bytes = [0; 4096];
    let count = unix.read(&mut bytes).expect("an answer");
    assert!(bytes[..count].starts_with(b"HTTP/1.1 200"));
    // The connection survives a reload that keeps its listener.
    std::fs::write(&file, format!("{both}{admin}{upstream}[timeouts]\nstall = \"7s\"\n")).expect("written");
    assert_eq!(served.reload().0, 200);
    unix.write_all(b"GET /photos?max-keys=1 HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let count = unix.read(&mut bytes).expect("an answer");
    assert!(bytes[..count].starts_with(b"HTTP/1.1 200"));
    std::fs::write(&file, &one).expect("written");
    assert_eq!(served.reload().0, 200);
    eventually("its file is gone", || !path.exists());
    assert_eq!(unix.read(&mut bytes).expect("an end"), 0, "nobody is signed for through it any more");
    assert_eq!(
        ask(served.address, "PUT", "/photos/k", b"1").status,
        200,
        "the other listener stayed as it was"
    );
}

#[test]
fn certificates_are_read_again_when_their_files_change() {
    let (oss, authority) = (oss(), Authority::new());
    let files = authority.sign("listener", "localhost");
    let sections = format!("[[listen]]\n{}\n", Authority::listen(&files, ""));
    let served = Served::start_with(oss.address, &sections, &[], &KEY);
    let shown = || {
        let config = authority.client(&["http/1.1"], None);
        let name = "localhost".try_into().expect("a name");
        let mut connection = rustls::ClientConnection::new(config, name).expect("a client");
        let mut socket = std::net::TcpStream::connect(served.address).expect("a connection");
        connection.complete_io(&mut socket).expect("a handshake");
        connection.peer_certificates().expect("a certificate")[0].as_ref().to_vec()
    };
    let before = shown();
    authority.sign("listener", "localhost");
    eventually("another certificate is shown", || shown() != before);
}

#[test]
fn the_admin_listener_moves_and_its_token_changes() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("proxy.toml");
    let token = directory.path().join("token");
    std::fs::write(&token, "first\n").expect("written");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\ntoken = \"file:{}\"\n[upstream]\nregion = \"cn-hangzhou\"\n\
         endpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{}\"\n",
        token.display(),
        oss.address
    );
    std::fs::write(&file, &text).expect("written");
    let served = Served::of_file(&file, &KEY);
    let with = |to: SocketAddr, token: &str, method: &str, path: &str| {
        let header = format!("Authorization: Bearer {token}\r\n");
        Client::connect(to).ask(method, path, &to.to_string(), &header, b"").status
    };
    std::fs::write(&token, "second\n").expect("written");
    assert_eq!(with(served.admin(), "first", "POST", "/-/reload"), 200);
    assert_eq!(with(served.admin(), "first", "GET", "/config"), 401);
    assert_eq!(with(served.admin(), "second", "GET", "/config"), 200);
    std::fs::write(&file, text.replace("[admin]\naddress = \"127.0.0.1:0\"", "[admin]\naddress = \"off\""))
        .expect("written");
    assert_eq!(with(served.admin(), "second", "POST", "/-/reload"), 200);
    let admin = served.admin();
    eventually("nobody listens there", || std::net::TcpStream::connect(admin).is_err());
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"1").status, 200);
}
