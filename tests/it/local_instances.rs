//! Local instances: proxies that fetch keys from a central one with their own identity, and pass
//! them on.

use std::fs;

use rcgen::ExtendedKeyUsagePurpose;
use serde_json::Value;

use crate::handed_out::{self, GivenKey, MASTER, TOKEN_A, VERSIONS};
use crate::run::{file, shell, with};
use crate::support::certificates::{Authority, Files};
use crate::support::{ID, Proxy, Served, ask, eventually, oss, proxy};

/// Issues a certificate for clients.
fn client(authority: &Authority, stem: &str) -> Files {
    authority.sign_with(stem, &format!("{stem}.example"), |parameters| {
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    })
}

/// Starts a proxy that hands out keys to the certificate of team-a.
fn central(authority: &Authority, upstream: std::net::SocketAddr) -> Proxy {
    let files = authority.sign("listener", "localhost");
    let tls = Authority::listen(&files, &format!(", client_ca_file = {:?}", authority.file()));
    let sections = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nserve = \"credentials\"\nidentify = [\"certificate\"]\n{tls}\n\
         [hand_out]\nmaster = [\"{MASTER}\"]\n\
         [[caller]]\nname = \"team-a\"\nallow = \"everything\"\ncertificate = {{ dns = \"team-a.example\" }}\n"
    );
    proxy(upstream).listen("identify = [\"key\"]").sections(&sections).start()
}

#[test]
fn a_client_certificate_fetches_keys_and_is_read_for_each_request() {
    let (authority, oss) = (Authority::new(), oss());
    let central = central(&authority, oss.address);
    let [own, stranger] = ["team-a", "team-b"].map(|stem| client(&authority, stem));
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files { certificate: folder.path().join("own.pem"), key: folder.path().join("own-key.pem") };
    let put = |pair: &Files| {
        fs::copy(&pair.key, &files.key).expect("copied");
        fs::copy(&pair.certificate, &files.certificate).expect("copied");
    };
    let fetch = format!(
        "[credentials.default]\ntype = \"uri\"\nurl = \"https://localhost:{}/credentials\"\n\
         client_cert_file = {:?}\nclient_key_file = {:?}\n",
        central.listeners[1].port(),
        files.certificate,
        files.key
    );
    let authorities = authority.file();
    let environment = [("SSL_CERT_FILE", authorities.to_str().expect("a path"))];
    let start = || Served::start_with(central.address, &fetch, &[], &environment);
    let write = |served: &Served| ask(served.address, "PUT", "/photos/k", b"v").status;

    put(&stranger);
    let served = start();
    assert_eq!(write(&served), 503, "it is the certificate of no caller");
    put(&own);
    // The change is noticed at once, although the service has denied the earlier request.
    eventually("the new certificate is used", || write(&served) == 200);
    assert!(oss.recorder.count() > 0, "the request has reached OSS");
    drop(served);

    fs::copy(&stranger.key, &files.key).expect("copied");
    let served = start();
    assert_eq!(write(&served), 503);
    let told = ask(served.admin(), "GET", "/credentials", b"").text();
    assert!(told.contains("own.pem") && told.contains("must belong together"), "{told}");
    assert!(!told.contains(ID), "{told}");
}

/// Returns the key in a document that a command has printed.
fn key_in(line: &str, secret: &str, token: &str) -> GivenKey {
    let document: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let part = |name: &str| document[name].as_str().expect(name).to_owned();
    GivenKey { id: part("AccessKeyId"), secret: part(secret), token: part(token) }
}

#[test]
fn the_command_of_run_gets_keys_by_a_bare_request() {
    let oss = oss();
    let central = handed_out::central(oss.address, MASTER);
    let token = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&token, TOKEN_A).expect("written");
    let fetch = format!(
        "[credentials.default]\ntype = \"uri\"\nurl = \"http://{}/credentials\"\nbearer_token_file = {:?}\n",
        central.listeners[1],
        token.path()
    );
    let get = "curl -sS -f $ALIBABA_CLOUD_CREDENTIALS_URI && echo && curl -sS -f $AWS_CONTAINER_CREDENTIALS_FULL_URI \
               && echo && curl -sS -f -T /etc/passwd $OSS_ENDPOINT/photos/k; env | grep -c AWS_CONTAINER";
    let passing = file(central.address, &format!("{fetch}[hand_out]\ncredentials = \"default\"\n"));
    for flags in [&[][..], &["--forward"]] {
        let mut run = with(&passing, flags);
        // Variables of AWS that would go before the address of the keys, or send a token to it.
        for name in ["CREDENTIALS_RELATIVE_URI", "AUTHORIZATION_TOKEN", "AUTHORIZATION_TOKEN_FILE"] {
            run.env(format!("AWS_CONTAINER_{name}"), "/none");
        }
        run.env("http_proxy", "http://127.0.0.1:1");
        let (code, out, err) = shell(run, get);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!((code, lines.len(), lines.last()), (Some(0), 3, Some(&"1")), "{out}{err}");
        let keys = [
            key_in(lines[0], "AccessKeySecret", "SecurityToken"),
            key_in(lines[1], "SecretAccessKey", "Token"),
        ];
        for version in VERSIONS {
            assert!(keys.iter().all(|key| key.send("GET", version, central.address).status == 200));
        }
    }
    // Nothing is passed on unless the configuration says so.
    let (_, out, err) = shell(with(&file(central.address, &fetch), &[]), "env");
    assert!(out.contains("OSS_ENDPOINT=") && !out.contains("CREDENTIALS"), "{out}{err}");
}
