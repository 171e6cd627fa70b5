//! Credentials from the files of other tools and from commands, through the whole proxy.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use oss_signing_proxy::emulator::EmulatorThread;
use oss_signing_proxy::emulator::issuer::CredentialIssuer;

use crate::support::{ID, SECRET, STS_ID, Served, TOKEN, ask, eventually, oss, proxy, run};

fn profile(id: &str, secret: &str) -> String {
    format!(
        r#"{{"current": "a", "profiles": [{{"name": "a", "mode": "AK", "access_key_id": "{id}", "access_key_secret": "{secret}"}}]}}"#
    )
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    // Atomically, as the tools write it.
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, text).expect("written");
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).expect("a mode");
    fs::rename(fresh, path).expect("renamed");
}

/// Writes a command that runs `lines`, and returns its path.
fn command(directory: &Path, lines: &str) -> String {
    let path = directory.join("command");
    fs::write(&path, format!("#!/bin/sh\n{lines}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("a mode");
    path.to_str().expect("a path").to_owned()
}

#[test]
fn the_profile_of_the_command_line_signs_and_is_never_written() {
    let oss = oss();
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join(".aliyun/config.json");
    write(&file, &profile("LTAIwrong", "another-secret"));
    let path = home.path().to_str().expect("a path");
    let served = Served::start(oss.address, &[], &[("HOME", path)]);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 403);
    // An invalid file has no effect, a valid one has.
    write(&file, "{");
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 403);
    let good = profile(ID, SECRET);
    write(&file, &good);
    eventually("the new profile signs", || ask(served.address, "PUT", "/photos/k", b"v").status == 200);
    assert_eq!(fs::read_to_string(&file).expect("the file"), good);
    served.signal("TERM");
    let (code, log) = served.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("default/cli_profile/static_ak") && !log.contains(SECRET), "{log}");
}

#[test]
fn a_profile_and_a_section_may_be_named() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let (json, ini) = (directory.path().join("config.json"), directory.path().join("credentials"));
    write(&json, &profile(ID, SECRET));
    write(
        &ini,
        &format!(
            "[mine]\ntype = sts\naccess_key_id = {STS_ID}\naccess_key_secret = {SECRET}\nsts_token = {TOKEN}\n"
        ),
    );
    for lines in [
        format!("type = \"profile\"\npath = {json:?}\nprofile = \"a\""),
        format!("type = \"ini\"\npath = {ini:?}\nprofile = \"mine\""),
    ] {
        let proxy = proxy(oss.address).credentials(&lines).start();
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200, "{lines}");
    }
}

#[test]
fn a_command_gives_what_signs_and_is_not_run_for_each_request() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let runs = directory.path().join("runs");
    let text = format!(
        "env >> {runs:?}\necho run >> {runs:?}\necho '{{\"mode\":\"AK\",\"access_key_id\":\"{ID}\",\"access_key_secret\":\"{SECRET}\"}}'"
    );
    let program = command(directory.path(), &text);
    let sections = format!(
        "[credentials.default]\ntype = \"process\"\ncommand = [\"{program}\", \"a b\"]\nenvironment = [\"WANTED\"]"
    );
    let environment = [
        ("PATH", "/usr/bin:/bin"),
        ("WANTED", "yes"),
        ("OSS_ACCESS_KEY_SECRET", "planted-in-the-environment"),
        ("UNWANTED", "no"),
    ];
    let served = Served::start_with(oss.address, &sections, &[], &environment);
    for _ in 0..20 {
        assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
    }
    let seen = fs::read_to_string(&runs).expect("it has run");
    assert_eq!(seen.matches("run\n").count(), 1, "{seen}");
    assert!(seen.contains("WANTED=yes") && !seen.contains("planted") && !seen.contains("UNWANTED"), "{seen}");
}

#[test]
fn a_command_that_fails_says_so_without_what_it_printed() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("proxy.toml");
    for (lines, words) in [
        ("echo planted-secret-value >&2; exit 3", "exit status: 3"),
        ("echo planted-secret-value", "not JSON credentials"),
        ("head -c 70000 /dev/zero | tr '\\\\0' a; sleep 60", "printed more than 64 KiB"),
    ] {
        let program = command(directory.path(), lines);
        let text = format!(
            "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\ntype = \"process\"\ncommand = [\"{program}\"]"
        );
        fs::write(&file, text).expect("written");
        let begun = std::time::Instant::now();
        let arguments = ["check", "--config", file.to_str().expect("a path")];
        let (code, _, errors) = run(&arguments, &[("PATH", "/usr/bin:/bin")]);
        assert_eq!(code, Some(77), "{lines}: {errors}");
        assert!(errors.contains(words) && !errors.contains(SECRET), "{lines}: {errors}");
        assert!(begun.elapsed().as_secs() < 14, "{lines}");
    }
}

#[test]
fn nobody_signs_for_a_public_bucket() {
    let oss = oss();
    let proxy = proxy(oss.address).credentials("type = \"anonymous\"").start();
    let answer = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!(answer.status, 403, "OSS decides, and this bucket is private");
    assert_eq!(answer.refused(), None);
    let request = oss.recorder.last().expect("a request");
    let sent = |name: &str| request.headers.contains_key(name);
    assert!(!sent("authorization") && !sent("x-oss-date") && !sent("x-oss-security-token"));
    assert_eq!(ask(proxy.admin, "GET", "/readyz", b"").status, 200);
}

#[test]
fn the_endpoints_of_ossutils_file_become_routes_when_asked() {
    let other = oss();
    let oss = oss();
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join(".ossutilconfig");
    let text = format!(
        "[Credentials]\nendpoint = oss-cn-hangzhou.aliyuncs.com\naccess-id = {ID}\naccess_key = {SECRET}\n\
         [Bucket-Endpoint]\nfiles = http://{}\n",
        other.address
    );
    let profiles = format!(
        "[default]\naccess-key-id = {ID}\naccess-key-secret = {SECRET}\nregion = cn-hangzhou\nbuckets = mine\n\
         [buckets mine]\nfiles =\n  endpoint = http://{}\n",
        other.address
    );
    for (text, asked, expected) in
        [(&text, false, 0), (&text, true, 1), (&profiles, false, 0), (&profiles, true, 1)]
    {
        write(&file, text);
        let before = other.recorder.count();
        let lines = format!("type = \"ossutil\"\npath = {file:?}\nroutes = {asked}");
        let proxy = proxy(oss.address).credentials(&lines).start();
        assert_eq!(ask(proxy.address, "PUT", "/files/k", b"v").status, 200, "routes {asked}");
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200, "routes {asked}");
        assert_eq!(other.recorder.count() - before, expected, "routes {asked}");
    }
}

#[test]
fn a_command_that_is_given_up_leaves_nothing_running() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("proxy.toml");
    let pid = directory.path().join("pid");
    let lines = format!("sleep 300 &\necho $! > {pid:?}\nhead -c 70000 /dev/zero\nwait");
    let program = command(directory.path(), &lines);
    let text = format!(
        "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\ntype = \"process\"\ncommand = [\"{program}\"]"
    );
    fs::write(&file, text).expect("written");
    let arguments = ["check", "--config", file.to_str().expect("a path")];
    let (code, _, errors) = run(&arguments, &[("PATH", "/usr/bin:/bin")]);
    assert_eq!(code, Some(77), "{errors}");
    let pid = fs::read_to_string(&pid).expect("it has run");
    let stat = Path::new("/proc").join(pid.trim()).join("stat");
    // An exited process whose parent has not waited for it yet is a zombie.
    let ended = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    eventually("what it has started ends", ended);
}

#[test]
fn a_command_that_never_ends_is_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("proxy.toml");
    let program = command(directory.path(), "sleep 300");
    let text = format!(
        "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\ntype = \"process\"\ncommand = [\"{program}\"]"
    );
    fs::write(&file, text).expect("written");
    let begun = std::time::Instant::now();
    let arguments = ["check", "--config", file.to_str().expect("a path")];
    let (code, _, errors) = run(&arguments, &[("PATH", "/usr/bin:/bin")]);
    assert!(code == Some(77) && errors.contains("did not exit within 15s"), "{errors}");
    assert!((14..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[test]
fn a_role_whose_key_was_replaced_is_assumed_with_the_new_one() {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    let role = "acs:ram::1234567890123456:role/logs";
    sts.role(role, None);
    let directory = tempfile::tempdir().expect("a directory");
    let runs = directory.path().join("runs");
    let print = |id: &str| format!("echo '{{\"AccessKeyId\":\"{id}\",\"AccessKeySecret\":\"{SECRET}\"}}'");
    // The first key that it prints has been deleted meanwhile.
    let text = format!(
        "echo run >> {runs:?}\nif [ $(wc -l < {runs:?}) = 1 ]; then {}; else {}; fi",
        print("LTAIdeleted"),
        print(ID)
    );
    let program = command(directory.path(), &text);
    let lines = format!(
        "type = \"assume_role\"\nsource = \"base\"\nrole_arn = \"{role}\"\nsts_endpoint = \"http://{}\"",
        sts.address
    );
    let base = format!("[credentials.base]\ntype = \"process\"\ncommand = [\"{program}\"]");
    let proxy = proxy(oss.address).credentials(&lines).sections(&base).start();
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200);
    assert_eq!(fs::read_to_string(&runs).expect("it has run").lines().count(), 2);
    assert_eq!(sts.calls().len(), 2);

    // If the role itself is denied, the provider is not refreshed.
    sts.fail(1_000, http::StatusCode::FORBIDDEN, "NoPermission");
    let other = lines.replace(role, "acs:ram::1234567890123456:role/other");
    let refused = crate::support::proxy(oss.address).credentials(&other).sections(&base).start();
    assert_eq!(ask(refused.address, "GET", "/photos/k", b"").status, 503);
    assert_eq!(fs::read_to_string(&runs).expect("it has run").lines().count(), 3);
}

/// Returns an issuer that accepts the requests of all these providers.
fn issuer(oss: &EmulatorThread) -> CredentialIssuer {
    let issuer = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an issuer");
    issuer.role("acs:ram::1:role/a", None);
    issuer.role("acs:ram::1:role/b", None);
    issuer.token("pod-token");
    issuer
}

#[test]
fn each_mode_of_a_profile_signs() {
    let oss = oss();
    let issuer = issuer(&oss);
    let directory = tempfile::tempdir().expect("a directory");
    let (path, token) = (directory.path().join("config.json"), directory.path().join("token"));
    fs::write(&token, "pod-token").expect("written");
    let printed = format!(r#"{{"mode":"AK","access_key_id":"{ID}","access_key_secret":"{SECRET}"}}"#);
    let program = command(directory.path(), &format!("echo '{printed}'"));
    let role = format!(
        r#""access_key_id": "{ID}", "access_key_secret": "{SECRET}", "ram_role_arn": "acs:ram::1:role/a""#
    );
    for (mode, more, provider) in [
        (
            "StsToken",
            format!(
                r#""access_key_id": "{STS_ID}", "access_key_secret": "{SECRET}", "sts_token": "{TOKEN}""#
            ),
            "static_sts",
        ),
        ("RamRoleArn", role, "ram_role_arn/static_ak"),
        (
            "RamRoleArn",
            format!(
                r#""access_key_id": "{STS_ID}", "access_key_secret": "{SECRET}", "sts_token": "{TOKEN}", "ram_role_arn": "acs:ram::1:role/a""#
            ),
            "ram_role_arn/static_sts",
        ),
        (
            "CloudSSO",
            format!(
                r#""access_key_id": "{STS_ID}", "access_key_secret": "{SECRET}", "sts_token": "{TOKEN}", "sts_expiration": 4102444800"#
            ),
            "cloud_sso",
        ),
        (
            "ChainableRamRoleArn",
            r#""source_profile": "RamRoleArn", "ram_role_arn": "acs:ram::1:role/b""#.to_owned(),
            "ram_role_arn/ram_role_arn/static_ak",
        ),
        (
            "OIDC",
            format!(
                r#""ram_role_arn": "acs:ram::1:role/a", "oidc_provider_arn": "p", "oidc_token_file": {token:?}"#
            ),
            "oidc_role_arn",
        ),
        (
            "CredentialsURI",
            format!(r#""credentials_uri": "http://{}/credentials""#, issuer.address),
            "credential_uri",
        ),
        ("External", format!(r#""process_command": "{program} 'a b'""#), "external"),
    ] {
        let profiles = format!(
            r#"{{"name": "{mode}", "mode": "{mode}", {more}}}, {{"name": "RamRoleArn", "mode": "RamRoleArn", "access_key_id": "{ID}", "access_key_secret": "{SECRET}", "ram_role_arn": "acs:ram::1:role/a"}}"#
        );
        write(&path, &format!(r#"{{"current": "{mode}", "profiles": [{profiles}]}}"#));
        let lines = format!(
            "type = \"profile\"\npath = {path:?}\nallow_process = true\nsts_endpoint = \"http://{}\"",
            issuer.address
        );
        let proxy = proxy(oss.address).credentials(&lines).start();
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200, "{mode}");
        let told = ask(proxy.admin, "GET", "/credentials", b"").text();
        assert!(told.contains(&format!("\"provider\": \"cli_profile/{provider}")), "{mode}: {told}");
    }
}

#[test]
fn the_command_that_renews_an_expired_login_is_named_and_its_new_keys_sign() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("config.json");
    let login = |expires: u64| {
        format!(
            r#"{{"current": "me", "profiles": [{{"name": "me", "mode": "OAuth", "access_key_id": "{STS_ID}", "access_key_secret": "{SECRET}", "sts_token": "{TOKEN}", "sts_expiration": {expires}}}]}}"#
        )
    };
    write(&file, &login(1_700_000_000));
    let config = directory.path().join("proxy.toml");
    let text = format!(
        "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\ntype = \"profile\"\npath = {file:?}"
    );
    fs::write(&config, text).expect("written");
    let (code, _, errors) = run(&["check", "--config", config.to_str().expect("a path")], &[]);
    assert_eq!(code, Some(77), "{errors}");
    assert!(errors.contains("run `aliyun configure --profile me --mode OAuth`"), "{errors}");

    let proxy = proxy(oss.address).credentials(&format!("type = \"profile\"\npath = {file:?}")).start();
    assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 503);
    write(&file, &login(4_102_444_800));
    eventually("the new keys sign", || ask(proxy.address, "PUT", "/photos/k", b"v").status == 200);
}

#[test]
fn each_type_of_a_section_signs() {
    let oss = oss();
    let issuer = issuer(&oss);
    let directory = tempfile::tempdir().expect("a directory");
    let (path, token) = (directory.path().join("file"), directory.path().join("token"));
    fs::write(&token, "pod-token").expect("written");
    let pair = format!("access_key_id = {ID}\naccess_key_secret = {SECRET}\n");
    let triple = format!("access_key_id = {STS_ID}\naccess_key_secret = {SECRET}\nsts_token = {TOKEN}\n");
    let role = format!("{pair}role_arn = acs:ram::1:role/a\nram_role_arn = acs:ram::1:role/a\n");
    let pod = format!(
        "role_arn = acs:ram::1:role/a\noidc_provider_arn = p\noidc_token_file_path = {}\n",
        token.display()
    );
    let uri = format!("credentials_uri = http://{}/credentials\n", issuer.address);
    for (kind, text) in [
        ("ini", format!("[default]\ntype = access_key\n{pair}")),
        ("ini", format!("[default]\ntype = sts\n{triple}")),
        ("ini", format!("[default]\ntype = ram_role_arn\n{role}")),
        ("ini", format!("[default]\ntype = oidc_role_arn\n{pod}")),
        ("ini", format!("[default]\ntype = credentials_uri\n{uri}")),
        ("ossutil", format!("[Credentials]\nmode = AK\n{pair}")),
        ("ossutil", format!("[Credentials]\nmode = StsToken\n{triple}")),
        ("ossutil", format!("[Credentials]\nmode = RamRoleArn\n{role}")),
        ("ossutil", format!("[default]\n{pair}")),
        ("ossutil", format!("[default]\n{triple}")),
        (
            "ossutil",
            format!(
                "[default]\nmode = RamRoleArn\nsource-profile = key\nrole-arn = acs:ram::1:role/a\n[profile key]\n{pair}"
            ),
        ),
        ("ossutil", format!("[default]\nmode = OIDCRoleArn\n{pod}")),
        (
            "ossutil",
            format!("[default]\nmode = Uri\ncredential-uri = http://{}/credentials\n", issuer.address),
        ),
        ("ossutil", format!("[Credentials]\n[AkService]\necsAk = http://{}/credentials\n", issuer.address)),
    ] {
        write(&path, &text);
        let lines =
            format!("type = \"{kind}\"\npath = {path:?}\nsts_endpoint = \"http://{}\"", issuer.address);
        let proxy = proxy(oss.address).credentials(&lines).start();
        assert_eq!(ask(proxy.address, "PUT", "/photos/k", b"v").status, 200, "{text}");
    }
}
