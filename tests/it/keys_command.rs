//! `keys`: callers, keys and revocations that it writes, as a running proxy reads them.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::callers::Asked;
use crate::secrets::search_for;
use crate::support::{Client, KEY, Script, Served, run};

const MASTER: &str = "the-planted-master-of-32-bytes-0";
const OLD_MASTER: &str = "another-planted-master-of-32-byt";
const MASTERS: [(&str, &str); 2] = [("MASTER", MASTER), ("OLD_MASTER", OLD_MASTER)];

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A configuration in a folder of its own.
struct Folder {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Folder {
    fn new(upstream: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("proxy.toml");
        let listeners = "# The listeners.\n[[listen]] # for clients\naddress = \"127.0.0.1:0\"\n\
                         identify = [\"key\", \"token\"]\n[admin]\naddress = \"127.0.0.1:0\"\n\
                         [sealing]\nmaster = [\"env:MASTER\"]\n";
        fs::write(&config, Served::text(upstream, listeners)).expect("written");
        fs::set_permissions(&config, Permissions::from_mode(0o640)).expect("a mode");
        Self { folder, config }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a path").to_owned()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.config).expect("text")
    }

    /// Runs `keys` with these arguments and the file. Returns its exit code, output and messages.
    fn keys(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let config = self.path("proxy.toml");
        run(&[&["keys"], arguments, &["--file", &config]].concat(), &MASTERS)
    }

    /// Runs `keys` as [`Self::keys`], and returns its output. Its messages contain no secret.
    #[track_caller]
    fn made(&self, arguments: &[&str]) -> String {
        let (code, out, messages) = self.keys(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {messages}");
        if let Some(secret) = value(&out, "access key secret").or_else(|| value(&out, "token")) {
            search_for("the messages", &messages, &[secret, MASTER]);
            search_for("the file", &self.text(), &[secret, MASTER]);
        }
        out
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    /// Returns the exit code and the messages of `check`.
    fn check(&self, environment: &[(&str, &str)]) -> (Option<i32>, String) {
        let (code, _, messages) = run(&["check", "--config", &self.path("proxy.toml")], environment);
        (code, messages)
    }
}

/// Returns a value of the output.
fn value<'a>(out: &'a str, title: &str) -> Option<&'a str> {
    out.lines().find_map(|line| line.strip_prefix(title)?.strip_prefix(": "))
}

/// Returns the id and the secret of the output.
#[track_caller]
fn pair(out: &str) -> (String, String) {
    let [id, secret] = ["access key id", "access key secret"]
        .map(|title| value(out, title).unwrap_or_else(|| panic!("no {title} in {out}")).to_owned());
    assert!(secret.len() >= 27 && secret.bytes().all(|b| b.is_ascii_alphanumeric()), "{secret}");
    (id, secret)
}

fn status(address: SocketAddr, (id, secret): &(String, String)) -> u16 {
    let asked = Asked { id, secret, ..Asked::new("GET", "k") };
    asked.send_on(&mut Client::connect(address), address, b"").status
}

#[test]
fn new_callers_are_served_with_the_keys_that_were_made() {
    let upstream = Script::answering(OK);
    let folder = Folder::new(upstream.address);
    let before = folder.text();
    let sealed = pair(&folder.made(&["new", "team-a", "--allow", "read", "--seal-with", "env:MASTER"]));
    assert!(sealed.0.starts_with("team-a-"), "{}", sealed.0);
    let own_id = ["new", "team-b", "--allow", "everything", "--id", "b.1", "--seal-with", "env:MASTER"];
    let other = pair(&folder.made(&own_id));
    assert_eq!(other.0, "b.1");
    let variable = pair(&folder.made(&["new", "team-c", "--allow", "read", "--id", "team-c-1"]));
    assert!(folder.text().contains("secret = \"env:CALLER_TEAM_C_1_SECRET\""), "{}", folder.text());
    let secret_file = folder.path("team-d");
    let out = folder.made(&["new", "team-d", "--allow", "read", "--secret-file", &secret_file]);
    let id = value(&out, "access key id").expect("an id").to_owned();
    assert_eq!(out, format!("access key id: {id}\n"), "no secret that has a file");
    let secret = fs::read_to_string(&secret_file).expect("a secret");
    let filed = (id, secret.trim_end().to_owned());
    let token_out =
        folder.made(&["new", "team-e", "--allow", "read", "--token", "--seal-with", "env:MASTER"]);
    let token = value(&token_out, "token").expect("a token");
    assert_eq!(token_out, format!("token: {token}\n"));

    assert!(folder.text().starts_with(&before));
    assert_eq!(fs::metadata(&folder.config).expect("metadata").permissions().mode() & 0o7777, 0o640);
    assert_eq!(fs::metadata(&secret_file).expect("metadata").permissions().mode() & 0o7777, 0o600);
    assert_eq!(folder.names(), ["proxy.toml", "team-d"]);
    let environment = [KEY[0], KEY[1], MASTERS[0], ("CALLER_TEAM_C_1_SECRET", &variable.1)];
    let served = Served::of_file(&folder.config, &environment);
    for key in [&sealed, &other, &variable, &filed] {
        assert_eq!(status(served.address, key), 200, "{}", key.0);
        assert_eq!(status(served.address, &(key.0.clone(), format!("{}x", key.1))), 403, "{}", key.0);
    }
    let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("any:{token}")));
    let host = served.address.to_string();
    assert_eq!(Client::connect(served.address).ask("GET", "/photos/k", &host, &basic, b"").status, 200);
}

#[test]
fn a_rotation_overlaps_and_a_revocation_ends_a_key() {
    let upstream = Script::answering(OK);
    let folder = Folder::new(upstream.address);
    let seal = ["--seal-with", "env:MASTER"];
    let old = pair(&folder.made(&[&["new", "team-a", "--allow", "read"][..], &seal].concat()));
    let served = Served::of_file(&folder.config, &[KEY[0], KEY[1], MASTERS[0]]);
    let reload = || assert_eq!(served.reload().0, 200);
    assert_eq!(status(served.address, &old), 200);

    // The new key may have the same id.
    let new = pair(&folder.made(&[&["rotate", "team-a", "--id", &old.0][..], &seal].concat()));
    reload();
    assert_eq!([&old, &new].map(|key| status(served.address, key)), [200, 200]);
    let before = folder.text();
    let (code, out, messages) = folder.keys(&[&["rotate", "team-a"][..], &seal].concat());
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(messages.contains("already has two keys") && messages.contains("--finish"), "{messages}");
    assert_eq!(folder.text(), before);

    assert_eq!(folder.made(&["rotate", "team-a", "--finish"]), "");
    reload();
    assert_eq!([&old, &new].map(|key| status(served.address, key)), [403, 200]);
    assert_eq!(folder.keys(&["rotate", "team-a", "--finish"]).0, Some(1));

    let newest = pair(&folder.made(&[&["rotate", "team-a"][..], &seal].concat()));
    assert_eq!(folder.made(&["revoke", &new.0]), "");
    reload();
    assert_eq!([&new, &newest].map(|key| status(served.address, key)), [403, 200]);
    assert_eq!(folder.made(&["revoke", "team-a"]), "");
    let revoked = folder.text();
    assert!(revoked.contains(&format!("revoked = [\"{}\", \"team-a\"]\n", new.0)), "{revoked}");
    assert_eq!(folder.keys(&["revoke", "team-a"]), (Some(0), String::new(), String::new()));
    assert_eq!(folder.text(), revoked);
    reload();
    assert_eq!([&new, &newest].map(|key| status(served.address, key)), [403, 403]);
}

#[test]
fn a_sealed_secret_needs_its_master_and_stays_with_its_caller_and_id() {
    let upstream = Script::answering(OK);
    let folder = Folder::new(upstream.address);
    let (id, _) = pair(&folder.made(&["new", "team-a", "--allow", "read", "--seal-with", "env:MASTER"]));
    assert_eq!(folder.check(&MASTERS).0, Some(0));
    let right = folder.text();
    let rows = [
        ("name = \"team-a\"", "name = \"team-b\"", MASTER),
        (&id, "another-id", MASTER),
        ("team", "team", OLD_MASTER),
    ];
    for (from, to, master) in rows {
        fs::write(&folder.config, right.replace(from, to)).expect("written");
        let (code, messages) = folder.check(&[("MASTER", master)]);
        assert_eq!(code, Some(78), "{from}: {messages}");
        assert!(messages.contains("caller.key.secret: the sealed value does not belong here"), "{messages}");
        search_for("the messages", &messages, &[MASTER]);
    }
    // During a rotation of the master, both open.
    let both = right.replace("[\"env:MASTER\"]", "[\"env:MASTER\", \"env:OLD_MASTER\"]");
    fs::write(&folder.config, both).expect("written");
    folder.made(&["new", "team-b", "--allow", "read", "--seal-with", "env:OLD_MASTER"]);
    assert_eq!(folder.check(&MASTERS).0, Some(0));
}

#[test]
fn without_a_file_the_block_is_printed_and_never_a_file_with_a_secret_in_it() {
    let folder = Folder::new(SocketAddr::from(([127, 0, 0, 1], 9)));
    let keys = |arguments: &[&str]| run(&[&["keys"], arguments].concat(), &MASTERS);
    let new = ["new", "team-a", "--allow", "read", "--seal-with", "env:MASTER"];
    let (code, out, messages) = keys(&new);
    assert_eq!(code, Some(0), "{messages}");
    let (id, secret) = pair(&out);
    let (lines, block) = out.split_once("\n\n").expect("a block");
    assert_eq!(lines, format!("access key id: {id}\naccess key secret: {secret}"));
    search_for("the block", block, &[&secret]);
    search_for("the messages", &messages, &[&secret, MASTER]);
    // All of the output is no configuration.
    let before = folder.text();
    fs::write(&folder.config, format!("{before}{out}")).expect("written");
    assert_eq!(folder.check(&MASTERS).0, Some(78));
    fs::write(&folder.config, format!("{before}{block}")).expect("written");
    assert_eq!(folder.check(&MASTERS).0, Some(0));
    // Output without the secret is one.
    let secret_file = folder.path("secret");
    let (code, out, _) = keys(&[&new[..], &["--secret-file", &secret_file]].concat());
    assert_eq!(code, Some(0));
    fs::write(&folder.config, format!("{before}{out}")).expect("written");
    assert_eq!(folder.check(&MASTERS).0, Some(0), "{out}");
    assert_eq!(keys(&[&new[..], &["--secret-file", &secret_file]].concat()).0, Some(1), "the file exists");

    let (code, out, _) = keys(&["rotate", "team-a", "--id", "a-2", "--seal-with", "env:MASTER"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("{ id = \"a-2\", secret = \"sealed:"), "{out}");
    assert_eq!(keys(&["revoke", "a-2"]), (Some(0), "revoked = [\"a-2\"]\n".to_owned(), String::new()));
}

#[test]
fn a_file_that_does_not_exist_is_created_for_a_new_caller_only() {
    let folder = Folder::new(SocketAddr::from(([127, 0, 0, 1], 9)));
    let file = folder.path("team-a.toml");
    let keys = |arguments: &[&str]| run(&[&["keys"], arguments, &["--file", &file]].concat(), &MASTERS);
    for arguments in [&["rotate", "team-a"][..], &["rotate", "team-a", "--finish"], &["revoke", "team-a"]] {
        let (code, out, messages) = keys(arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{messages}");
        assert!(messages.contains("cannot be read"), "{messages}");
        assert_eq!(folder.names(), ["proxy.toml"]);
    }
    let (code, _, messages) = keys(&["new", "team-a", "--seal-with", "env:MASTER"]);
    assert_eq!(code, Some(0), "{messages}");
    assert!(messages.contains("`allow`") && messages.contains("[sealing]"), "{messages}");
    let text = fs::read_to_string(&file).expect("a file");
    assert!(text.starts_with("[[caller]]\nname = \"team-a\"\nkey = [{ id = \"team-a-"), "{text}");
}

#[test]
fn a_file_of_a_team_gets_no_reference_that_would_break_it() {
    let folder = Folder::new(SocketAddr::from(([127, 0, 0, 1], 9)));
    let directory = folder.path("callers.d");
    fs::create_dir(&directory).expect("a folder");
    fs::write(&folder.config, format!("callers_dir = {directory:?}\n{}", folder.text())).expect("written");
    let file = folder.path("callers.d/team-a.toml");
    let keys = |arguments: &[&str]| run(&[&["keys"], arguments, &["--file", &file]].concat(), &MASTERS);
    let rejected = |arguments: &[&str]| {
        let before = fs::read_to_string(&file).ok();
        let (code, out, messages) = keys(arguments);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{messages}");
        for remedy in ["callers_dir", "--seal-with", "--secret-file", "omit --file"] {
            assert!(messages.contains(remedy), "{remedy}: {messages}");
        }
        assert_eq!(fs::read_to_string(&file).ok(), before);
    };
    rejected(&["new", "team-a", "--allow", "read"]);
    rejected(&["new", "team-a", "--allow", "read", "--token"]);
    assert_eq!(keys(&["new", "team-a", "--allow", "read", "--seal-with", "env:MASTER"]).0, Some(0));
    rejected(&["new", "team-b", "--allow", "read"]);
    rejected(&["rotate", "team-a"]);
    let outside = folder.path("secret");
    let (code, _, messages) = keys(&["new", "team-b", "--allow", "read", "--secret-file", &outside]);
    assert!(code == Some(0) && messages.contains("only to secret files in that directory"), "{messages}");
    fs::remove_file(&file).expect("removed");
    let inside = folder.path("callers.d/secret");
    let made = keys(&["new", "team-b", "--allow", "read", "--secret-file", &inside]);
    assert!(made.0 == Some(0) && made.2.is_empty(), "{}", made.2);
    assert_eq!(keys(&["rotate", "team-b", "--seal-with", "env:MASTER"]).0, Some(0));
    // The proxy can use what was written.
    let (code, messages) = folder.check(&[KEY[0], KEY[1], MASTERS[0]]);
    assert_eq!(code, Some(0), "{messages}");
}

#[test]
fn bad_input_changes_no_file() {
    let folder = Folder::new(SocketAddr::from(([127, 0, 0, 1], 9)));
    folder.made(&["new", "team-a", "--allow", "read", "--id", "a-1"]);
    symlink("proxy.toml", folder.path("link.toml")).expect("a link");
    let before = folder.text();
    let rows: [(&[&str], i32, &str); 15] = [
        (&["new", "team-a"], 1, "\"team-a\" already exists"),
        (&["new", "team-b", "--id", "a-1"], 1, "\"team-a\" already has a key with this id"),
        (&["new", "team b"], 2, "invalid caller name"),
        (&["new", "team-b", "--id", "LTAI5t"], 2, "begins like an access key id of Alibaba Cloud"),
        (&["new", "team-b", "--allow", "all"], 2, "invalid value 'all'"),
        (&["new", "team-b", "--token", "--id", "x"], 2, "cannot be used with"),
        (&["new", "team-b", "--seal-with", "env:NONE"], 2, "\"NONE\" is not set"),
        (&["new", "team-b", "--seal-with", MASTER], 2, "the master must not be"),
        (&["new", "team-b", "--seal-with", "env:SHORT"], 2, "fewer than 32 bytes"),
        (&["new", "team-b", "--secret-file", "/none/secret"], 1, "/none/secret: cannot be created"),
        (&["rotate", "team-b"], 1, "there is no caller \"team-b\""),
        (&["rotate", "team-a", "--id", "a-1"], 1, "already refers to \"env:CALLER_A_1_SECRET\""),
        (&["rotate", "team-a", "--finish"], 1, "does not have two keys"),
        (&["rotate", "team-a", "--finish", "--id", "x"], 2, "cannot be used with"),
        (&["revoke", "a b"], 2, "invalid"),
    ];
    for (arguments, exit, words) in rows {
        let config = folder.path("link.toml");
        let all = [&["keys"], arguments, &["--file", &config]].concat();
        let (code, out, messages) = run(&all, &[MASTERS[0], ("SHORT", "short")]);
        assert_eq!((code, out.as_str()), (Some(exit), ""), "{arguments:?}: {messages}");
        assert!(messages.contains(words), "{arguments:?}: {messages}");
        search_for("the messages", &messages, &[MASTER]);
        assert_eq!(folder.text(), before, "{arguments:?}");
        assert_eq!(folder.names(), ["link.toml", "proxy.toml"], "{arguments:?}");
    }
    // A secret file is removed if the file cannot be changed.
    let secret_file = folder.path("secret");
    assert_eq!(folder.keys(&["new", "team-a", "--secret-file", &secret_file]).0, Some(1));
    assert_eq!(folder.names(), ["link.toml", "proxy.toml"]);
    let (code, _, messages) = folder.keys(&["revoke", "unknown"]);
    assert!(code == Some(0) && messages.contains("neither a caller nor a key \"unknown\""), "{messages}");
    fs::write(&folder.config, "[[caller]\n").expect("written");
    let (code, _, messages) = folder.keys(&["revoke", "a-1"]);
    assert!(code == Some(78) && messages.contains("line 1: invalid TOML"), "{messages}");
    fs::write(&folder.config, b"\xff").expect("written");
    let (code, _, messages) = folder.keys(&["revoke", "a-1"]);
    assert!(code == Some(1) && messages.contains("is not UTF-8"), "{messages}");
}
