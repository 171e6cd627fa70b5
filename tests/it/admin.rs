//! The admin listener: health and version, for this machine alone.

use crate::support::{Client, ask, oss, proxy};

#[test]
fn health_and_version_are_told() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    for path in ["/livez", "/readyz", "/version"] {
        assert_eq!(ask(proxy.admin, "GET", path, b"").status, 200, "{path}");
    }
    assert!(ask(proxy.admin, "GET", "/version", b"").text().contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(ask(proxy.admin, "GET", "/metrics", b"").status, 404);
    assert_eq!(ask(proxy.admin, "POST", "/readyz", b"").status, 405);
}

#[test]
fn names_and_web_pages_are_kept_out() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let mut client = Client::connect(proxy.admin);
    assert_eq!(client.ask("GET", "/readyz", "evil.example", "", b"").status, 421);
    let own = proxy.admin.to_string();
    assert_eq!(client.ask("GET", "/readyz", &own, "Origin: http://evil.example\r\n", b"").status, 403);
    assert_eq!(client.ask("GET", "/readyz", &own, "Sec-Fetch-Site: cross-site\r\n", b"").status, 403);
}

#[test]
fn a_proxy_without_credentials_serves_503_and_is_not_ready() {
    let oss = oss();
    let proxy = proxy(oss.address).credentials("type = \"env\"").start();
    let health = ask(proxy.admin, "GET", "/readyz", b"");
    assert_eq!(health.status, 503, "{}", health.text());
    assert_eq!(ask(proxy.admin, "GET", "/livez", b"").status, 200);
    let answer = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!((answer.status, answer.refused()), (503, Some("credentials-unavailable")));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(oss.journal.count(), 0, "nothing is sent unsigned");
}

#[test]
fn the_data_port_has_no_paths_of_its_own() {
    let oss = oss();
    let proxy = proxy(oss.address).upstream("bucket = \"photos\"").start();
    for path in ["/livez", "/readyz", "/version", "/metrics", "/-/reload"] {
        assert_eq!(ask(proxy.address, "PUT", path, path.as_bytes()).status, 200);
        assert_eq!(ask(proxy.address, "GET", path, b"").text(), path);
    }
}
