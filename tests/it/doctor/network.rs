//! `doctor` and the network: DNS, connections, certificates, and servers that are not OSS.

use std::net::TcpListener;

use oss_signing_proxy::emulator::InjectedFault;

use super::{at, doctor, with_fault};
use crate::dialling::{tls_before, tls_lines};
use crate::support::{KEY, Script, oss, proxy};

#[test]
fn an_endpoint_where_nobody_listens_or_answers_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    doctor(&at(free), &[], &KEY).says(69, ("connect", "refused"), &["nothing listens"]);
    // Accepted by the kernel, and never answered.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let timeouts = "[timeouts]\nconnect = \"300ms\"\nfirst_byte = \"300ms\"\n";
    doctor(&format!("{}{timeouts}", at(address)), &[], &KEY).says(
        69,
        ("connect", "no-answer"),
        &["no progress for 300ms"],
    );
    let tls = at(address).replace("http:", "https:");
    doctor(&format!("{tls}{timeouts}"), &[], &KEY).says(69, ("connect", "tls-silent"), &["within 300ms"]);
    let closing = Script::start(|peer| drop(peer.head()));
    doctor(&at(closing.address), &[], &KEY).says(69, ("connect", "no-http"), &["before the response"]);
}

#[test]
fn a_name_that_does_not_resolve_is_told() {
    // A label longer than DNS permits, so no resolver is queried.
    let name = format!("{}.test", "a".repeat(64));
    let config = at(([127, 0, 0, 1], 1).into()).replace("127.0.0.1:1", &format!("{name}:1"));
    doctor(&config, &[], &KEY).says(
        69,
        ("dns", "unresolved"),
        &[&name, "does not resolve", "DNS configuration"],
    );
}

#[test]
fn a_certificate_that_is_not_to_be_believed_is_told_with_the_reason() {
    let oss = oss();
    let region = "[upstream]\nregion = \"cn-hangzhou\"\n";
    let (address, authority) = tls_before(&oss, &["oss-cn-hangzhou.aliyuncs.com"]);
    let good = doctor(&format!("{region}{}", tls_lines(address, &authority)), &[], &KEY);
    assert_eq!((good.code, good.fault("upstream", "connect")), (0, "ok"), "{}", good.lines);

    // This host trusts no issuer of the certificate. The authority file has the same name and
    // another key.
    let lines = tls_lines(address, &authority);
    let without = lines.split_once("ca_file").expect("a file").0;
    doctor(&format!("{region}{without}"), &[], &KEY).says(69, ("connect", "unknown-issuer"), &["--ca-file"]);
    let (_, other) = tls_before(&oss, &["oss-cn-hangzhou.aliyuncs.com"]);
    doctor(&format!("{region}{}", tls_lines(address, &other)), &[], &KEY).says(
        69,
        ("connect", "unknown-issuer"),
        &["ca_file"],
    );
    let (address, authority) = tls_before(&oss, &["files.example.test"]);
    doctor(&format!("{region}{}", tls_lines(address, &authority)), &[], &KEY).says(
        69,
        ("connect", "wrong-name"),
        &["is not valid for oss-cn-hangzhou.aliyuncs.com"],
    );
    // Plain HTTP where TLS is expected, and the reverse.
    let plain = at(oss.address).replace("http:", "https:");
    doctor(&plain, &[], &KEY).says(69, ("connect", "tls"), &["http://"]);
    doctor(&at(address), &[], &KEY).says(69, ("connect", "no-http"), &["https://"]);
}

#[test]
fn an_authority_file_that_cannot_be_used_is_a_mistake_of_the_configuration() {
    let oss = oss();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let lines = tls_lines(oss.address, &file);
    let seen = doctor(&format!("[upstream]\nregion = \"cn-hangzhou\"\n{lines}"), &[], &KEY);
    assert_eq!(seen.code, 78, "{}", seen.lines);
    assert!(seen.lines.contains("no certificate"), "{}", seen.lines);
}

#[test]
fn a_proxy_in_the_place_of_oss_is_told_with_what_it_refuses() {
    let oss = oss();
    let other = proxy(oss.address).start();
    // A proxy that knows the name would sign again. One that does not know it rejects the Host.
    doctor(&at(other.address), &[], &KEY).says(78, ("answer", "not-oss"), &["a proxy like this one"]);
    let strange = at(other.address).replace("oss-cn-hangzhou.aliyuncs.com", "strange.example");
    doctor(&strange, &[], &KEY).says(78, ("answer", "not-oss"), &["unknown-host"]);
    // A server that is not OSS is reported. The signed request is sent nevertheless, as the proxy
    // would send it. Its response is not evaluated.
    for answer in [
        "HTTP/1.1 200 OK\r\nServer: web\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
    ] {
        let web = Script::answering(answer);
        let seen = doctor(&at(web.address), &[], &KEY);
        assert_eq!(seen.fault("upstream", "answer"), "not-oss", "{}", seen.lines);
        seen.says(78, ("signed", "not-oss"), &["is not from OSS"]);
    }
}

#[test]
fn an_endpoint_that_leads_back_here_is_told() {
    let config = "[[listen]]\naddress = \"127.0.0.1:8770\"\n[upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"http://127.0.0.1:8770\"\n";
    let seen = doctor(config, &[], &KEY);
    assert_eq!((seen.code, seen.fault("configuration", "read")), (78, "configuration"), "{}", seen.lines);
    assert!(seen.lines.contains("127.0.0.1:8770"), "{}", seen.lines);
    // In this form, only the resolved address reveals the loop.
    let config = config.replace("http://127.0.0.1:8770", "http://127.1:8770");
    let seen = doctor(&config, &[], &KEY);
    assert_eq!(seen.code, 78, "{}", seen.lines);
}

#[test]
fn an_oss_in_trouble_is_unavailable() {
    let fault = InjectedFault::Status { status: 503, code: "SlowDown".to_owned() };
    with_fault(fault, &KEY).says(69, ("answer", "server-error"), &["503 SlowDown"]);
}
