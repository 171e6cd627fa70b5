//! The admin listener: health, version, metrics and the states of credentials, for the local
//! machine only.

use oss_signing_proxy::emulator::issuer::CredentialIssuer;

use crate::support::{Client, ID, KEY, SECRET, Served, ask, oss, proxy};

#[test]
fn health_and_version_are_told() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    for path in ["/livez", "/readyz", "/startupz", "/version"] {
        assert_eq!(ask(proxy.admin, "GET", path, b"").status, 200, "{path}");
    }
    assert!(ask(proxy.admin, "GET", "/version", b"").text().contains(env!("CARGO_PKG_VERSION")));
    assert_eq!(ask(proxy.admin, "GET", "/nothing", b"").status, 404);
    assert_eq!(ask(proxy.admin, "POST", "/readyz", b"").status, 405);
}

#[test]
fn names_and_web_pages_are_kept_out_of_every_page() {
    let oss = oss();
    let served = Served::start_with(oss.address, "[admin]\nquit = true\n", &[], &KEY);
    let own = served.admin().to_string();
    let port = served.admin().port();
    let rebound = format!("evil.example:{port}");
    let evil = [
        (own.as_str(), "Origin: http://evil.example\r\n", 403),
        (&own, "Origin: null\r\n", 403),
        // A page on another port of this machine is another site too.
        (&own, "Origin: http://127.0.0.1:3000\r\n", 403),
        (&own, "Sec-Fetch-Site: cross-site\r\n", 403),
        ("evil.example", "", 421),
        (&rebound, "", 421),
        ("127.0.0.1.evil.example", "", 421),
        ("localhost.evil.example", "", 421),
        // After DNS rebinding, a page is same-origin with the name in its Host.
        (&rebound, "Sec-Fetch-Site: same-origin\r\n", 421),
    ];
    let pages = [
        ("GET", "/"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/startupz"),
        ("GET", "/version"),
        ("GET", "/metrics"),
        ("GET", "/config"),
        ("GET", "/credentials"),
        ("GET", "/-/log-level"),
        ("PUT", "/-/log-level"),
        ("POST", "/-/reload"),
        ("POST", "/-/quit"),
    ];
    for (method, path) in pages {
        for (host, header, status) in evil {
            let mut page = Client::connect(served.admin());
            page.send(format!(
                "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{header}Content-Length: 5\r\n\r\ntrace"
            ));
            let answer = page.answer(method).expect("an answer");
            assert_eq!(answer.status, status, "{method} {path} {host} {header}");
            assert!(answer.text().len() < 100, "nothing is told: {}", answer.text());
        }
    }
    // None of the requests had an effect.
    let mut client = Client::connect(served.admin());
    assert_eq!(client.ask("GET", "/-/log-level", &own, "", b"").text(), "info\n");
    let metrics = client.ask("GET", "/metrics", &own, "", b"").text();
    assert!(metrics.contains("oss_proxy_config_reload_total{result=\"taken\"} 0\n"), "{metrics}");
    assert_eq!(client.ask("GET", "/readyz", &own, "", b"").status, 200);
    for host in [own.clone(), format!("localhost:{port}")] {
        assert_eq!(client.ask("POST", "/-/reload", &host, "", b"").status, 200, "{host}");
    }
    assert_eq!(client.ask("POST", "/-/quit", &own, "", b"").status, 200);
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
    assert_eq!(oss.recorder.count(), 0, "nothing is sent unsigned");
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

#[test]
fn how_the_sources_are_is_told_without_any_value() {
    let oss = oss();
    let proxy = proxy(oss.address).sections("[credentials.none]\ntype = \"env\"").start();
    let answer = ask(proxy.admin, "GET", "/credentials", b"");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let sources: serde_json::Value = serde_json::from_str(&answer.text()).expect("json");
    assert_eq!((&sources[0]["source"], &sources[0]["state"]), (&"default".into(), &"non_expiring".into()));
    assert_eq!(sources[0]["provider"], "static_ak");
    assert_eq!(sources[1]["state"], "empty");
    assert!(sources[1]["last_error"].as_str().expect("an error").contains("OSS_ACCESS_KEY_ID"));
    let metrics = ask(proxy.admin, "GET", "/metrics", b"").text();
    for line in [
        "oss_proxy_requests_total 0",
        "oss_proxy_credential_state{source=\"default\",state=\"non_expiring\"} 1",
        "oss_proxy_credential_state{source=\"none\",state=\"empty\"} 1",
        "oss_proxy_credential_refresh_total{source=\"default\",result=\"ok\"} 1",
        "oss_proxy_credential_refresh_total{source=\"none\",result=\"failed\",kind=\"not_configured\"} 1",
        "oss_proxy_credential_refresh_total{source=\"none\",result=\"failed\",kind=\"unavailable\"} 0",
        "# EOF",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line}: {metrics}");
    }
    for secret in [ID, SECRET] {
        assert!(!metrics.contains(secret) && !answer.text().contains(secret));
    }
}

#[test]
fn what_requests_got_and_how_long_it_took_is_counted() {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role("acs:ram::1:role/r", None);
    sts.ahead(600);
    let role = format!(
        "type = \"assume_role\"\nsource = \"base\"\nrole_arn = \"acs:ram::1:role/r\"\nsts_endpoint = \"http://{}\"",
        sts.address
    );
    let base = format!(
        "[credentials.base]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n\
         [credentials.none]\ntype = \"env\"\n[[route]]\nmatch = {{ bucket = \"none\" }}\ncredentials = \"none\""
    );
    let proxy = proxy(oss.address).credentials(&role).sections(&base).start();
    for _ in 0..3 {
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
    }
    assert_eq!(ask(proxy.address, "GET", "/none/k", b"").status, 503);
    let metrics = ask(proxy.admin, "GET", "/metrics", b"").text();
    for line in [
        "# TYPE oss_proxy_credential_served counter",
        "oss_proxy_credential_served_total{source=\"default\",state=\"fresh\"} 3",
        "oss_proxy_credential_served_total{source=\"none\",state=\"empty\"} 1",
        "# TYPE oss_proxy_credential_wait_seconds histogram",
        "oss_proxy_credential_wait_seconds_count{source=\"none\"} 1",
        "# TYPE oss_proxy_credential_refresh_seconds histogram",
        "oss_proxy_credential_refresh_seconds_count{source=\"default\",result=\"ok\"} 1",
        "oss_proxy_credential_refresh_seconds_bucket{le=\"+Inf\",source=\"default\",result=\"ok\"} 1",
        "oss_proxy_credential_refresh_seconds_count{source=\"none\",result=\"failed\"} 1",
        &format!("oss_proxy_sts_budget_wait_seconds_count{{endpoint=\"http://{}\"}} 1", sts.address),
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line}: {metrics}");
    }
    // HTTP dates have whole seconds.
    let offset = format!("oss_proxy_clock_offset_seconds{{endpoint=\"http://{}\"}} ", sts.address);
    let offset = metrics.lines().find_map(|line| line.strip_prefix(&offset)).expect("an offset");
    assert!((598..=602).contains(&offset.parse().expect("a number")), "{offset}");
}

#[test]
fn a_source_that_signs_nothing_by_itself_makes_nobody_ready() {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    let role = format!(
        "type = \"assume_role\"\nsource = \"base\"\nrole_arn = \"acs:ram::1:role/r\"\nsts_endpoint = \"http://{}\"",
        sts.address
    );
    let base = format!(
        "[credentials.base]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\""
    );
    let proxied = proxy(oss.address).credentials(&role).sections(&base).start();
    assert_eq!(ask(proxied.admin, "GET", "/readyz", b"").status, 503, "nobody may assume the role");
    let metrics = ask(proxied.admin, "GET", "/metrics", b"").text();
    let refused =
        "oss_proxy_credential_refresh_total{source=\"default\",result=\"failed\",kind=\"refused\"} 1\n";
    assert!(metrics.contains(refused), "{metrics}");
    sts.role("acs:ram::1:role/r", None);
    let proxied = proxy(oss.address).credentials(&role).sections(&base).start();
    assert_eq!(ask(proxied.admin, "GET", "/readyz", b"").status, 200);
}
