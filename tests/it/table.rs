//! Every credential provider through its whole life, all at the same time. It signs, rotates under
//! load, expires, fails, recovers, and reports errors.
//! `cargo test each_source_through_its_life -- --nocapture` prints the results.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use oss_signing_proxy::app::SystemEnv;
use oss_signing_proxy::emulator::issuer::{CredentialIssuer, IssuerFault};
use oss_signing_proxy::emulator::{EmulatedAccount, EmulatorThread};
use oss_signing_proxy::time::{Clock as _, Timestamp};

use crate::support::{ID, KEY, Proxy, SECRET, Served, ask, eventually, oss, proxy};

const ROLE: &str = "acs:ram::1234567890123456:role/logs";
const SCENARIOS: [&str; 6] =
    ["success", "rotation under load", "expiry", "failing backend", "recovery", "error text"];

/// The results of a provider, in the order of [`SCENARIOS`].
type Row = (&'static str, [&'static str; 6]);

/// The fixture: an OSS, an issuer of credentials, and a directory.
struct Stage {
    oss: EmulatorThread,
    issuer: CredentialIssuer,
    directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let oss = oss();
        let issuer =
            CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an issuer");
        issuer.role(ROLE, None);
        issuer.token("pod-token");
        issuer.instance("app", Some(true));
        Self { oss, issuer, directory: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the access key ids that have signed requests.
    fn signers(&self) -> BTreeSet<String> {
        let id = |text: &str| text.split("Credential=").nth(1)?.split('/').next().map(str::to_owned);
        let all = self.oss.recorder.requests();
        all.iter().filter_map(|request| id(request.headers.get("authorization")?.to_str().ok()?)).collect()
    }
}

fn get(proxy: &Proxy) -> (u16, Option<String>) {
    let answer = ask(proxy.address, "GET", "/photos/k", b"");
    (answer.status, answer.refused().map(str::to_owned))
}

/// Sends requests continuously for this time; none may fail.
fn load(proxy: &Proxy, source: &str, lasts: Duration) {
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        assert_eq!(get(proxy).0, 200, "{source}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Sends requests until the status is this. Until then, OSS must not reject any.
fn until(proxy: &Proxy, source: &str, status: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (got, refused) = get(proxy);
        if got == status {
            assert_eq!(refused.as_deref(), (got == 503).then_some("credentials-unavailable"), "{source}");
            return;
        }
        assert!(got == 200 || got == 503, "{source}: {got} {refused:?}");
        assert!(Instant::now() < deadline, "{source}: {status} never comes");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Returns the last error, as shown by the admin listener.
fn last_error(admin: SocketAddr) -> String {
    let text = ask(admin, "GET", "/credentials", b"").text();
    let sources: serde_json::Value = serde_json::from_str(&text).expect("json");
    let all = sources.as_array().expect("sources").iter();
    all.filter_map(|source| source["last_error"].as_str()).collect::<Vec<_>>().join("; ")
}

/// Runs a provider that calls the issuer.
fn issued(name: &'static str, lines: impl Fn(&Stage) -> (String, String)) -> Row {
    let stage = Stage::new();
    stage.issuer.set_lifetime(Duration::from_secs(6));
    let (credentials, sections) = lines(&stage);
    let proxy = proxy(stage.oss.address).credentials(&credentials).sections(&sections).start();
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200, "{name}");
    stage.issuer.set_fault(IssuerFault { every_second: true, ..IssuerFault::default() });
    load(&proxy, name, Duration::from_secs(9));
    assert!(stage.signers().len() >= 2, "{name}: {:?}", stage.signers());
    stage.issuer.set_fault(IssuerFault { dead: true, ..IssuerFault::default() });
    until(&proxy, name, 503);
    eventually("the error is told", || last_error(proxy.admin).contains(&stage.issuer.address.to_string()));
    stage.issuer.set_fault(IssuerFault::default());
    until(&proxy, name, 200);
    (name, ["ok"; 6])
}

/// Runs a provider that reads a key from a file that `write` writes: id, secret, and expiry.
fn read(
    name: &'static str,
    expires: bool,
    lines: impl Fn(&Path) -> String,
    write: impl Fn(&Path, &str, &str, Option<Timestamp>),
) -> Row {
    let stage = Stage::new();
    stage.oss.service.add_account(EmulatedAccount::pair("LTAIsecondkeyid", "second-secret"));
    let path = stage.path("key");
    let end = |seconds: u64| expires.then(|| SystemEnv.now() + Duration::from_secs(seconds));
    write(&path, ID, SECRET, end(3_600));
    let proxy = proxy(stage.oss.address).credentials(&lines(&path)).start();
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200, "{name}");
    thread::scope(|scope| {
        scope.spawn(|| load(&proxy, name, Duration::from_secs(7)));
        write(&path, "LTAIsecondkeyid", "second-secret", end(if expires { 9 } else { 3_600 }));
    });
    assert_eq!(stage.signers().len(), 2, "{name}: {:?}", stage.signers());
    fs::remove_file(&path).expect("removed");
    if expires {
        until(&proxy, name, 503);
    } else {
        load(&proxy, name, Duration::from_secs(2));
    }
    eventually("the error is told", || {
        let error = last_error(proxy.admin);
        error.contains(path.to_str().expect("a path")) || error.contains("/bin/cat\" failed with")
    });
    write(&path, ID, SECRET, end(3_600));
    until(&proxy, name, 200);
    let expiry = if expires { "ok" } else { "cannot expire" };
    (name, ["ok", "ok", expiry, "ok", "ok", "ok"])
}

fn put_down(path: &Path, text: &str) {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, text).expect("written");
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::rename(fresh, path).expect("renamed");
}

fn json(path: &Path, id: &str, secret: &str, expires: Option<Timestamp>) {
    let end = expires.map_or(String::new(), |end| format!(", \"expiration\": \"{}\"", end.rfc3339()));
    put_down(path, &format!("{{\"access_key_id\": \"{id}\", \"access_key_secret\": \"{secret}\"{end}}}"));
}

fn over_base(lines: &str) -> (String, String) {
    let base = format!(
        "[credentials.base]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\""
    );
    (lines.to_owned(), base)
}

/// Runs a static key, which cannot change while the process runs.
fn fixed(name: &'static str, environment: &[(&str, &str)], sections: &str) -> Row {
    let stage = Stage::new();
    let served = Served::start_with(stage.oss.address, sections, &[], environment);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200, "{name}");
    (name, ["ok", "cannot change", "cannot expire", "has none", "has none", "see bad_input"])
}

/// Runs the environment with a role, which it assumes like `assume_role`.
fn env_role() -> Row {
    let name = "env + OSS_STS_ROLE_ARN";
    let stage = Stage::new();
    stage.issuer.set_lifetime(Duration::from_secs(6));
    let endpoint = format!("http://{}", stage.issuer.address);
    let more = [("OSS_STS_ROLE_ARN", ROLE), ("ALIBABA_CLOUD_STS_ENDPOINT", endpoint.as_str())];
    let served = Served::start(stage.oss.address, &[], &[&KEY[..], &more].concat());
    let status = || ask(served.address, "PUT", "/photos/k", b"v").status;
    let until = |wanted: u16| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while status() != wanted {
            assert!(Instant::now() < deadline, "{name}: {wanted} never comes");
            thread::sleep(Duration::from_millis(50));
        }
    };
    let end = Instant::now() + Duration::from_secs(9);
    while Instant::now() < end {
        assert_eq!(status(), 200);
        thread::sleep(Duration::from_millis(20));
    }
    assert!(stage.signers().len() >= 2 && !stage.signers().contains(ID), "{:?}", stage.signers());
    stage.issuer.set_fault(IssuerFault { dead: true, ..IssuerFault::default() });
    until(503);
    eventually("the error is told", || {
        last_error(served.admin()).contains(&stage.issuer.address.to_string())
    });
    stage.issuer.set_fault(IssuerFault::default());
    until(200);
    assert!(!stage.signers().contains(ID), "never the plain pair");
    (name, ["ok"; 6])
}

/// Starts the providers that send requests, and the static ones.
fn asking() -> Vec<thread::JoinHandle<Row>> {
    let role =
        |stage: &Stage| format!("role_arn = \"{ROLE}\"\nsts_endpoint = \"http://{}\"", stage.issuer.address);
    vec![
        thread::spawn(|| {
            let of = format!("type = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"");
            fixed("static", &[], &format!("[credentials.default]\n{of}"))
        }),
        thread::spawn(|| fixed("env", &KEY, "[credentials.default]\ntype = \"env\"")),
        thread::spawn(env_role),
        thread::spawn(|| {
            let stage = Stage::new();
            let proxy = proxy(stage.oss.address).credentials("type = \"anonymous\"").start();
            assert_eq!(get(&proxy).0, 403, "OSS decides");
            ("anonymous", ["ok", "cannot change", "cannot expire", "has none", "has none", "has none"])
        }),
        thread::spawn(move || {
            issued("assume_role", |stage| {
                over_base(&format!("type = \"assume_role\"\nsource = \"base\"\n{}", role(stage)))
            })
        }),
        thread::spawn(move || {
            issued("oidc", |stage| {
                let token = stage.path("token");
                put_down(&token, "pod-token");
                let lines = format!(
                    "type = \"oidc\"\noidc_provider_arn = \"acs:ram::1:oidc-provider/p\"\ntoken_file = {token:?}\n{}",
                    role(stage)
                );
                (lines, String::new())
            })
        }),
        thread::spawn(|| {
            issued("ecs", |stage| {
                (format!("type = \"ecs\"\nendpoint = \"http://{}\"", stage.issuer.address), String::new())
            })
        }),
        thread::spawn(|| {
            issued("uri", |stage| {
                (
                    format!("type = \"uri\"\nurl = \"http://{}/credentials\"", stage.issuer.address),
                    String::new(),
                )
            })
        }),
    ]
}

/// Starts the providers that read external files or output.
fn reading() -> Vec<thread::JoinHandle<Row>> {
    let of_tool = |kind: &str, stage: &Stage, text: &str| {
        let path = stage.path("tool");
        put_down(&path, text);
        let at = stage.issuer.address;
        (format!("type = \"{kind}\"\npath = {path:?}\nsts_endpoint = \"http://{at}\""), String::new())
    };
    let profile = |id: &str, secret: &str, more: &str| {
        format!(
            r#"{{"current": "a", "profiles": [{{"name": "a", "access_key_id": "{id}", "access_key_secret": "{secret}"{more}}}]}}"#
        )
    };
    vec![
        thread::spawn(|| {
            read(
                "process",
                true,
                // The command runs again before its credentials expire. It cannot detect a change
                // in between.
                |path| format!("type = \"process\"\ncommand = [\"/bin/cat\", {path:?}]\ncache = \"1s\""),
                |path, id, secret, end| {
                    let soon = end.map(|end| end.min(SystemEnv.now() + Duration::from_secs(9)));
                    json(path, id, secret, soon);
                },
            )
        }),
        thread::spawn(|| read("file", true, |path| format!("type = \"file\"\npath = {path:?}"), json)),
        thread::spawn(move || {
            read(
                "profile (AK)",
                false,
                |path| format!("type = \"profile\"\npath = {path:?}"),
                |path, id, secret, _| put_down(path, &profile(id, secret, "")),
            )
        }),
        thread::spawn(move || {
            issued("profile (RamRoleArn)", |stage| {
                let more = format!(r#", "mode": "RamRoleArn", "ram_role_arn": "{ROLE}""#);
                of_tool("profile", stage, &profile(ID, SECRET, &more))
            })
        }),
        thread::spawn(|| {
            read(
                "ini (access_key)",
                false,
                |path| format!("type = \"ini\"\npath = {path:?}"),
                |path, id, secret, _| {
                    let key = format!("access_key_id = {id}\naccess_key_secret = {secret}\n");
                    put_down(path, &format!("[default]\ntype = access_key\n{key}"));
                },
            )
        }),
        thread::spawn(move || {
            issued("ini (ram_role_arn)", |stage| {
                let key = format!("access_key_id = {ID}\naccess_key_secret = {SECRET}\nrole_arn = {ROLE}\n");
                of_tool("ini", stage, &format!("[default]\ntype = ram_role_arn\n{key}"))
            })
        }),
        thread::spawn(|| {
            read(
                "ossutil",
                false,
                |path| format!("type = \"ossutil\"\npath = {path:?}"),
                |path, id, secret, _| {
                    put_down(path, &format!("[Credentials]\naccessKeyID={id}\naccessKeySecret={secret}\n"));
                },
            )
        }),
    ]
}

#[test]
fn each_source_through_its_life() {
    let rows: Vec<Row> =
        asking().into_iter().chain(reading()).map(|row| row.join().expect("no panic")).collect();
    let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
    let mut table = line(&[&["source"], &SCENARIOS[..]].concat());
    table.push_str(&line(&["---"; 7]));
    for (name, results) in &rows {
        table.push_str(&line(&[&[*name], &results[..]].concat()));
    }
    std::io::Write::write_all(&mut std::io::stdout(), table.as_bytes()).expect("written");
    assert_eq!(rows.len(), 15);
}
