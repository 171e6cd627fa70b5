//! `check` rejects everything that `serve` rejects, all at once, and occupies no socket or path for
//! it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;

use tempfile::TempDir;

use crate::support::certificates::Authority;
use crate::support::{KEY, Served, oss, run};

/// A directory for a configuration and the files that it names.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a path").to_owned()
    }

    /// Writes a file, and returns its path.
    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.0.path().join(name), text).expect("written");
        self.path(name)
    }

    /// Runs a command with this configuration. It must exit by itself.
    fn run(&self, command: &str, config: &str) -> (Option<i32>, String, String) {
        let path = self.file("proxy.toml", config);
        run(&[command, "--config", &path], &KEY)
    }
}

const UPSTREAM: &str = "[upstream]\nregion = \"cn-hangzhou\"\n";

/// Returns a configuration with one listener and no admin interface.
fn listening(address: &str, rest: &str) -> String {
    format!(
        "[[listen]]\naddress = {address:?}\nunsafe_open = true\n[admin]\naddress = \"off\"\n{UPSTREAM}{rest}"
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port()
}

#[test]
fn check_rejects_what_serve_rejects_with_its_code_and_words() {
    let place = Place::new();
    let authority = Authority::new();
    let ca = fs::read_to_string(authority.file()).expect("an authority");
    let junk = place.file("junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let text = place.file("text.pem", "no PEM at all");
    let revoked = place.file("revoked.pem", &format!("{ca}{}", authority.revocation_list(&[1])));
    let free = "127.0.0.1:0";
    let ca_file = |path: &str| listening(free, &format!("ca_file = {path:?}\n"));
    let log = |path: &str| listening(free, &format!("[log]\nfile = {path:?}\n"));
    let unix = |path: &str| listening(&format!("unix:{path}"), "");
    let _live = UnixListener::bind(place.path("live.sock")).expect("a listener");
    let port = free_port();
    let pair = |one: &str, two: &str| {
        let two = format!("[[listen]]\naddress = {two:?}\nunsafe_open = true\n");
        format!("{}{two}", listening(one, ""))
    };
    let everywhere = |all: &str, one: &str| pair(&format!("{all}:{port}"), &format!("{one}:{port}"));
    let long = place.path(&"s".repeat(120));
    for (config, code, words) in [
        (ca_file(&junk), 78, "junk.pem: cannot read certificates"),
        (ca_file(&text), 78, "text.pem contains no certificate"),
        (ca_file(&revoked), 78, "revoked.pem contains a certificate revocation list"),
        (log(&place.path("missing/log")), 78, "cannot write the log file"),
        (log(&place.path("")), 78, "cannot write the log file"),
        (log(&format!("{junk}/log")), 78, "cannot write the log file"),
        (unix(&long), 78, "cannot listen on unix:"),
        (unix(&text), 78, "is not a socket"),
        (unix(&place.path("live.sock")), 1, "live.sock is already in use"),
        (unix(&place.path("missing/oss.sock")), 1, "No such file"),
        (listening("192.0.2.1:0", ""), 1, "cannot listen on 192.0.2.1:0"),
        (everywhere("[::]", "0.0.0.0"), 78, "conflicts with the address of a listener"),
        (everywhere("0.0.0.0", "[::]"), 78, "conflicts with the address of a listener"),
        (everywhere("[::]", "127.0.0.1"), 78, "conflicts with the address of a listener"),
        (everywhere("[::ffff:127.0.0.1]", "127.0.0.1"), 78, "conflicts with the address of a listener"),
        (
            pair(&format!("unix:{}", place.path("a.sock")), &format!("unix:{}", place.path("./a.sock"))),
            78,
            "conflicts with the address of a listener",
        ),
    ] {
        for command in ["serve", "check"] {
            let (got, out, errors) = place.run(command, &config);
            assert!(got == Some(code) && errors.contains(words), "{command} {config}: {got:?} {out}{errors}");
            assert!(!out.contains("the configuration is valid"), "{command} {config}");
        }
    }
}

#[test]
fn check_reports_everything_that_is_wrong_at_once() {
    let place = Place::new();
    let authority = Authority::new();
    let (one, other) = (authority.sign("one", "localhost"), authority.sign("other", "localhost"));
    let mismatched = crate::support::certificates::Files { certificate: one.certificate, key: other.key };
    let (first, second) = (place.file("first.pem", "junk"), place.file("second.pem", "junk"));
    let socket = place.file("a-file", "");
    let config = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{tls}\n[[listen]]\naddress = \"unix:{socket}\"\n\
         [[listen]]\naddress = \"unix:{long}\"\n[admin]\naddress = \"unix:{missing}\"\n\
         {UPSTREAM}ca_file = {first:?}\n[log]\nfile = {missing:?}\n\
         [[route]]\nmatch = {{ bucket = \"b*\" }}\nregion = \"cn-beijing\"\ncredentials = \"half\"\n\
         [credentials.half]\ntype = \"file\"\npath = {second:?}\n",
        tls = Authority::listen(&mismatched, ""),
        long = place.path(&"s".repeat(120)),
        missing = place.path("missing/it"),
    );
    let (code, out, errors) = place.run("check", &config);
    assert_eq!(code, Some(78), "{out}{errors}");
    for words in [
        "use the key that belongs to the certificate",
        "a-file is not a socket",
        "sss",
        "missing/it: No such file",
        "cannot write the log file",
        "first.pem contains no certificate",
        "credentials \"half\": ",
    ] {
        assert_eq!(errors.matches(words).count().min(1), 1, "{words}: {errors}");
    }
}

#[test]
fn check_reports_mistakes_of_the_configuration_and_of_its_files_together() {
    let place = Place::new();
    let junk = place.file("junk.pem", "junk");
    let config = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{UPSTREAM}ca_file = {junk:?}\nregoin = \"cn-beijing\"\n\
         [log]\nfile = {missing:?}\n",
        missing = place.path("missing/it"),
    );
    let (code, out, errors) = place.run("check", &config);
    assert_eq!(code, Some(78), "{out}{errors}");
    for words in ["did you mean region?", "junk.pem contains no certificate", "cannot write the log file"] {
        assert_eq!(errors.matches(words).count(), 1, "{words}: {errors}");
    }
}

#[test]
fn check_lists_the_callers_with_their_rights_and_the_ids_of_their_keys() {
    let place = Place::new();
    let secret = "a-secret-of-team-a-0123456789";
    let key = place.file("key", secret);
    let text = format!(
        "revoked = [\"c\"]\n{UPSTREAM}[[listen]]\naddress = \"127.0.0.1:0\"\nidentify = [\"key\", \"token\"]\n\
         [[caller]]\nname = \"a\"\nallow = \"read\"\nkey = [{{ id = \"a-1\", secret = \"file:{key}\" }}]\ntoken = \"file:{key}\"\n\
         [[caller]]\nname = \"b\"\nopen = true\n[[caller]]\nname = \"c\"\nkey = [{{ id = \"c-1\", secret = \"env:NONE\" }}]\n"
    );
    let (code, out, err) = place.run("check", &text);
    assert_eq!(code, Some(0), "{err}");
    let lines: Vec<&str> = out.lines().collect();
    for line in ["caller     a allow read keys a-1 token", "caller     b allow nothing keys - open"] {
        let of_file = |shown: &&str| shown.starts_with(&format!("{line} (")) && shown.contains("proxy.toml:");
        assert!(lines.iter().any(of_file), "{line}: {out}");
    }
    assert!(lines[0].starts_with("listen     ") && lines[0].ends_with(" identify key, token"), "{out}");
    assert!(!out.contains("c-1") && !format!("{out}{err}").contains(secret), "{out}{err}");
    assert!(err.contains("caller.allow: the caller may do nothing"), "{err}");
}

#[test]
fn check_takes_no_socket_and_makes_no_file() {
    let place = Place::new();
    let (socket, log) = (place.path("oss.sock"), place.path("log"));
    let dead = place.path("dead.sock");
    drop(UnixListener::bind(&dead).expect("a listener"));
    let config = format!(
        "[[listen]]\naddress = \"unix:{socket}\"\n[[listen]]\naddress = \"unix:{dead}\"\n\
         [[listen]]\naddress = \"systemd:oss\"\n[admin]\naddress = \"off\"\n{UPSTREAM}[log]\nfile = {log:?}\n"
    );
    let (code, out, errors) = place.run("check", &config);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{out}");
    assert!(!Path::new(&socket).exists() && !Path::new(&log).exists());
    assert!(Path::new(&dead).exists(), "it is replaced by a start only");
}

#[test]
fn check_beside_the_running_proxy_warns_and_does_not_reject() {
    let place = Place::new();
    let oss = oss();
    let port = free_port();
    let config = format!(
        "[[listen]]\naddress = \"127.0.0.1:{port}\"\n[[listen]]\naddress = \"unix:{}\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n{}",
        place.path("oss.sock"),
        Served::text(oss.address, "")
    );
    let path = place.file("proxy.toml", &config);
    let _served = Served::of_file(Path::new(&path), &KEY);
    let (code, out, errors) = place.run("check", &config);
    assert_eq!(code, Some(0), "{out}{errors}");
    for address in [&format!("127.0.0.1:{port}"), "oss.sock"] {
        assert!(errors.contains(&format!("{address} is in use")), "{address}: {errors}");
    }
}

#[test]
fn check_asks_sources_side_by_side_and_no_more_than_32_at_once() {
    let place = Place::new();
    let log = place.path("asked");
    let answer =
        r#"{\"Code\":\"Success\",\"AccessKeyId\":\"LTAItestkeyid\",\"AccessKeySecret\":\"a-secret-value\"}"#;
    let script = place.file(
        "key",
        &format!("#!/bin/sh\necho + >> {log}\n/bin/sleep 0.3\necho - >> {log}\necho \"{answer}\"\n"),
    );
    let sources = (0..80).map(|number| {
        format!(
            "[credentials.s{number}]\ntype = \"process\"\ncommand = [\"/bin/sh\", {script:?}, \"{number}\"]\n"
        )
    });
    let config = listening("127.0.0.1:0", &sources.collect::<String>());
    let (code, out, errors) = place.run("check", &config);
    assert_eq!(code, Some(0), "{out}{errors}");
    let mut running = 0_i32;
    let at_once = fs::read_to_string(&log).expect("a log").lines().fold(0, |most, line| {
        running += if line == "+" { 1 } else { -1 };
        most.max(running)
    });
    assert!((2..=32).contains(&at_once), "{at_once}");
}
