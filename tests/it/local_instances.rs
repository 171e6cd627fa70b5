//! Local instances: proxies that fetch keys from a central one with their own identity, and pass
//! them on.

use std::fs;

use rcgen::ExtendedKeyUsagePurpose;

use crate::support::certificates::{Authority, Files};
use crate::support::{ID, Proxy, Served, ask, eventually, oss, proxy};

const MASTER: &str = "PlantedMasterOf40LettersAndDigits0123456";

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
