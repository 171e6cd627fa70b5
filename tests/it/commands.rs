//! The program as its users run it: exit codes, output, and shutdown.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use std::time::Duration;

use crate::support::{Client, KEY, Script, Served, ask, eventually, in_flight, program, run};

#[test]
fn the_demo_shows_what_the_proxy_is_for() {
    let (code, out, err) = run(&["demo", "--exit"], &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(out.matches(" ok\n").count(), 4, "{out}");
    assert!(!out.contains('\x1b'), "no colours where nobody looks: {out:?}");
}

#[test]
fn the_demo_finds_other_ports_when_the_usual_are_taken() {
    // The ports are in use, either by this test or by another process.
    let taken: Vec<_> =
        [8770, 8771, 8780].map(|port| TcpListener::bind(("127.0.0.1", port))).into_iter().collect();
    let (code, out, err) = run(&["demo", "--exit"], &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    drop(taken);
}

#[test]
fn environment_credentials_and_a_region_are_enough() {
    let (code, out, err) = run(&["check", "--region", "cn-hangzhou"], &[]);
    assert_eq!(code, Some(0), "{out}{err}");
    let free =
        TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
    let mut child = program(&["--region", "cn-hangzhou", "--listen", &free, "--admin-listen", "off"])
        .envs(KEY)
        .spawn()
        .expect("it starts");
    eventually("it listens", || std::net::TcpStream::connect(&free).is_ok());
    child.kill().expect("killed");
    child.wait().expect("an end");
}

#[test]
fn a_wrong_access_key_in_the_environment_ends_the_start_with_78() {
    let rows: [(&[(&str, &str)], &str); 7] = [
        (&[("OSS_ACCESS_KEY_ID", "LTAIx")], "OSS_ACCESS_KEY_SECRET is not"),
        (&[("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")], "ALIBABA_CLOUD_ACCESS_KEY_ID is not"),
        (&[("OSS_ACCESS_KEY_ID", "LTAIx"), ("OSS_ACCESS_KEY_SECRET", "LTAIx")], "the same"),
        (&[("OSS_ACCESS_KEY_ID", "LTAIx"), ("OSS_ACCESS_KEY_SECRET", "ab****yz")], "****"),
        (&[("OSS_ACCESS_KEY_ID", "LTAIx"), ("OSS_ACCESS_KEY_SECRET", "ab\n")], "line break"),
        (&[("OSS_ACCESS_KEY_ID", "STS.x"), ("OSS_ACCESS_KEY_SECRET", "s3cret")], "no security token"),
        (&[("OSS_STS_ROLE_ARN", "acs:ram::1:role/r")], "which assume the role"),
    ];
    for (environment, expected) in rows {
        let (code, _, err) = run(
            &["--region", "cn-hangzhou", "--listen", "127.0.0.1:0", "--admin-listen", "off"],
            environment,
        );
        assert_eq!(code, Some(78), "{err}");
        assert!(err.contains(expected), "{err}");
        assert!(!err.contains("s3cret") && !err.contains("ab**"), "{err}");
        let (code, _, err) = run(&["check", "--region", "cn-hangzhou"], environment);
        assert_eq!(code, Some(78), "check says what serve says: {err}");
        assert!(err.contains(expected), "{err}");
    }
}

#[test]
fn a_variable_that_is_not_text_or_not_known_ends_the_start_with_78() {
    let not_text = OsStr::from_bytes(b"cn-\xff");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[credentials.default]\ntype = \"static\"\naccess_key_id = \"env:MY_ID\"\naccess_key_secret = \"env:MY_SECRET\"\n";
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
    let path = file.path().to_str().expect("a path");
    let process = tempfile::NamedTempFile::new().expect("a file");
    let text =
        "[credentials.default]\ntype = \"process\"\ncommand = [\"/bin/true\"]\nenvironment = [\"MY_TOOL\"]\n";
    std::fs::write(process.path(), text).expect("written");
    let usual = ["--region", "cn-hangzhou", "--listen", "127.0.0.1:0", "--admin-listen", "off"];
    for (name, value, words) in [
        ("OSS_PROXY_REGION", not_text, "OSS_PROXY_REGION: the value is not UTF-8"),
        ("OSS_PROXY_CONFIG", not_text, "OSS_PROXY_CONFIG: the value is not UTF-8"),
        ("OSS_ACCESS_KEY_SECRET", not_text, "OSS_ACCESS_KEY_SECRET: the value is not UTF-8"),
        ("ALIBABA_CLOUD_ROLE_ARN", not_text, "ALIBABA_CLOUD_ROLE_ARN: the value is not UTF-8"),
        ("MY_TOOL", not_text, "the value of the variable \"MY_TOOL\" is not UTF-8"),
        ("MY_SECRET", not_text, "the value of the variable \"MY_SECRET\" is not UTF-8"),
        (
            "OSS_PROXY_REGOIN",
            "cn-hangzhou".as_ref(),
            "OSS_PROXY_REGOIN: unknown environment variable; did you mean OSS_PROXY_REGION?",
        ),
    ] {
        for command in ["serve", "check", "explain"] {
            let mut command = program(&[&[command], &usual[..]].concat());
            match name {
                "MY_SECRET" => command.args(["--config", path]).env("MY_ID", "LTAIx"),
                "MY_TOOL" => command.arg("--config").arg(process.path()),
                _ => &mut command,
            };
            let output = command.envs(KEY).env(name, value).output().expect("it runs");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(78), "{name}: {errors}");
            assert!(errors.contains(words), "{name}: {errors}");
        }
    }
}

#[test]
fn every_mistake_of_a_configuration_is_told_at_once_with_78() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[[listen]]\naddress = \"0.0.0.0:8770\"\n[upstream]\nregoin = \"cn-hangzhou\"\naddressing = \"cname\"\n";
    std::io::Write::write_all(&mut file, text.as_bytes()).expect("written");
    let path = file.path().to_str().expect("a path");
    let (code, _, err) = run(&["check", "--config", path], &[]);
    assert_eq!(code, Some(78));
    for expected in [":2:", "unsafe_open", ":4:", "regoin", "region", "bucket"] {
        assert!(err.contains(expected), "{expected}: {err}");
    }
    let (code, _, err) = run(&["serve", "--config", path], &KEY);
    assert_eq!(code, Some(78), "{err}");
    let text = "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.a]\ntype = \"static\"\naccess_key_id = \"LTAIx\"\n\
                access_key_secret = \"LTAIx\"\n[credentials.b]\ntype = \"static\"\naccess_key_id = \"STS.x\"\naccess_key_secret = \"s\"\n";
    std::fs::write(file.path(), text).expect("written");
    let (code, _, err) = run(&["check", "--config", path], &[]);
    assert_eq!(code, Some(78));
    for expected in [":3: credentials.a", "the same", ":7: credentials.b", "no security token"] {
        assert!(err.contains(expected), "{expected}: {err}");
    }
    let (code, _, err) = run(&["check", "--config", "/nowhere/proxy.toml"], &[]);
    assert_eq!(code, Some(78));
    assert!(err.contains("/nowhere/proxy.toml"), "{err}");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    assert_eq!(run(&["--no-such-flag"], &[]).0, Some(2));
    assert_eq!(run(&["no-such-command"], &[]).0, Some(2));
    let (code, out, _) = run(&["--help"], &[]);
    assert_eq!(code, Some(0));
    assert!(out.contains("demo") && out.contains("--region"), "{out}");
    assert_eq!(run(&["version"], &[]).1.trim(), concat!("oss-signing-proxy ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_help_lists_flags_by_topic_and_the_values_that_they_accept() {
    let (code, help, _) = run(&["serve", "--help"], &[]);
    assert_eq!(code, Some(0), "{help}");
    for (heading, flags) in [
        ("Options:", &["--config"][..]),
        ("Listener:", &["--listen", "--unsafe-open", "--domain", "--admin-listen", "--read-only"]),
        ("Upstream:", &["--region", "--internal", "--endpoint", "--bucket", "--signature", "--ca-file"]),
        ("Logging:", &["--log-level", "--log-format"]),
    ] {
        let listed = help.lines().skip_while(|line| *line != heading).skip(1);
        let listed: Vec<_> = listed.take_while(|line| !line.is_empty()).collect();
        for flag in flags {
            let is_listed = listed.iter().any(|line| line.trim_start().starts_with(&format!("{flag} ")));
            assert!(is_listed, "{flag} under {heading} in {help}");
        }
    }
    for (flag, values) in CLOSED {
        let line = help.lines().find(|line| line.contains(&format!("{flag} <"))).unwrap_or_default();
        assert!(line.ends_with(&format!("[possible values: {}]", values.join(", "))), "{flag}: {help}");
    }
}

#[test]
fn a_typo_in_a_value_of_a_closed_set_is_a_usage_error_with_a_suggestion() {
    for (flag, typo, similar) in
        [("--log-level", "inof", "info"), ("--log-format", "jsno", "json"), ("--signature", "v44", "v4")]
    {
        let (code, out, err) = run(&["check", "--region", "cn-hangzhou", flag, typo], &[]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(err.contains(&format!("a similar value exists: '{similar}'")), "{err}");
    }
    // A variable is part of the configuration.
    let typo = [("OSS_PROXY_LOG_LEVEL", "inof")];
    let (code, _, err) = run(&["check", "--region", "cn-hangzhou"], &typo);
    assert_eq!(code, Some(78), "{err}");
}

#[test]
fn the_configuration_accepts_every_value_that_a_flag_offers() {
    for (flag, values) in CLOSED {
        for value in values {
            let (code, out, err) = run(&["check", "--region", "cn-hangzhou", flag, value], &[]);
            assert_eq!(code, Some(0), "{flag} {value}: {out}{err}");
        }
    }
}

/// The flags with a closed set of values.
const CLOSED: [(&str, &[&str]); 3] = [
    ("--signature", &["v4", "v1"]),
    ("--log-level", &["error", "warn", "info", "debug", "trace"]),
    ("--log-format", &["auto", "text", "json"]),
];

#[test]
fn shells_and_readers_of_manuals_know_every_command() {
    let commands = [
        "serve",
        "check",
        "explain",
        "doctor",
        "demo",
        "keys",
        "presign",
        "emulate",
        "run",
        "wait",
        "completion",
        "man",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, err) = run(&["completion", shell], &[]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{shell}");
        for word in commands.iter().chain(&["log-level", "forward"]) {
            assert!(out.contains(word), "{shell}: {word}");
        }
        for (flag, values) in CLOSED {
            let offered = match shell {
                "fish" => values.join("\\t''\n"),
                _ => values.join(" "),
            };
            assert!(out.contains(&offered), "{shell} offers no values of {flag}");
        }
    }
    let (code, page, err) = run(&["man"], &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for command in commands {
        assert!(page.contains(&format!("oss\\-signing\\-proxy\\-{command}(1)")), "{command}: {page}");
        let (code, page, err) = run(&["man", command], &[]);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(page.contains(&format!(".TH oss-signing-proxy-{command} 1")), "{page}");
    }
    let (code, page, _) = run(&["man", "keys", "rotate"], &[]);
    assert_eq!(code, Some(0));
    assert!(page.contains(".TH oss-signing-proxy-keys-rotate 1") && page.contains("\\-\\-finish"), "{page}");
    assert_eq!(run(&["man", "nothing"], &[]).0, Some(2));
    assert_eq!(run(&["man", "keys", "nothing"], &[]).0, Some(2));
    assert_eq!(run(&["completion", "nothing"], &[]).0, Some(2));
}

#[test]
fn a_port_in_use_is_named_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, _, err) =
        run(&["--region", "cn-hangzhou", "--listen", &address, "--admin-listen", "off"], &KEY);
    assert_eq!(code, Some(1));
    assert!(err.contains(&address) && err.contains("already in use") && err.contains("--listen"), "{err}");
}

#[test]
fn a_second_signal_forces_the_end_with_1() {
    let (_upstream, served, _client) = in_flight();
    served.signal("TERM");
    std::thread::sleep(Duration::from_millis(100));
    served.signal("INT");
    let (code, log) = served.end();
    assert_eq!(code, Some(1), "{log}");
}

#[test]
fn the_embedded_oss_runs_alone_and_misbehaves_on_request() {
    let mut child = program(&[
        "emulate",
        "--listen",
        "127.0.0.1:0",
        "--bucket",
        "photos",
        "--fault",
        "1:status=503:SlowDown",
    ])
    .spawn()
    .expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("output")).read_line(&mut line).expect("a line");
    let address: SocketAddr = line
        .split_once("http://")
        .and_then(|(_, rest)| rest.split(',').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no address in {line}"));
    let refused = ask(address, "GET", "/photos/k", b"");
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("<Code>SlowDown</Code>"), "{}", refused.text());
    assert_eq!(ask(address, "GET", "/photos/k", b"").status, 403, "once was asked for");
    let asked = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    assert!(asked.success());
    assert_eq!(child.wait().expect("an end").code(), Some(0));
    let (code, _, err) = run(&["emulate", "--listen", "0.0.0.0:0"], &[]);
    assert_eq!(code, Some(2), "{err}");
    for (old, present) in [("--life", "--token-lifetime"), ("--pod-token", "--oidc-token")] {
        let (code, _, err) = run(&["emulate", "--issuer", "127.0.0.1:0", old, "20s"], &[]);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(&format!("renamed to {present}")), "{err}");
    }
    let (code, _, err) = run(&["emulate", "--fault", "nope"], &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("cut-body=BYTES"), "the kinds are told: {err}");
}

#[test]
fn large_bodies_stream_in_constant_memory() {
    const TOTAL: usize = 256 * 1024 * 1024;
    const PIECE: usize = 64 * 1024;
    let upstream = Script::start(|peer| {
        let head = peer.head().expect("a head");
        if head.starts_with("PUT") {
            for _ in 0..TOTAL / PIECE {
                peer.take(PIECE);
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        } else {
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n"));
            for _ in 0..TOTAL / PIECE {
                peer.send([b'x'; PIECE]);
            }
        }
    });
    let served = Served::start(upstream.address, &[], &KEY);
    let mut client = Client::connect(served.address);
    client.send(format!(
        "PUT /photos/k HTTP/1.1\r\nHost: {}\r\nContent-Length: {TOTAL}\r\n\r\n",
        served.address
    ));
    for _ in 0..TOTAL / PIECE {
        client.send([b'x'; PIECE]);
    }
    assert_eq!(client.answer("PUT").map(|answer| answer.status), Some(200));
    let got = Client::connect(served.address).ask("GET", "/photos/k", &served.address.to_string(), "", b"");
    assert!(got.whole && got.body.len() == TOTAL);
    let peak = peak_kib(served.child.id());
    assert!(peak < 64 * 1024, "the proxy had {peak} KiB at once");
}

/// Returns the peak resident memory of a process.
fn peak_kib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the status of the process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn explain_tells_who_signs_and_why_nobody_else() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = "[upstream]\nregion = \"cn-hangzhou\"\n[[route]]\nmatch = { bucket = \"public\" }\ncredentials = \"open\"\n\
                [credentials.open]\ntype = \"anonymous\"\n";
    std::fs::write(&file, text).expect("written");
    let path = file.path().to_str().expect("a path");
    let (code, out, errors) = run(&["explain", "--config", path], &KEY);
    assert_eq!(code, Some(0), "{errors}");
    for words in [
        "upstream   https://oss-cn-hangzhou.aliyuncs.com:443  -> source \"default\"",
        "route 1    bucket public  https://oss-cn-hangzhou.aliyuncs.com:443  -> unsigned (anonymous)",
        "source \"default\"  non_expiring  default/env/OSS",
        "env             SELECTED",
        "oidc_role_arn   not tried",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    assert!(!out.contains(KEY[0].1) && !out.contains(KEY[1].1), "{out}");

    let (code, out, _) = run(&["explain", "--config", path], &[("HOME", "/nowhere")]);
    assert_eq!(code, Some(77), "{out}");
    for words in [
        "empty",
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        "~/.aliyun/config.json",
        "ALIBABA_CLOUD_ECS_METADATA_DISABLED is true",
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
}

#[test]
fn check_shows_the_credentials_masked_and_warns_about_lasting_ones() {
    let arguments = ["check", "--region", "cn-hangzhou", "--credentials"];
    let (code, out, errors) = run(&arguments, &KEY);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("default/env/OSS  key LTAI…eyid"), "{out}");
    assert!(errors.contains("long-lived access key"), "{errors}");
    assert!(!format!("{out}{errors}").contains(KEY[1].1));
    let (code, out, _) = run(&arguments, &[("HOME", "/nowhere")]);
    assert_eq!(code, Some(77), "{out}");
    let (code, out, errors) = run(&arguments, &KEY[..1]);
    assert_eq!(code, Some(78), "{out}{errors}");
    assert!(out.contains("env             SELECTED, FAILS") && errors.contains("is not"), "{out}{errors}");
}

#[test]
fn the_embedded_oss_ends_on_term_also_with_clients_that_stay() {
    let mut child =
        program(&["emulate", "--listen", "127.0.0.1:0", "--bucket", "photos"]).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    let address: SocketAddr = line
        .split_once("http://")
        .and_then(|(_, rest)| rest.split(',').next())
        .and_then(|text| text.parse().ok())
        .expect("an address");
    let mut client = Client::connect(address);
    assert_eq!(client.ask("GET", "/photos/k", &address.to_string(), "", b"").status, 403);
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
    let mut code = None;
    eventually("it ends", || {
        code = child.try_wait().expect("a child");
        code.is_some()
    });
    assert!(code.is_some_and(|code| code.success()));
}
