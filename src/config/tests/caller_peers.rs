//! `certificate`, `uid`, `gid` and `user` of `[[caller]]`, and the listeners that accept them.

use super::{UPSTREAM, World, load_in, loaded, mistakes, refused};
use crate::caller::PeerIdentities;

/// A Unix listener that identifies users, on lines 3 to 5.
const UNIX: &str = "[[listen]]\naddress = \"unix:/run/oss.sock\"\nidentify = [\"uid\"]\n";

/// Returns a configuration whose callers begin on line 6.
fn with(callers: &str) -> String {
    format!("{UPSTREAM}{UNIX}{callers}")
}

/// Returns a caller with this setting, on four lines.
fn caller(name: &str, setting: &str) -> String {
    format!("[[caller]]\nname = \"{name}\"\nallow = \"read\"\n{setting}\n")
}

fn peer(setting: &str) -> PeerIdentities {
    let mut callers = loaded(&with(&caller("a", setting))).callers.expect("callers");
    callers.pop().expect("a caller").peer.clone()
}

#[test]
fn users_and_groups_are_read_by_number_and_by_name() {
    for (setting, described) in [
        ("uid = 1001", "uid 1001"),
        ("uid = 0", "uid 0"),
        ("gid = 4294967294", "gid 4294967294"),
        ("user = \"backup\"", "user backup (uid 34)"),
        ("uid = 34\nuser = \"backup\"\ngid = 34", "uid 34, gid 34, user backup (uid 34)"),
    ] {
        assert_eq!(peer(setting).descriptions().join(", "), described);
    }
    for (setting, words) in [
        ("uid = 65534", "65534 is nobody"),
        ("uid = -1", "must be the number of a user or a group"),
        ("uid = 4294967295", "must be the number of a user or a group"),
        ("uid = 0x10", "must be the number of a user or a group"),
        ("uid = \"1001\"", "without quotes; found string"),
    ] {
        refused(&with(&caller("a", setting)), "proxy.toml:9: caller.uid", words);
        let gid = setting.replace("uid", "gid");
        refused(&with(&caller("a", &gid)), "proxy.toml:9: caller.gid", words);
    }
    for (name, words) in [
        ("nobody", "65534 is nobody"),
        ("missing", "the system has no user \"missing\""),
        ("unreachable", "cannot look up the user \"unreachable\""),
    ] {
        let text = with(&caller("a", &format!("user = {name:?}")));
        refused(&text, "proxy.toml:9: caller.user", words);
    }
    // The user or the token of a revoked caller may already be deleted.
    for identity in ["user = \"missing\"", "token = \"file:missing\""] {
        let revoked = format!("revoked = [\"a\"]\n{}", with(&caller("a", identity)));
        assert_eq!(loaded(&revoked).callers.map(|callers| callers.len()), Some(0), "{identity}");
    }
}

#[test]
fn a_certificate_is_named_by_one_of_its_names() {
    for (name, described) in [
        ("dns = \"Backup.Example\"", "certificate dns backup.example"),
        ("uri = \"spiffe://Example.org/a\"", "certificate uri spiffe://Example.org/a"),
        ("subject = \"cn=backup, O=Example\"", "certificate subject CN=backup,O=Example"),
    ] {
        let setting = format!("certificate = {{ {name} }}");
        assert_eq!(peer(&setting).descriptions(), [described]);
    }
    for (names, key, words) in [
        ("", "caller.certificate", "set exactly one of dns, uri and subject"),
        ("dns = \"a\", uri = \"b:c\"", "caller.certificate", "set exactly one of dns, uri and subject"),
        ("dns = \"*.example\"", "caller.certificate.dns", "invalid DNS name"),
        ("dns = \"a.example.\"", "caller.certificate.dns", "invalid DNS name"),
        ("dns = \"\"", "caller.certificate.dns", "invalid DNS name"),
        ("uri = \"backup\"", "caller.certificate.uri", "invalid URI"),
        ("uri = \"spiffe://a b\"", "caller.certificate.uri", "invalid URI"),
        ("subject = \"/CN=backup\"", "caller.certificate.subject", "invalid subject"),
        ("san = \"a\"", "caller.certificate.san", "unknown key"),
    ] {
        let text = with(&caller("a", &format!("certificate = {{ {names} }}")));
        refused(&text, &format!("proxy.toml:9: {key}"), words);
    }
    let mistyped = with(&caller("a", "certificate = \"a\""));
    refused(&mistyped, "proxy.toml:9: caller.certificate", "must be a section");
}

#[test]
fn an_identity_of_a_connection_belongs_to_one_caller() {
    for (one, other, key) in [
        ("uid = 34", "uid = 34", "uid"),
        ("uid = 34", "user = \"backup\"", "user"),
        ("gid = 34", "gid = 34", "gid"),
        ("certificate = { dns = \"a.b\" }", "certificate = { dns = \"A.B\" }", "certificate"),
        ("certificate = { uri = \"a:b\" }", "certificate = { uri = \"a:b\" }", "certificate"),
        ("certificate = { subject = \"CN=a\" }", "certificate = { subject = \"2.5.4.3=a\" }", "certificate"),
    ] {
        let text = with(&format!("{}{}", caller("a", one), caller("b", other)));
        let shown = mistakes(load_in(&World::default(), &text, &[]));
        let [only] = &shown[..] else { panic!("{shown:?}") };
        assert!(only.starts_with(&format!("proxy.toml:13: caller.{key}")), "{only}");
        assert!(only.contains("another caller already has this identity (proxy.toml:9: caller."), "{only}");
    }
    loaded(&with(&format!("{}{}", caller("a", "uid = 34"), caller("b", "gid = 34"))));
}

#[test]
fn listeners_accept_only_identities_that_their_connections_have() {
    let world = World {
        files: [("c.pem", ("c", false)), ("k.pem", ("k", false)), ("ca.pem", ("a", false))].into(),
        ..World::default()
    };
    let listener = |lines: &str| format!("{UPSTREAM}[[listen]]\n{lines}\n{}", caller("a", "uid = 34"));
    let files = "cert_file = \"c.pem\", key_file = \"k.pem\"";
    for (lines, words) in [
        ("identify = [\"certificate\"]".to_owned(), "set client_ca_file in tls"),
        (format!("identify = [\"certificate\"]\ntls = {{ {files} }}"), "set client_ca_file in tls"),
        ("identify = [\"uid\"]".to_owned(), "only a Unix socket reports the user"),
        ("identify = [\"uid\"]\naddress = \"127.0.0.1:1\"".to_owned(), "only a Unix socket reports the user"),
    ] {
        let shown = mistakes(load_in(&world, &listener(&lines), &[]));
        let [only] = &shown[..] else { panic!("{shown:?}") };
        assert!(only.starts_with("proxy.toml:4: listen.identify: ") && only.contains(words), "{only}");
    }
    for lines in [
        format!("identify = [\"certificate\"]\ntls = {{ {files}, client_ca_file = \"ca.pem\" }}"),
        "identify = [\"uid\"]\naddress = \"unix:/run/a.sock\"".to_owned(),
        "identify = [\"uid\", \"key\"]\naddress = \"systemd:oss\"".to_owned(),
    ] {
        load_in(&world, &listener(&lines), &[]).expect("a configuration");
    }
}
