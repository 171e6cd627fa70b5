//! `run`: a command with a private proxy. The command gets no key, and otherwise behaves as without
//! the proxy.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use crate::support::{ID, KEY, SECRET, Script, TOKEN, oss, program};

/// Returns a configuration file for this upstream.
pub(crate) fn file(upstream: SocketAddr, sections: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[upstream]\nregion = \"cn-hangzhou\"\nendpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{upstream}\"\n{sections}"
    );
    std::fs::write(&file, text).expect("written");
    file
}

/// Returns `run` with this file, these flags, and a key. The command must be added.
pub(crate) fn with(file: &tempfile::NamedTempFile, flags: &[&str]) -> Command {
    let mut command = program(&["run", "--config", file.path().to_str().expect("a path")]);
    // In a separate process group, it is not in the foreground of any terminal.
    command.args(flags).arg("--").envs(KEY).env("PATH", "/usr/bin:/bin").process_group(0);
    command
}

/// Runs `script` in a shell to its end. Returns exit code, standard output and standard error.
pub(crate) fn shell(mut run: Command, script: &str) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = run.args(["sh", "-c", script]).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), id.to_string()]).status().expect("kill");
    assert!(sent.success());
}

#[test]
fn the_command_sees_where_the_proxy_is_and_no_key() {
    let oss = oss();
    let file = file(
        oss.address,
        "[credentials.default]\ntype = \"static\"\naccess_key_id = \"env:MINE\"\naccess_key_secret = \"env:MINE_TOO\"\n",
    );
    let mut run = with(&file, &[]);
    for name in [
        "OSS_SESSION_TOKEN",
        "OSS_STS_ROLE_ARN",
        "OSS_PROFILE",
        "OSS_CREDENTIAL_PROFILES_FILE",
        "OSS_PROXY_LOG_LEVEL",
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
        "ALIBABA_CLOUD_ROLE_ARN",
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
        "ALIBABA_CLOUD_CREDENTIALS_URI",
        "ALIBABA_CLOUD_CREDENTIALS_FILE",
        "ALIBABA_CLOUD_CONFIG_FILE",
        "ALIBABA_CLOUD_PROFILE",
        "ALIBABA_CLOUD_ECS_METADATA",
        "ALIBABACLOUD_ACCESS_KEY_SECRET",
        "ALICLOUD_SECRET_KEY",
        "ACCESS_KEY_SECRET",
    ] {
        // The log level is read, so it needs a valid value. No value may reach the command.
        run.env(name, if name == "OSS_PROXY_LOG_LEVEL" { "error" } else { TOKEN });
    }
    run.env("MINE", ID).env("MINE_TOO", SECRET).env("OSS_BUCKET", "photos").env("no_proxy", "example.test");
    let (code, out, err) = shell(run, "env; curl -sS -T /etc/passwd $OSS_ENDPOINT/photos/k");
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    for planted in [ID, SECRET, TOKEN, "MINE", "OSS_PROXY_", "ALICLOUD_", "ROLE_ARN", "http_proxy"] {
        assert!(!out.contains(planted), "{planted}: {out}");
    }
    for shown in [
        "OSS_ENDPOINT=http://127.0.0.1:",
        "OSS_REGION=cn-hangzhou",
        "OSS_ACCESS_KEY_ID=dummy",
        "OSS_ACCESS_KEY_SECRET=dummy",
        "OSS_BUCKET=photos",
        "no_proxy=example.test",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED=true",
    ] {
        assert!(out.contains(shown), "{shown}: {out}");
    }
}

#[test]
fn secrets_of_callers_in_other_files_do_not_reach_the_command() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let caller = |name: &str, reference: &str| {
        format!("[[caller]]\nname = \"{name}\"\nkey = [{{ id = \"{name}-1\", secret = \"{reference}\" }}]\n")
    };
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let single = write("callers.toml", &caller("a", "env:OF_CALLERS_FILE"));
    std::fs::create_dir(directory.path().join("d")).expect("a directory");
    write("d/b.toml", &caller("b", "env:OF_CALLERS_DIR"));
    write("d/c.toml", "[[caller]]\nname = \ntoken = \"env:OF_BROKEN_FILE\"\n");
    write("d/note.txt", &caller("d", "env:OF_ANOTHER_FILE"));
    let folder = directory.path().join("d");
    for setting in [format!("callers_dir = {folder:?}"), format!("callers_dir = {{ path = {folder:?} }}")] {
        let file = file(oss.address, "");
        let text = std::fs::read_to_string(file.path()).expect("text");
        std::fs::write(file.path(), format!("callers_file = {single:?}\n{setting}\n{text}"))
            .expect("written");
        let mut run = with(&file, &[]);
        for name in ["OF_CALLERS_FILE", "OF_CALLERS_DIR", "OF_BROKEN_FILE", "OF_ANOTHER_FILE", "OF_NO_FILE"] {
            run.env(name, SECRET);
        }
        let (code, out, err) = shell(run, "env | grep ^OF_ | cut -d= -f1 | sort | tr '\\n' ' '");
        assert_eq!((code, out.as_str()), (Some(0), "OF_ANOTHER_FILE OF_NO_FILE "), "{err}");
        assert!(err.contains("c.toml") && err.contains("invalid TOML"), "{err}");
    }
    // Without its file, nobody knows the names.
    std::fs::remove_file(&single).expect("removed");
    let file = file(oss.address, "");
    let text = std::fs::read_to_string(file.path()).expect("text");
    std::fs::write(file.path(), format!("callers_file = {single:?}\n{text}")).expect("written");
    let (code, _, err) = shell(with(&file, &[]), "true");
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("cannot read") && err.contains("callers.toml"), "{err}");
}

#[test]
fn where_systemd_has_put_the_key_is_not_told_to_the_command() {
    let oss = oss();
    let directory = tempfile::tempdir().expect("a directory");
    let key = directory.path().join("oss");
    std::fs::write(&key, SECRET).expect("written");
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("a mode");
    let credentials = |secret: &str| {
        format!(
            "[credentials.default]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{secret}\"\n"
        )
    };
    let script = "echo ${CREDENTIALS_DIRECTORY-unset}; curl -fsS $OSS_ENDPOINT/photos?acl -o /dev/null";
    let told = |secret: &str| {
        let file = file(oss.address, &credentials(secret));
        let mut run = with(&file, &[]);
        run.env("CREDENTIALS_DIRECTORY", directory.path()).env("KEY", SECRET);
        let (code, out, err) = shell(run, script);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        out.trim().to_owned()
    };
    assert_eq!(told("credential:oss"), "unset");
    assert_eq!(told("env:KEY"), directory.path().display().to_string(), "it is the command's own");
}

#[test]
fn what_the_command_uploads_unsigned_is_stored() {
    let oss = oss();
    let file = file(oss.address, "");
    let script = "printf body | curl -fsS -T - $OSS_ENDPOINT/photos/k && curl -fsS $OSS_ENDPOINT/photos/k";
    let (code, out, err) = shell(with(&file, &[]), script);
    // No log line is written, because nothing is wrong.
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "body", ""));
    // A request signed with the dummy key is re-signed.
    let script = "curl -fsS -H 'Authorization: OSS dummy:x' $OSS_ENDPOINT/photos/k";
    assert_eq!(shell(with(&file, &[]), script).1, "body");
    let script = "curl -fsS http://photos.oss-cn-hangzhou.aliyuncs.com/k; curl -fsS $OSS_ENDPOINT/photos/k";
    let (code, out, err) = shell(with(&file, &["--forward"]), script);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "bodybody", ""));
}

#[test]
fn the_end_of_the_command_is_the_end_of_run() {
    let oss = oss();
    let file = file(oss.address, "");
    for (script, code) in
        [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 128 + 15), ("kill -KILL $$", 128 + 9)]
    {
        assert_eq!(shell(with(&file, &[]), script).0, Some(code), "{script}");
    }
    for (name, code, words) in [
        ("no-such-program", 127, "not found"),
        ("/etc/passwd", 126, "cannot execute"),
        ("/none/x", 127, "/none/x"),
    ] {
        let output = with(&file, &[]).arg(name).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn signals_are_forwarded_to_the_command() {
    let oss = oss();
    let file = file(oss.address, "");
    for name in ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"] {
        let script =
            format!("trap 'echo got {name}; exit 5' {name}; echo prepared; while :; do sleep 0.02; done");
        let mut child = with(&file, &[]).args(["sh", "-c", &script]).spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("output")).lines();
        let mut line = || out.next().expect("a line").expect("text");
        assert_eq!(line(), "prepared");
        signal(child.id(), name);
        assert_eq!(line(), format!("got {name}"));
        assert_eq!(child.wait().expect("an end").code(), Some(5), "{name}");
    }
}

/// Starts many processes, so that some of the signals arrive before `run` has started its command.
#[test]
fn a_signal_that_comes_while_the_command_starts_reaches_it() {
    let oss = oss();
    let file = file(oss.address, "");
    let script =
        "trap 'exit 5' USR1; kill -USR1 $PPID; i=0; while [ $i -lt 500 ]; do sleep 0.02; i=$((i+1)); done";
    let started: Vec<_> =
        (0..64).map(|_| with(&file, &[]).args(["sh", "-c", script]).spawn().expect("it starts")).collect();
    for mut child in started {
        assert_eq!(child.wait().expect("an end").code(), Some(5));
    }
}

#[test]
fn a_signal_that_run_was_started_to_ignore_is_ignored_by_the_command_too() {
    let oss = oss();
    let file = file(oss.address, "");
    let mut run = with(&file, &[]);
    run.args(["sh", "-c", "kill -HUP $$; exit 4"]);
    let mut outer = Command::new("sh");
    outer
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(run.get_program())
        .args(run.get_args())
        .envs(KEY);
    assert_eq!(outer.output().expect("it runs").status.code(), Some(4));
}

#[test]
fn the_command_has_the_streams_of_run() {
    let oss = oss();
    let file = file(oss.address, "");
    let mut run = with(&file, &[]);
    run.args(["sh", "-c", "cat; echo complaint >&2"]).stdin(Stdio::piped());
    let mut child = run.spawn().expect("it starts");
    child.stdin.take().expect("input").write_all(b"a\nb").expect("written");
    let output = child.wait_with_output().expect("an end");
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"a\nb"[..], &b"complaint\n"[..]));
}

#[test]
fn the_command_may_do_what_it_could_without_the_proxy_but_not_look_into_it() {
    let oss = oss();
    let file = file(oss.address, "[process]\nno_new_privileges = true\n");
    let limits = "ulimit -c; ulimit -n; grep NoNewPrivs /proc/self/status; ls -ld /proc/self | cut -d' ' -f3";
    let bare = Command::new("sh").args(["-c", limits]).output().expect("it runs");
    let (code, out, err) = shell(with(&file, &[]), limits);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), &*String::from_utf8_lossy(&bare.stdout), ""));
    // A root user may read it.
    let (_, out, _) = shell(with(&file, &[]), "test $(id -u) = 0 || cat /proc/$PPID/environ");
    assert!(!out.contains(SECRET), "{out}");
}

#[test]
fn nothing_is_started_if_the_configuration_is_wrong() {
    let oss = oss();
    let broken = file(oss.address, "[limits]\nbodyy = 1\n");
    let (code, out, err) = shell(with(&broken, &[]), "echo started");
    assert_eq!((code, out.as_str()), (Some(78), ""), "{err}");
    assert!(err.contains("did you mean body"), "{err}");
    let same = file(
        oss.address,
        "[credentials.default]\ntype = \"static\"\naccess_key_id = \"LTAIx\"\naccess_key_secret = \"LTAIx\"\n",
    );
    let (code, out, err) = shell(with(&same, &[]), "echo started");
    assert_eq!((code, out.as_str()), (Some(78), ""), "{err}");
    for flag in ["--listen=127.0.0.1:0", "--admin-listen=off"] {
        let (code, out, err) = shell(with(&same, &[flag]), "echo started");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains("free port of loopback"), "{err}");
    }
    assert_eq!(crate::support::run(&["run", "--region", "cn-hangzhou"], &KEY).0, Some(2));
}

#[test]
fn its_help_names_no_flag_that_it_refuses() {
    for arguments in [["run", "--help"], ["man", "run"]] {
        let (code, help, _) = crate::support::run(&arguments, &[]);
        assert_eq!(code, Some(0), "{help}");
        let help = help.replace('\\', "");
        assert!(help.contains("--read-only") && help.contains("--forward"), "{help}");
        for flag in ["--listen", "--admin-listen", "--unsafe-open"] {
            assert!(!help.contains(flag), "{flag}: {help}");
        }
    }
}

#[test]
fn the_listeners_of_the_file_count_for_nothing_and_the_flags_do() {
    let oss = oss();
    let listeners = "[[listen]]\naddress = \"127.0.0.1:1\"\ntls = { cert_file = \"/none\", key_file = \"/none\" }\n\
                     [[listen]]\naddress = \"unix:/none/socket\"\n[admin]\naddress = \"0.0.0.0:2\"\n[log]\nfile = \"/none/log\"\n";
    let file = file(oss.address, listeners);
    let put = "curl -s -o /dev/null -w '%{http_code}' -X PUT -d x $OSS_ENDPOINT/photos/k";
    let mut run = with(&file, &[]);
    run.env("OSS_PROXY_LISTEN", "127.0.0.1:1").env("OSS_PROXY_ADMIN_LISTEN", "127.0.0.1:2");
    assert_eq!(shell(run, put), (Some(0), "200".to_owned(), String::new()));
    assert_eq!(shell(with(&file, &["--read-only"]), put).1, "403");
}

#[test]
fn the_log_is_silent_unless_it_is_asked_for() {
    let oss = oss();
    let quiet = file(oss.address, "");
    let get = "curl -s -o /dev/null $OSS_ENDPOINT/photos/none";
    assert_eq!(shell(with(&quiet, &[]), get).2, "");
    let (_, _, log) = shell(with(&quiet, &["--log-level", "info", "--log-format", "json"]), get);
    assert!(log.contains("\"listening\"") && !log.contains("GetObject"), "{log}");
    let loud = file(oss.address, "[log]\nlevel = \"info\"\naccess = true\nformat = \"json\"\n");
    let (_, _, log) = shell(with(&loud, &[]), get);
    assert!(log.contains("GetObject"), "{log}");
}

#[test]
fn what_the_command_leaves_behind_does_not_hold_the_end_beyond_its_bound() {
    let upstream = Script::start(|peer| {
        peer.head();
        peer.rest();
    });
    let file = file(upstream.address, "[timeouts]\ndrain = \"300ms\"\n");
    let script = "curl -s -m 60 $OSS_ENDPOINT/photos/k >/dev/null 2>&1 & echo begun; read answer; exit 6";
    let mut run = with(&file, &[]);
    let mut child = run.args(["sh", "-c", script]).stdin(Stdio::piped()).spawn().expect("it starts");
    crate::support::eventually("the request arrives", || !upstream.heads().is_empty());
    child.stdin.take().expect("input").write_all(b"on\n").expect("written");
    let output = child.wait_with_output().expect("an end");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{log}");
    assert!(log.contains("the drain ended with open connections"), "{log}");
}

#[test]
fn the_end_is_known_also_to_a_run_that_was_started_to_ignore_the_ends_of_children() {
    let oss = oss();
    let file = file(oss.address, "");
    let mut run = with(&file, &[]);
    run.args(["sh", "-c", "exit 7"]);
    // A shell does not inherit this setting.
    let mut outer = Command::new("env");
    outer.arg("--ignore-signal=CHLD").arg(run.get_program()).args(run.get_args());
    let output = outer.envs(KEY).output().expect("it runs");
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_proxy_of_the_environment_does_not_come_between_the_command_and_its_own() {
    let oss = oss();
    let file = file(oss.address, "");
    let nobody = "http://127.0.0.1:1";
    let mut run = with(&file, &[]);
    run.env("http_proxy", nobody).env("ALL_PROXY", nobody).env("no_proxy", "example.test");
    let (code, out, err) =
        shell(run, "curl -fsS $OSS_ENDPOINT/photos?acl -o /dev/null; echo $no_proxy $NO_PROXY");
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (Some(0), "example.test,127.0.0.1 example.test,127.0.0.1\n", "")
    );

    let mut run = with(&file, &["--forward"]);
    run.env("NO_PROXY", "example.test,.aliyuncs.com").env("http_proxy", nobody);
    let script = "curl -fsS 'http://photos.oss-cn-hangzhou.aliyuncs.com/?acl' -o /dev/null; echo $no_proxy";
    let (code, out, err) = shell(run, script);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "example.test,100.100.100.200\n", ""));
}

#[test]
fn forward_sends_only_what_is_for_oss_through_the_proxy() {
    let oss = oss();
    let file = file(oss.address, "");
    let other = Script::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let script = format!(
        "echo $no_proxy $NO_PROXY; curl -sS -o /dev/null -w '%{{http_code}}\n' http://192.168.7.7/; \
         curl -sS http://{}/",
        other.address
    );
    let (code, out, err) = shell(with(&file, &["--forward"]), &script);
    let (lines, told) = out.split_at(out.find("<?xml").unwrap_or(out.len()));
    assert_eq!((code, lines, err.as_str()), (Some(0), "100.100.100.200 100.100.100.200\n421\n", ""), "{out}");
    assert!(told.contains("no_proxy") && !told.contains("<Name>"), "{told}");
    assert!(other.heads().is_empty() && oss.recorder.count() == 0, "nothing is signed");
}
