//! Listeners and the admin interface.

use super::{UPSTREAM, load, loaded, mistakes, refused, warned};
use crate::policy::{Operations, Unsigned};

fn listener(settings: &str) -> String {
    format!("{UPSTREAM}[[listen]]\n{settings}")
}

#[test]
fn a_listener_is_read_with_its_policy() {
    let config = loaded(&listener(
        r#"address = "[::1]:80"
domains = ["OSS.Example.Internal.", "proxy"]
allowed_origins = ["https://App.example:443", "http://127.0.0.1:3000", "app://x"]
read_only = true
unsigned_forms = true"#,
    ));
    let [listen] = &config.listen[..] else { panic!("one listener") };
    assert_eq!(listen.address.to_string(), "[::1]:80");
    assert_eq!(listen.domains, ["oss.example.internal", "proxy"]);
    assert_eq!(listen.policy.allowed_origins, ["https://app.example", "http://127.0.0.1:3000", "app://x"]);
    assert_eq!(listen.policy.operations, Operations::ReadOnly);
    assert_eq!(listen.policy.unsigned, Unsigned::Pass);
}

#[test]
fn an_address_beyond_loopback_must_be_wanted() {
    for address in ["0.0.0.0:8770", "[::]:8770", "10.0.0.1:8770"] {
        let text = listener(&format!("address = \"{address}\""));
        refused(&text, "proxy.toml:4: listen.address", "set unsafe_open = true");
        warned(&format!("{text}\nunsafe_open = true"), "proxy.toml:4: listen.address", "unsafe_open");
    }
    for address in ["127.0.0.9:0", "localhost:80", "[::ffff:127.0.0.1]:80"] {
        assert_eq!(loaded(&listener(&format!("address = \"{address}\""))).warnings.len(), 0);
    }
}

#[test]
fn an_address_is_an_ip_address_and_a_port() {
    let rows = [
        ("8770", "write HOST:PORT"),
        (":8770", "write HOST:PORT"),
        ("127.0.0.1", "write HOST:PORT"),
        ("proxy.example:80", "write HOST:PORT"),
        ("unix:/run/oss-proxy.sock", "not supported by this build"),
        ("systemd:oss", "not supported by this build"),
    ];
    for (address, words) in rows {
        let text = listener(&format!("address = \"{address}\""));
        refused(&text, "proxy.toml:4: listen.address", words);
    }
}

#[test]
fn two_cannot_listen_on_one_address() {
    let second =
        |address: &str| listener(&format!("[[listen]]\naddress = \"{address}\"\nunsafe_open = true"));
    for address in ["127.0.0.1:8770", "0.0.0.0:8770"] {
        let text = second(address);
        refused(&text, "proxy.toml:5: listen.address", "is also the address of a listener");
    }
    assert_eq!(loaded(&second("127.0.0.1:8772")).listen.len(), 2);
    let text = listener("address = \"127.0.0.1:0\"\n[[listen]]\naddress = \"127.0.0.1:0\"");
    assert_eq!(loaded(&text).listen.len(), 2);
    let text = format!("{UPSTREAM}[admin]\naddress = \"127.0.0.1:8770\"");
    refused(&text, "proxy.toml:4: admin.address", "is also the address of a listener");
}

#[test]
fn a_domain_is_a_name_that_is_not_served_anyway() {
    let rows = [
        ("*.oss.example", "is not a domain"),
        ("oss.example:80", "is not a domain"),
        ("oss..example", "is not a domain"),
        ("http://oss.example", "is not a domain"),
        ("", "is not a domain"),
        ("127.0.0.1", "always served"),
        ("[::1]", "always served"),
        ("LocalHost", "always served"),
        ("oss-cn-hangzhou.aliyuncs.com", "belongs to Alibaba Cloud"),
        ("aliyuncs.com", "belongs to Alibaba Cloud"),
    ];
    for (domain, words) in rows {
        let text = listener(&format!("domains = [\n\"{domain}\"]"));
        refused(&text, "proxy.toml:5: listen.domains", words);
    }
}

#[test]
fn an_origin_is_written_as_browsers_do() {
    for origin in [
        "*",
        "null",
        "app.example",
        "https://",
        "https://app.example/",
        "https://app.example/x",
        "https://u@app.example",
        "https://app.example:x",
    ] {
        let text = listener(&format!("allowed_origins = [\"{origin}\"]"));
        refused(&text, "proxy.toml:4: listen.allowed_origins", "is not an origin");
    }
}

#[test]
fn the_admin_interface_is_on_loopback_or_off() {
    let with = |address: &str| format!("{UPSTREAM}[admin]\naddress = \"{address}\"");
    assert_eq!(loaded(&with("off")).admin, None);
    let admin = loaded(&with("[::1]:9")).admin.map(|address| address.to_string());
    assert_eq!(admin.as_deref(), Some("[::1]:9"));
    refused(&with("0.0.0.0:8771"), "proxy.toml:4: admin.address", "no token");
    refused(&with("unix:/run/x"), "proxy.toml:4: admin.address", "not supported");
    // What is wrong with the address does not hide what is wrong elsewhere.
    assert_eq!(mistakes(load("[admin]\naddress = \"x\"")).len(), 2);
}
