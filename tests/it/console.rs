//! The pages of the admin listener and their access control: status page, configuration, metrics,
//! and log level.

use serde_json::Value;

use crate::support::{Client, ID, KEY, SECRET, Served, ask, eventually, oss, proxy};

#[test]
fn the_status_page_shows_routes_sources_traffic_and_the_last_refusals() {
    let oss = oss();
    let proxy = proxy(oss.address)
        .sections(
            "[[route]]\nmatch = { bucket = \"files-*\", host = \"Files.example.com\" }\nregion = \"cn-beijing\"",
        )
        .start();
    ask(proxy.address, "PUT", "/photos/k", b"12345");
    let refused = ask(proxy.address, "GET", "/photos/%zz", b"");
    let id = refused.header("x-proxy-request-id").expect("an id").to_owned();
    eventually("both have ended", || ask(proxy.admin, "GET", "/", b"").text().contains("unknown"));
    let answer = ask(proxy.admin, "GET", "/", b"");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let page = answer.text();
    for word in ["class=good>ready", "static_ak", "cn-beijing", "PutObject", "bad-request", &id] {
        assert!(page.contains(word), "{word}: {page}");
    }
    for route in ["<td>upstream<td>", "<td>route 1: host files.example.com, bucket files-*<td>"] {
        assert!(page.contains(route), "{route}: {page}");
    }
    assert!(
        !page.contains("<script") && !page.contains("src=") && !page.contains("href="),
        "nothing from elsewhere"
    );
    assert!(!page.contains(SECRET) && !page.contains(ID));
}

#[test]
fn the_configuration_is_told_with_where_each_value_comes_from() {
    let oss = oss();
    let served = Served::start_with(oss.address, "[timeouts]\nstall = \"7s\"\n", &["--read-only"], &KEY);
    let answer = ask(served.admin(), "GET", "/config", b"");
    let settings: Value = serde_json::from_str(&answer.text()).expect("json");
    let find = |key: &str| {
        let all = settings.as_array().expect("a list");
        let found =
            all.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("{key}: {settings}"));
        (
            found["value"].as_str().expect("a text").to_owned(),
            found["origin"].as_str().expect("a text").to_owned(),
        )
    };
    assert_eq!(find("listen[0].read_only"), ("true".to_owned(), "--read-only".to_owned()));
    assert_eq!(find("timeouts.connect"), ("\"5s\"".to_owned(), "default".to_owned()));
    let (value, origin) = find("timeouts.stall");
    assert!(value == "\"7s\"" && origin.ends_with(":6"), "{origin}");
}

#[test]
fn what_is_more_than_health_needs_the_token_if_there_is_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("token");
    std::fs::write(&path, "planted-admin-token\n").expect("written");
    let oss = oss();
    let sections = format!("[admin]\ntoken = \"file:{}\"\n", path.display());
    let served = Served::start_with(oss.address, &sections, &[], &KEY);
    let mut client = Client::connect(served.admin());
    let host = served.admin().to_string();
    for path in ["/livez", "/readyz", "/startupz", "/metrics", "/version"] {
        assert_eq!(client.ask("GET", path, &host, "", b"").status, 200, "{path}");
    }
    let closed = [
        ("GET", "/"),
        ("GET", "/config"),
        ("GET", "/credentials"),
        ("GET", "/-/log-level"),
        ("PUT", "/-/log-level"),
        ("POST", "/-/reload"),
        ("POST", "/-/quit"),
    ];
    for (method, path) in closed {
        for header in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic planted-admin-token\r\n"]
        {
            let answer = client.ask(method, path, &host, header, b"");
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (401, Some("Bearer")),
                "{method} {path}"
            );
        }
    }
    for scheme in ["Bearer ", "bearer ", "BEARER  ", "bEaReR "] {
        let header = format!("Authorization: {scheme}planted-admin-token\r\n");
        assert_eq!(client.ask("GET", "/config", &host, &header, b"").status, 200, "{scheme}");
    }
    for scheme in ["Bearer", "Bearer\u{a0}", "Bearers ", ""] {
        let header = format!("Authorization: {scheme}planted-admin-token\r\n");
        assert_eq!(client.ask("GET", "/config", &host, &header, b"").status, 401, "{scheme}");
    }
    let header = "Authorization: Bearer planted-admin-token\r\n";
    assert!(!client.ask("GET", "/config", &host, header, b"").text().contains("planted"));
}

#[test]
fn the_level_of_the_log_can_be_changed_while_it_runs() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    let level = |method: &str, body: &[u8]| {
        let answer = ask(served.admin(), method, "/-/log-level", body);
        (answer.status, answer.text())
    };
    assert_eq!(level("GET", b""), (200, "info\n".to_owned()));
    assert_eq!(level("PUT", b"loud").0, 400);
    assert_eq!(level("PUT", &[b'x'; 1000]).0, 400);
    assert_eq!(level("PUT", b"warn\n"), (200, "warn\n".to_owned()));
    ask(served.address, "GET", "/photos/unseen", b"");
    assert_eq!(level("PUT", b"debug"), (200, "debug\n".to_owned()));
    ask(served.address, "GET", "/photos/%zz", b"");
    served.signal("TERM");
    let (_, log) = served.end();
    let requests = log.lines().filter(|line| line.contains("\"request\"")).count();
    assert_eq!(requests, 1, "{log}");
}

#[test]
fn traffic_is_counted_by_operation_and_outcome() {
    let oss = oss();
    let proxy = proxy(oss.address).start();
    let mut client = Client::connect(proxy.address);
    let host = proxy.address.to_string();
    client.ask("PUT", "/photos/k", &host, "", b"12345");
    client.ask("GET", "/photos/k", &host, "", b"");
    client.ask("GET", "/photos/none", &host, "", b"");
    client.ask("GET", "/photos/k", "evil.example", "", b"");
    let metrics = || ask(proxy.admin, "GET", "/metrics", b"").text();
    eventually("all have ended", || metrics().contains("oss_proxy_requests_in_flight 0\n"));
    let text = metrics();
    for line in [
        "oss_proxy_requests_total 4",
        "oss_proxy_requests_ended_total{operation=\"PutObject\",status=\"2xx\"} 1",
        "oss_proxy_requests_ended_total{operation=\"GetObject\",status=\"2xx\"} 1",
        "oss_proxy_requests_ended_total{operation=\"GetObject\",status=\"4xx\"} 1",
        "oss_proxy_requests_ended_total{operation=\"unknown\",status=\"4xx\"} 1",
        "oss_proxy_refusals_total{code=\"unknown-host\"} 1",
        "oss_proxy_request_duration_seconds_count{operation=\"GetObject\"} 2",
        "oss_proxy_request_duration_seconds_bucket{le=\"600.0\",operation=\"GetObject\"} 2",
        "oss_proxy_first_byte_seconds_bucket{le=\"+Inf\",operation=\"PutObject\"} 1",
        "oss_proxy_body_bytes_total{direction=\"in\"} 5",
        "oss_proxy_signed_total{signature=\"v4\"} 3",
        "oss_proxy_upstream_connects_total{result=\"ok\"} 1",
        "oss_proxy_upstream_reused_total 2",
        "oss_proxy_upstream_connections{state=\"in_use\"} 0",
        "oss_proxy_upstream_connections{state=\"kept\"} 1",
        "oss_proxy_client_connections 1",
        "oss_proxy_ready 1",
        "oss_proxy_config_last_reload_successful 1",
        "# EOF",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}: {text}");
    }
    assert!(text.contains(concat!("oss_proxy_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")));
    for caller_text in ["photos", "evil", "none\""] {
        assert!(!text.contains(&format!("=\"{caller_text}")), "no label comes from a caller: {text}");
    }
}

#[test]
fn who_connects_and_asks_nothing_keeps_nobody_out() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    // A provider that does not respond delays this reload.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", silent.local_addr().expect("an address"));
    served.rewrite(oss.address, &format!("[credentials.default]\ntype = \"uri\"\nurl = \"{url}\"\n"));
    let mut asking = Client::connect(served.admin());
    asking.send("POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    silent.accept().expect("the source is asked");
    let _crowd: Vec<Client> = (0..70).map(|_| Client::connect(served.admin())).collect();
    assert_eq!(ask(served.admin(), "GET", "/livez", b"").status, 200);
    assert!(asking.answer("POST").is_some(), "who is being answered keeps its place");
}

#[test]
fn ready_can_mean_all_sources() {
    let oss = oss();
    let sections = "[[route]]\nmatch = { bucket = \"files\" }\ncredentials = \"none\"\n[credentials.none]\ntype = \"env\"\n";
    let any = proxy(oss.address).sections(sections).start();
    assert_eq!(ask(any.admin, "GET", "/readyz", b"").status, 200);
    let all = format!(
        "[admin]\nready_when = \"all\"\n[credentials.default]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n{sections}"
    );
    let served = Served::start_with(oss.address, &all, &[], &[]);
    let answer = ask(served.admin(), "GET", "/readyz", b"");
    assert!(answer.status == 503 && answer.text().contains("none"), "{}", answer.text());
}

#[test]
fn of_requests_that_went_well_a_sample_is_logged_and_of_others_each() {
    let oss = oss();
    let served = Served::start_with(oss.address, "[log]\nsample = 1000000\n", &[], &KEY);
    let mut client = Client::connect(served.address);
    let host = served.address.to_string();
    for _ in 0..20 {
        client.ask("PUT", "/photos/k", &host, "", b"1");
    }
    client.ask("GET", "/photos/none", &host, "", b"");
    client.ask("GET", "/photos/%zz", &host, "", b"");
    served.signal("TERM");
    let (_, log) = served.end();
    let statuses: Vec<i64> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("json"))
        .filter(|line| line["msg"] == "request")
        .filter_map(|line| line["status"].as_i64())
        .collect();
    assert_eq!(statuses, [404, 400], "{log}");
}

#[test]
fn each_answer_has_the_id_under_which_the_request_is_logged() {
    let oss = oss();
    let served = Served::start(oss.address, &[], &KEY);
    let trace = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    let answer =
        Client::connect(served.address).ask("PUT", "/photos/k", &served.address.to_string(), trace, b"1");
    let id = answer.header("x-proxy-request-id").expect("an id").to_owned();
    assert_eq!(id.len(), 24);
    let sent = oss.recorder.last().expect("a request");
    assert!(format!("{sent:?}").contains("4bf92f3577b34da6a3ce929d0e0e4736"), "the trace goes on: {sent:?}");
    served.signal("TERM");
    let (_, log) = served.end();
    assert!(log.contains(&format!("\"req_id\":\"{id}\"")), "{log}");
}
