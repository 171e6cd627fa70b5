//! Listeners and the admin interface.

use super::{UPSTREAM, World, load, load_in, loaded, mistakes, refused, warned};
use crate::policy::{AllowedOperations, CrossSiteReads, UnsignedForms};
use crate::server::{ListenAddress, TlsFiles};

fn listener(settings: &str) -> String {
    format!("{UPSTREAM}[[listen]]\n{settings}")
}

#[test]
fn a_listener_is_read_with_its_policy() {
    let config = loaded(&listener(
        r#"address = "[::1]:80"
domains = ["OSS.Example.Internal.", "proxy"]
allowed_origins = ["https://App.example:443", "http://127.0.0.1:3000", "app://x"]
cross_site_reads = true
read_only = true
unsigned_forms = true"#,
    ));
    let [listen] = &config.listen[..] else { panic!("one listener") };
    assert_eq!(listen.address.to_string(), "[::1]:80");
    assert_eq!(listen.domains, ["oss.example.internal", "proxy"]);
    assert_eq!(listen.policy.allowed_origins, ["https://app.example", "http://127.0.0.1:3000", "app://x"]);
    assert_eq!(listen.policy.operations, AllowedOperations::ReadOnly);
    assert_eq!(listen.policy.unsigned, UnsignedForms::Pass);
    assert_eq!(listen.policy.cross_site_reads, CrossSiteReads::AllowByName);
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
        ("8770", "expected IP:PORT"),
        (":8770", "expected IP:PORT"),
        ("127.0.0.1", "expected IP:PORT"),
        ("proxy.example:80", "expected IP:PORT"),
        ("unix:", "unix:PATH"),
        ("systemd:", "systemd:NAME"),
        ("systemd:a:b", "systemd:NAME"),
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
        refused(&text, "proxy.toml:5: listen.address", "conflicts with the address of a listener");
    }
    assert_eq!(loaded(&second("127.0.0.1:8772")).listen.len(), 2);
    let text = listener("address = \"127.0.0.1:0\"\n[[listen]]\naddress = \"127.0.0.1:0\"");
    assert_eq!(loaded(&text).listen.len(), 2);
    let text = format!("{UPSTREAM}[admin]\naddress = \"127.0.0.1:8770\"");
    refused(&text, "proxy.toml:4: admin.address", "conflicts with the address of a listener");
}

#[test]
fn a_path_or_a_name_of_systemd_is_an_address_too() {
    let rows = [
        ("unix:/run/oss.sock", ListenAddress::Unix("/run/oss.sock".into())),
        ("systemd:oss", ListenAddress::Inherited("oss".to_owned())),
    ];
    for (text, address) in rows {
        let config = loaded(&listener(&format!("address = \"{text}\"")));
        assert_eq!((&config.listen[0].address, config.warnings.len()), (&address, 0));
        assert_eq!(config.listen[0].address.to_string(), text);
        let twice = listener(&format!("address = \"{text}\"\n[[listen]]\naddress = \"{text}\""));
        refused(&twice, "proxy.toml:6: listen.address", "conflicts with the address of a listener");
    }
}

#[test]
fn a_listener_speaks_tls_with_files_that_can_be_read() {
    let world = |exposed| World {
        files: [
            ("c.pem", ("c", false)),
            ("k.pem", ("k", exposed)),
            ("ca.pem", ("a", false)),
            ("crl.pem", ("r", false)),
        ]
        .into(),
        ..World::default()
    };
    let text = |tls: &str| listener(&format!("tls = {{ {tls} }}"));
    let all = text(
        "cert_file = \"c.pem\", key_file = \"k.pem\", client_ca_file = \"ca.pem\", client_crl_file = \"crl.pem\"",
    );
    let config = load_in(&world(false), &all, &[]).expect("a configuration");
    let files = TlsFiles {
        cert_file: "c.pem".into(),
        key_file: "k.pem".into(),
        client_ca_file: Some("ca.pem".into()),
        client_crl_file: Some("crl.pem".into()),
    };
    assert_eq!((&config.listen[0].tls, config.warnings.len()), (&Some(files), 0));

    let warnings = load_in(&world(true), &all, &[]).expect("a configuration").warnings;
    assert!(warnings[0].contains("k.pem\" is readable by other users"), "{warnings:?}");
    let strict = format!("strict_file_modes = true\n{all}");
    let shown = mistakes(load_in(&world(true), &strict, &[]));
    assert!(shown[0].contains("k.pem") && shown[0].contains("strict_file_modes is set"), "{shown:?}");

    for (tls, words) in [
        ("cert_file = \"c.pem\"", "set key_file"),
        ("key_file = \"k.pem\"", "set cert_file"),
        ("cert_file = \"c.pem\", key_file = \"k.pem\", client_crl_file = \"crl.pem\"", "set client_ca_file"),
        ("cert_file = \"x\", key_file = \"k.pem\"", "tls.cert_file: cannot read \"x\""),
        ("cert_file = \"c.pem\", key_file = \"x\"", "tls.key_file: cannot read the file \"x\""),
    ] {
        let shown = mistakes(load_in(&world(false), &text(tls), &[]));
        assert!(shown.len() == 1 && shown[0].contains(words), "{tls}: {shown:?}");
    }
}

#[test]
fn a_domain_is_a_name_that_is_not_served_anyway() {
    let rows = [
        ("*.oss.example", "invalid domain"),
        ("oss.example:80", "invalid domain"),
        ("oss..example", "invalid domain"),
        ("http://oss.example", "invalid domain"),
        ("", "invalid domain"),
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
        refused(&text, "proxy.toml:4: listen.allowed_origins", "invalid origin");
    }
}

#[test]
fn the_admin_interface_is_on_loopback_or_off() {
    let with = |address: &str| format!("{UPSTREAM}[admin]\naddress = \"{address}\"");
    assert!(loaded(&with("off")).admin.is_none());
    let admin = loaded(&with("[::1]:9")).admin.map(|admin| admin.address.to_string());
    assert_eq!(admin.as_deref(), Some("[::1]:9"));
    refused(&with("0.0.0.0:8771"), "proxy.toml:4: admin.address", "set token");
    let open = format!("{}\ntoken = \"env:TOKEN\"", with("0.0.0.0:8771"));
    let mut world = World::default();
    world.variables.insert("TOKEN", "t");
    assert!(load_in(&world, &open, &[]).is_ok());
    let admin = loaded(&with("unix:/run/x")).admin.map(|admin| admin.address);
    assert_eq!(admin, Some(ListenAddress::Unix("/run/x".into())));
    refused(&with("systemd:x"), "proxy.toml:4: admin.address", "cannot use a systemd socket");
    // An invalid address does not hide other errors.
    assert_eq!(mistakes(load("[admin]\naddress = \"x\"")).len(), 2);
}

#[test]
fn a_listener_trusts_only_the_load_balancers_that_it_names() {
    let listen = |lines: &str| format!("{UPSTREAM}[[listen]]\n{lines}\n");
    let on = "proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]";
    // The load balancer passes on clients of other machines, whatever the address.
    refused(&listen(on), "proxy.toml:3: listen.address", "a load balancer passes on clients");
    let on = &format!("{on}\nunsafe_open = true");
    assert!(loaded(&listen(on)).listen[0].trusted_proxies.is_some());
    assert!(loaded(&listen("proxy_protocol = false")).listen[0].trusted_proxies.is_none());
    let needs = "needs trusted_proxies";
    refused(
        &listen("proxy_protocol = true\nunsafe_open = true"),
        "proxy.toml:4: listen.proxy_protocol",
        needs,
    );
    for network in ["10.0.0.1/8", "10.0.0.0/33", "lb.example.com"] {
        let lines = format!("proxy_protocol = true\ntrusted_proxies = [\"{network}\"]\nunsafe_open = true");
        refused(&listen(&lines), "proxy.toml:5: listen.trusted_proxies", "invalid network");
    }
    let unix = format!("address = \"unix:/run/a.sock\"\n{on}");
    refused(&listen(&unix), "proxy.toml:5: listen.proxy_protocol", "the peers of a Unix socket");
    // The address of a client opens no listener to other machines.
    let open = format!("address = \"10.0.0.5:80\"\n{on}").replace("unsafe_open = true", "");
    refused(&listen(&open), "proxy.toml:4: listen.address", "unsafe_open");
}

#[test]
fn forms_are_verified_where_keys_are_accepted() {
    let caller = "[[caller]]\nname = \"a\"\nallow = \"read\"\nuid = 7\nkey = [{ id = \"a-1\", secret = \"TeamAPlantedSecretOf30Letters0\" }]\n";
    let text = |identify| {
        listener(&format!(
            "address = \"127.0.0.1:80\"\nverified_forms = true\nidentify = [{identify}]\n{caller}"
        ))
    };
    assert!(loaded(&text("\"key\"")).listen[0].policy.verified_forms);
    refused(&text("\"token\""), "proxy.toml:5: listen.verified_forms", "add \"key\" to identify");
}
