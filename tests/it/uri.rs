//! Credentials from a URI: requested over HTTP on this machine, with the content of a file as
//! Authorization.

use std::fs;

use crate::support::{KEY, SECRET, STS_ID, Script, Served, TOKEN, ask, eventually, oss, proxy, run};

/// Starts a service that returns the temporary credentials which the emulated OSS knows.
fn service() -> Script {
    let body = format!(
        "{{\"Code\":\"Success\",\"AccessKeyId\":\"{STS_ID}\",\"AccessKeySecret\":\"{SECRET}\",\"SecurityToken\":\"{TOKEN}\",\"Expiration\":\"2999-01-01T00:00:00Z\"}}"
    );
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    Script::answering(answer.leak())
}

#[test]
fn a_uri_gives_what_signs_and_gets_its_authorization() {
    let (oss, service) = (oss(), service());
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, "Bearer planted-authorization\n").expect("written");
    let lines = format!(
        "type = \"uri\"\nurl = \"http://{}/keys?of=app\"\nauthorization_file = {:?}",
        service.address,
        file.path()
    );
    let proxy = proxy(oss.address).credentials(&lines).start();
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
    let head = service.heads().remove(0).to_ascii_lowercase();
    assert!(head.starts_with("get /keys?of=app http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer planted-authorization\r\n"), "{head}");
}

#[test]
fn a_bearer_token_alone_is_sent_and_read_for_each_request() {
    let (oss, service) = (oss(), service());
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, "Bearer planted-token\n").expect("written");
    let lines = format!(
        "type = \"uri\"\nurl = \"http://{}/\"\nbearer_token_file = {:?}",
        service.address,
        file.path()
    );
    let proxy = proxy(oss.address).credentials(&lines).start();
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 503, "that is no token");
    let told = ask(proxy.admin, "GET", "/credentials", b"").text();
    assert!(told.contains("must hold one token") && !told.contains("planted-token"), "{told}");
    assert!(service.heads().is_empty());
    // Kubernetes writes no line break.
    fs::write(&file, "planted-token").expect("written");
    eventually("the token is sent", || ask(proxy.address, "PUT", "/photos/k", b"v").status == 200);
    let head = service.heads().remove(0).to_ascii_lowercase();
    assert!(head.contains("authorization: bearer planted-token\r\n"), "{head}");
}

#[test]
fn the_chain_finds_a_uri_in_the_environment_after_a_key() {
    let (oss, service) = (oss(), service());
    let url = format!("http://{}/", service.address);
    let variable = ("ALIBABA_CLOUD_CREDENTIALS_URI", url.as_str());
    let served = Served::start(oss.address, &[], &[variable]);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
    assert_eq!(service.heads().len(), 1);
    drop(served);
    let served = Served::start(oss.address, &[], &[&KEY[..], &[variable]].concat());
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
    assert_eq!(service.heads().len(), 1, "the key goes first");
}

#[test]
fn a_uri_that_redirects_is_not_followed_and_one_that_breaks_heals() {
    let oss = oss();
    let elsewhere = service();
    let location =
        format!("HTTP/1.1 302 Found\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n", elsewhere.address);
    let service = Script::answering(location.leak());
    let lines = |service: &Script| format!("type = \"uri\"\nurl = \"http://{}/\"", service.address);
    let redirected = proxy(oss.address).credentials(&lines(&service)).start();
    let answer = ask(redirected.address, "GET", "/photos/k", b"");
    assert_eq!((answer.status, answer.refused()), (503, Some("credentials-unavailable")));
    assert!(elsewhere.heads().is_empty());

    let down = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_down = std::sync::Arc::clone(&down);
    let good = elsewhere.address;
    let service = Script::start(move |peer| {
        let Some(head) = peer.head() else { return };
        if !is_down.load(std::sync::atomic::Ordering::Relaxed) {
            let mut client = crate::support::Client::connect(good);
            client.send(head);
            let answer = client.answer("GET").expect("an answer");
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.body.len()));
            peer.send(answer.body);
        }
    });
    let proxy = proxy(oss.address).credentials(&lines(&service)).start();
    assert_eq!(ask(proxy.address, "GET", "/photos/k", b"").status, 503);
    down.store(false, std::sync::atomic::Ordering::Relaxed);
    eventually("it is asked again", || ask(proxy.address, "PUT", "/photos/k", b"v").status == 200);
}

#[test]
fn a_uri_that_would_give_credentials_away_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    for (url, words) in [
        ("http://keys.example.com/", "unencrypted"),
        ("http://10.0.0.5/", "allowed_addresses"),
        ("ftp://127.0.0.1/", "is not a valid URL"),
        ("https://u:p@keys.example.com/", "contains an @"),
    ] {
        let text = format!(
            "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\ntype = \"uri\"\nurl = \"{url}\""
        );
        fs::write(path, text).expect("written");
        let (code, _, errors) = run(&["check", "--config", path], &[]);
        assert_eq!(code, Some(78), "{url}: {errors}");
        assert!(errors.contains(words) && !errors.contains("u:p"), "{url}: {errors}");
    }
}

#[test]
fn an_address_that_is_listed_is_asked_without_tls_and_no_other() {
    let (oss, service) = (oss(), service());
    // The address leads to this machine, but is not a loopback address.
    let url = format!("http://0.0.0.0:{}/keys", service.address.port());
    let lines = format!("type = \"uri\"\nurl = \"{url}\"\nallowed_addresses = [\"10.0.0.5\", \"0.0.0.0\"]");
    let proxy = proxy(oss.address).credentials(&lines).start();
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
    assert_eq!(service.heads().len(), 1);

    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    for (url, allowed, words) in [
        ("http://10.0.0.6/", "[\"10.0.0.5\"]", "unencrypted"),
        ("http://keys.example.com/", "[\"10.0.0.5\"]", "unencrypted"),
        ("http://10.0.0.5/", "[]", "unencrypted"),
        ("http://10.0.0.5/", "[\"10.0.0.0/8\"]", "invalid IP address"),
        ("http://10.0.0.5/", "[\"10.0.0.5:80\"]", "invalid IP address"),
        ("http://10.0.0.5/", "\"10.0.0.5\"", "must be a list of strings"),
    ] {
        let text = format!(
            "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\ntype = \"uri\"\nurl = \"{url}\"\n\
             allowed_addresses = {allowed}"
        );
        fs::write(path, text).expect("written");
        let (code, _, errors) = run(&["check", "--config", path], &[]);
        assert_eq!(code, Some(78), "{url} {allowed}: {errors}");
        assert!(errors.contains(words), "{url} {allowed}: {errors}");
    }
}
