//! Files of callers while the proxy runs: each change of one team's file, with its effect on that
//! team and on the others.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::support::{Client, KEY, Script, Served, ask, eventually, run};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Returns a caller that has its own name in its token.
fn caller(name: &str, allow: &str) -> String {
    format!("[[caller]]\nname = \"{name}\"\nallow = \"{allow}\"\ntoken = \"{}\"\n", token(name))
}

fn token(name: &str) -> String {
    format!("PlantedTokenOf30Letters-{name:0>8}")
}

/// A proxy with a directory of callers.
struct CallersProxy {
    directory: tempfile::TempDir,
    served: Served,
    client: Client,
    upstream: Script,
}

impl CallersProxy {
    /// Starts it with these files of callers.
    fn start(files: &[(&str, &str)]) -> Self {
        let upstream = Script::answering(OK);
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("d")).expect("a directory");
        for (name, text) in files {
            fs::write(directory.path().join("d").join(name), text).expect("written");
        }
        let path = directory.path().join("proxy.toml");
        fs::write(&path, Self::text(upstream.address, directory.path(), "", "")).expect("written");
        let served = Served::of_file(&path, &KEY);
        let client = Client::connect(served.address);
        Self { directory, served, client, upstream }
    }

    fn text(upstream: SocketAddr, directory: &Path, top: &str, sections: &str) -> String {
        let dir = directory.join("d");
        let listeners = "[[listen]]\naddress = \"127.0.0.1:0\"\nidentify = [\"token\"]\n\
                         [admin]\naddress = \"127.0.0.1:0\"\n";
        format!("callers_dir = {dir:?}\n{top}\n{}{listeners}{sections}", Served::text(upstream, ""))
    }

    /// Rewrites the main file.
    fn rewrite(&self, top: &str, sections: &str) {
        let text = Self::text(self.upstream.address, self.directory.path(), top, sections);
        fs::write(self.directory.path().join("proxy.toml"), text).expect("written");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("d").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("written");
    }

    /// Returns whether the caller is known, on the connection of all such requests.
    fn knows(&mut self, name: &str) -> bool {
        let headers = format!("Authorization: Bearer {}\r\n", token(name));
        let host = self.served.address.to_string();
        self.client.ask("GET", "/photos/k", &host, &headers, b"").status == 200
    }

    /// Reloads the configuration, which succeeds, and returns what changed.
    #[track_caller]
    fn reload(&self) -> String {
        let (status, told) = self.served.reload();
        assert_eq!(status, 200, "{told}");
        assert_eq!(ask(self.served.admin(), "GET", "/readyz", b"").status, 200);
        told
    }

    /// Returns the number of broken files, according to the metrics.
    fn broken(&self) -> u32 {
        let metrics = ask(self.served.admin(), "GET", "/metrics", b"").text();
        let name = "oss_proxy_config_broken_callers_files ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{metrics}"))
    }

    /// Ends the proxy, and returns its log.
    fn log(self) -> String {
        self.served.signal("TERM");
        self.served.end().1
    }
}

#[test]
fn a_file_is_added_broken_corrected_and_deleted_while_a_connection_stays_open() {
    let mut proxy = CallersProxy::start(&[("a.toml", &caller("a", "read"))]);
    assert!(proxy.knows("a") && !proxy.knows("b") && proxy.broken() == 0);
    proxy.write("b.toml", &caller("b", "read"));
    assert!(proxy.reload().contains("caller b added: allow read"));
    assert!(proxy.knows("a") && proxy.knows("b"));
    // The file is broken: its callers stay, and the changes of others apply.
    proxy.write("b.toml", "[[caller]]\nname = \"b\"\nallow = \"write\"\n");
    proxy.write("c.toml", &caller("c", "read"));
    assert!(proxy.reload().contains("caller c added"));
    assert!(proxy.knows("a") && proxy.knows("b") && proxy.knows("c"));
    assert_eq!(proxy.broken(), 1);
    let answer = proxy.reload();
    assert!(answer.starts_with("reloaded\nnot used: ") && answer.lines().count() == 3, "{answer}");
    proxy.write("b.toml", &caller("b2", "read"));
    assert!(proxy.reload().contains("caller b removed"));
    assert!(!proxy.knows("b") && proxy.knows("b2") && proxy.broken() == 0);
    fs::remove_file(proxy.file("b.toml")).expect("removed");
    assert!(proxy.reload().contains("caller b2 removed"));
    assert!(proxy.knows("a") && !proxy.knows("b2"));
    // An empty file is broken, not without callers.
    proxy.write("a.toml", "");
    proxy.reload();
    assert!(proxy.knows("a") && proxy.broken() == 1);
    let log = proxy.log();
    let told = log.matches("a file of callers cannot be used; it keeps its previous callers").count();
    assert_eq!(told, 3, "two mistakes and an empty file, once each: {log}");
    assert!(log.contains("b.toml:3: caller.allow: invalid value \\\"write\\\"; expected one of"), "{log}");
    assert!(log.contains("all files of callers can be used again"), "{log}");
    assert!(!log.contains("PlantedToken"), "{log}");
}

#[test]
fn changes_are_noticed_without_a_reload_as_a_mounted_configmap_makes_them() {
    let mut proxy = CallersProxy::start(&[]);
    let volume = |version: &str, name: &str| {
        fs::create_dir(proxy.file(version)).expect("a directory");
        let inner = format!(
            "[[caller]]\nname = \"{name}\"\nallow = \"read\"\ntoken = \"file:{}\"\n",
            proxy.file("secret").display()
        );
        fs::write(proxy.file(version).join("team.toml"), inner).expect("written");
        fs::write(proxy.file(version).join("secret"), token(name)).expect("written");
        // The link to the version is replaced in one step.
        symlink(version, proxy.file("..next")).expect("linked");
        fs::rename(proxy.file("..next"), proxy.file("..data")).expect("renamed");
    };
    volume("..1", "a");
    for name in ["team.toml", "secret"] {
        symlink(format!("..data/{name}"), proxy.file(name)).expect("linked");
    }
    volume("..2", "b");
    fs::remove_dir_all(proxy.file("..1")).expect("removed");
    eventually("the second version is applied", || proxy.knows("b"));
    assert!(!proxy.knows("a"));
    assert_eq!(proxy.broken(), 0);
    // A broken secret breaks the file, and its correction alone corrects it.
    fs::write(proxy.file("..2").join("secret"), "short").expect("written");
    eventually("the file is broken", || proxy.broken() == 1);
    assert!(proxy.knows("b"));
    fs::remove_file(proxy.file("..2").join("secret")).expect("removed");
    proxy.reload();
    fs::write(proxy.file("..2").join("secret"), token("c")).expect("written");
    eventually("the file is corrected", || proxy.broken() == 0);
    assert!(proxy.knows("c") && !proxy.knows("b"));
}

#[test]
fn a_team_takes_nothing_from_another_and_revocations_apply_beside_broken_files() {
    let mut proxy = CallersProxy::start(&[("b.toml", &caller("b", "read"))]);
    proxy.write("a.toml", &caller("b", "everything"));
    proxy.reload();
    assert!(proxy.knows("b") && proxy.broken() == 1);
    let host = proxy.served.address.to_string();
    let headers = format!("Authorization: Bearer {}\r\n", token("b"));
    let put = proxy.client.ask("PUT", "/photos/k", &host, &headers, b"");
    assert_eq!((put.status, put.refused()), (403, Some("denied")));
    // The owner's file is broken too. The main file revokes a caller of it, and has one of its own.
    proxy.write("b.toml", "name = ");
    proxy.rewrite("revoked = [\"b\"]", &caller("main", "read"));
    proxy.reload();
    assert!(!proxy.knows("b") && proxy.knows("main"));
    // The other file claims only a revoked name.
    assert_eq!(proxy.broken(), 1);
    // A file that changes with each check does not hold back the other changes.
    proxy.rewrite("", &caller("main", "read"));
    let mut count = 0;
    eventually("the main file is applied", || {
        count += 1;
        proxy.write("a.toml", &format!("# {count}"));
        proxy.knows("b")
    });
}

#[test]
fn references_of_a_team_stay_inside_of_the_directory() {
    let mut proxy = CallersProxy::start(&[("a.toml", &caller("a", "read"))]);
    let outside = proxy.directory.path().join("outside");
    fs::write(&outside, token("stolen")).expect("written");
    symlink(&outside, proxy.file("link")).expect("linked");
    let foreign = proxy.directory.path().join("foreign.toml");
    fs::write(&foreign, caller("foreign", "read")).expect("written");
    let directory = proxy.file("");
    let refer =
        |path: &str| format!("[[caller]]\nname = \"stolen\"\nallow = \"read\"\ntoken = \"file:{path}\"\n");
    for path in [
        outside.display().to_string(),
        format!("{}../outside", directory.display()),
        proxy.file("link").display().to_string(),
        // A pipe would block the reader.
        proxy.file("pipe").display().to_string(),
    ] {
        if path.ends_with("pipe") {
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            assert!(made.expect("mkfifo").success());
        }
        proxy.write("b.toml", &refer(&path));
        proxy.reload();
        assert!(!proxy.knows("stolen") && proxy.knows("a"), "{path}");
        assert_eq!(proxy.broken(), 1, "{path}");
    }
    symlink(&foreign, proxy.file("c.toml")).expect("linked");
    proxy.reload();
    assert!(!proxy.knows("foreign") && proxy.broken() == 2);
    proxy.write("inside", &token("stolen"));
    proxy.write("b.toml", &refer(&proxy.file("inside").display().to_string()));
    proxy.reload();
    assert!(proxy.knows("stolen") && proxy.broken() == 1);
    assert!(proxy.log().contains("it is outside of"));
}

#[test]
fn check_and_explain_name_the_file_of_a_caller_and_a_broken_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path").to_owned();
    let text = format!(
        "callers_file = {:?}\n[upstream]\nregion = \"cn-hangzhou\"\n[[listen]]\nidentify = [\"token\"]\n{}",
        path("callers.toml"),
        caller("main", "read")
    );
    fs::write(path("proxy.toml"), text).expect("written");
    fs::write(path("callers.toml"), format!("# Teams\n{}", caller("a", "read"))).expect("written");
    let (code, out, errors) = run(&["check", "--config", &path("proxy.toml")], &KEY);
    assert_eq!(code, Some(0), "{out}{errors}");
    assert!(
        out.contains(&format!("caller     a allow read keys - token ({}:2)", path("callers.toml"))),
        "{out}"
    );
    assert!(out.contains(&format!("({}:6)", path("proxy.toml"))), "{out}");
    let header = format!("Authorization: Bearer {}", token("a"));
    let explain = ["explain", "--config", &path("proxy.toml"), "GET", "/photos/k", "--header", &header];
    let (code, out, errors) = run(&explain, &KEY);
    assert_eq!(code, Some(0), "{out}{errors}");
    assert!(out.contains(&format!("a ({}:2)", path("callers.toml"))), "{out}");
    fs::write(path("callers.toml"), format!("# Teams\n{}", caller("main", "read"))).expect("written");
    let (code, out, errors) = run(&["check", "--config", &path("proxy.toml")], &KEY);
    assert_eq!(code, Some(78), "{out}{errors}");
    assert!(errors.contains("callers.toml:2: caller: another caller already has this name"), "{errors}");
}
