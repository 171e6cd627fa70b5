//! Roles: the providers that call STS, from the configuration to a signature that OSS accepts.

use std::fs;
use std::time::Duration;

use http::StatusCode;
use oss_signing_proxy::emulator::EmulatorThread;
use oss_signing_proxy::emulator::issuer::CredentialIssuer;

use crate::support::{ID, KEY, Proxy, SECRET, STS_ID, Served, TOKEN, ask, eventually, oss, proxy, run};

const ROLE: &str = "acs:ram::1234567890123456:role/logs";

fn sts(oss: &EmulatorThread) -> CredentialIssuer {
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role(ROLE, None);
    sts
}

/// Starts a proxy whose `[credentials.default]` is the role, which `[credentials.base]` assumes.
fn assuming(oss: &EmulatorThread, sts: &CredentialIssuer, more: &str, base: &str) -> Proxy {
    proxy(oss.address)
        .credentials(&format!(
            "type = \"assume_role\"\nsource = \"base\"\nrole_arn = \"{ROLE}\"\nsts_endpoint = \"http://{}\"\n{more}",
            sts.address
        ))
        .sections(&format!("[credentials.base]\n{base}"))
        .start()
}

fn pair() -> String {
    format!("type = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"")
}

fn put(proxy: &Proxy) -> u16 {
    ask(proxy.address, "PUT", "/photos/k", b"v").status
}

/// Returns the access key id of the last request that OSS received.
fn signer(oss: &EmulatorThread) -> String {
    let request = oss.recorder.last().expect("a request");
    let text = request.headers["authorization"].to_str().expect("text").to_owned();
    let id = text.split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
    id.expect("a signature of V4").to_owned()
}

#[test]
fn a_role_signs_with_either_signature_of_sts() {
    for (style, setting) in [("ACS3", ""), ("RPC", "sts_signature = \"rpc\"")] {
        let oss = oss();
        let sts = sts(&oss);
        let proxy = assuming(&oss, &sts, setting, &pair());
        assert_eq!(put(&proxy), 200, "{style}");
        assert_eq!(signer(&oss), "STS.issued1");
        let calls = sts.calls();
        assert_eq!((calls.len(), calls[0].style), (1, Some(style)));
        assert_eq!(calls[0].parameters["DurationSeconds"], "3600");
        assert!(!calls[0].query.contains("RoleArn"), "only in the form: {}", calls[0].query);
    }
}

#[test]
fn a_role_may_be_assumed_by_a_triple_and_by_another_role() {
    let oss = oss();
    let sts = sts(&oss);
    let second = "acs:ram::1234567890123456:role/second";
    sts.role(second, Some("ext/1"));
    let triple = format!(
        "type = \"static\"\naccess_key_id = \"{STS_ID}\"\naccess_key_secret = \"{SECRET}\"\nsecurity_token = \"{TOKEN}\""
    );
    for signature in ["acs3", "rpc"] {
        let lines = format!(
            "type = \"assume_role\"\nsource = \"first\"\nrole_arn = \"{second}\"\nexternal_id = \"ext/1\"\nduration = \"15m\"\n\
             session_name = \"tenant a\"\npolicy = '''{{\"Version\": \"1\", \"Statement\": []}}'''\n\
             sts_endpoint = \"http://{at}\"\nsts_signature = \"{signature}\"",
            at = sts.address
        );
        let first = format!(
            "[credentials.first]\ntype = \"assume_role\"\nsource = \"base\"\nrole_arn = \"{ROLE}\"\n\
             sts_endpoint = \"http://{}\"\nsts_signature = \"{signature}\"\n[credentials.base]\n{triple}",
            sts.address
        );
        let proxy = proxy(oss.address).credentials(&lines).sections(&first).start();
        assert_eq!(put(&proxy), 200, "{signature}");
        let call =
            sts.calls().into_iter().rfind(|call| call.parameters["RoleArn"] == second).expect("a call");
        let parameter = |name: &str| call.parameters[name].as_str();
        assert_eq!((parameter("RoleSessionName"), parameter("DurationSeconds")), ("tenant-a", "900"));
        assert!(parameter("Policy").contains("Statement"), "{}", parameter("Policy"));
    }
}

#[test]
fn what_sts_refuses_is_told_with_the_remedy_and_heals() {
    let oss = oss();
    let sts = sts(&oss);
    sts.fail(1, StatusCode::BAD_GATEWAY, "Whatever");
    let proxy = assuming(&oss, &sts, "", &pair());
    eventually("it is asked again", || put(&proxy) == 200);

    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\ntype = \"assume_role\"\nsource = \"base\"\n\
         role_arn = \"acs:ram::1:role/unknown\"\nsts_endpoint = \"http://{}\"\n[credentials.base]\n{}",
        sts.address,
        pair()
    );
    fs::write(&file, text).expect("written");
    let (code, _, errors) = run(&["check", "--config", file.path().to_str().expect("a path")], &[]);
    assert_eq!(code, Some(77), "{errors}");
    for words in
        ["\"default\"", &sts.address.to_string(), "403 NoPermission", "STS-REQUEST-1", "trust policy"]
    {
        assert!(errors.contains(words), "{words}: {errors}");
    }
    assert!(!errors.contains(SECRET), "{errors}");
}

#[test]
fn a_role_is_renewed_before_it_ends_and_no_request_fails() {
    let oss = oss();
    let sts = sts(&oss);
    sts.set_lifetime(Duration::from_secs(9));
    let proxy = assuming(&oss, &sts, "", &pair());
    // A failed refresh has no effect while the current key is valid.
    sts.fail(1, StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
    eventually("another key signs, though STS has failed once", || {
        assert_eq!(put(&proxy), 200);
        signer(&oss) == "STS.issued2"
    });
    assert_eq!(sts.calls().len(), 3);
}

#[test]
fn nothing_is_signed_with_a_role_that_has_ended() {
    let oss = oss();
    let sts = sts(&oss);
    sts.set_lifetime(Duration::from_secs(2));
    let proxy = assuming(&oss, &sts, "", &pair());
    assert_eq!(put(&proxy), 200);
    sts.fail(1_000, StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
    eventually("it ends", || {
        let status = ask(proxy.address, "GET", "/photos/k", b"").status;
        assert_ne!(status, 403, "OSS never sees a key that has ended");
        status == 503
    });
    let answer = ask(proxy.address, "GET", "/photos/k", b"");
    assert_eq!(answer.refused(), Some("credentials-unavailable"));
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn a_clock_that_sts_refuses_is_corrected_for_sts() {
    let oss = oss();
    let sts = sts(&oss);
    sts.ahead(3_600);
    let proxy = assuming(&oss, &sts, "", &pair());
    assert_eq!(put(&proxy), 200);
    assert_eq!(sts.calls().len(), 2, "refused once, then with its time");
}

#[test]
fn a_role_in_the_environment_is_assumed_and_never_passed_over() {
    let oss = oss();
    let sts = sts(&oss);
    let endpoint = format!("http://{}", sts.address);
    let mut environment = KEY.to_vec();
    environment.push(("OSS_STS_ROLE_ARN", ROLE));
    environment.push(("ALIBABA_CLOUD_STS_ENDPOINT", &endpoint));
    let served = Served::start(oss.address, &[], &environment);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
    assert_eq!(signer(&oss), "STS.issued1");
    drop(served);
    let (code, out, errors) = run(&["explain", "--region", "cn-hangzhou"], &environment);
    assert_eq!(code, Some(0), "{errors}");
    for words in [
        "default/env/OSS/ram_role_arn/static_ak",
        ", refresh in 4",
        &format!("role {ROLE}"),
        &format!("STS at {endpoint} (ALIBABA_CLOUD_STS_ENDPOINT)"),
    ] {
        assert!(out.contains(words), "{words}: {out}");
    }
    let triple =
        [("OSS_ACCESS_KEY_ID", STS_ID), ("OSS_ACCESS_KEY_SECRET", SECRET), ("OSS_SESSION_TOKEN", TOKEN)];
    let served = Served::start(oss.address, &[], &[&triple[..], &environment[2..]].concat());
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
    assert_eq!(signer(&oss), "STS.issued3", "a triple assumes it too");
    drop(served);

    sts.fail(1_000, StatusCode::FORBIDDEN, "NoPermission");
    let served = Served::start(oss.address, &[], &environment);
    let before = oss.recorder.count();
    let answer = ask(served.address, "PUT", "/photos/k", b"v");
    assert_eq!((answer.status, answer.refused()), (503, Some("credentials-unavailable")));
    assert_eq!(oss.recorder.count(), before, "the plain pair signs nothing");
}

#[test]
fn a_pod_signs_with_its_token_and_a_renewed_token_is_read() {
    let oss = oss();
    let sts = sts(&oss);
    sts.token("token-1");
    sts.set_lifetime(Duration::from_secs(9));
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    fs::write(&file, "token-1\n").expect("written");
    let lines = format!(
        "type = \"oidc\"\nrole_arn = \"{ROLE}\"\noidc_provider_arn = \"acs:ram::1:oidc-provider/ack\"\ntoken_file = {file:?}\n\
         sts_endpoint = \"http://{}\"",
        sts.address
    );
    let proxy = proxy(oss.address).credentials(&lines).start();
    assert_eq!(put(&proxy), 200);
    let call = sts.calls().remove(0);
    assert_eq!((call.action.as_str(), call.style), ("AssumeRoleWithOIDC", None));
    assert!(!call.query.contains("token-1"), "{}", call.query);
    sts.token("token-2");
    fs::write(&file, "token-2\n").expect("written");
    eventually("the new token is exchanged", || {
        assert_eq!(put(&proxy), 200);
        signer(&oss) == "STS.issued2"
    });
}

/// Returns the variables that a cluster sets in a pod, with the token in `file`.
fn of_a_pod<'a>(endpoint: &'a str, file: &'a str, session: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("ALIBABA_CLOUD_STS_ENDPOINT", endpoint),
        ("ALIBABA_CLOUD_ROLE_ARN", ROLE),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/ack"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file),
        ("ALIBABA_CLOUD_ROLE_SESSION_NAME", session),
    ]
}

#[test]
fn the_chain_finds_the_pod_and_stops_at_half_of_one() {
    let oss = oss();
    let sts = sts(&oss);
    sts.token("token-1");
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&file, "token-1").expect("written");
    let endpoint = format!("http://{}", sts.address);
    let environment = of_a_pod(&endpoint, file.path().to_str().expect("a path"), "pod-7");
    let served = Served::start(oss.address, &[], &environment);
    assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200);
    assert_eq!(sts.calls()[0].parameters["RoleSessionName"], "pod-7");
    drop(served);
    let (code, _, errors) = run(&["check", "--region", "cn-hangzhou"], &environment[..3]);
    assert_eq!(code, Some(78), "{errors}");
    assert!(errors.contains("ALIBABA_CLOUD_OIDC_TOKEN_FILE"), "{errors}");
}

#[test]
fn roles_that_cannot_be_are_refused_at_the_start() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    let role = |lines: &str| format!("type = \"assume_role\"\nrole_arn = \"{ROLE}\"\n{lines}");
    for (lines, words) in [
        (role("source = \"nobody\""), "unknown credentials \"nobody\""),
        (role("source = \"default\""), "depend on themselves"),
        (role(""), "source: missing"),
        (role("source = \"base\"\nduration = \"5m\""), "15m to 12h"),
        (role("source = \"base\"\npolicy = \"{\""), "invalid policy"),
        (role("source = \"base\"\nexternal_id = \"a b\""), "invalid external ID"),
        (role("source = \"base\"\nsts_endpoint = \"http://sts.aliyuncs.com\""), "unencrypted"),
        (role("source = \"base\"").replace("acs:ram::", "arn:aws:iam::"), "invalid role ARN"),
    ] {
        let text = format!(
            "[upstream]\nregion = \"cn-hangzhou\"\n[credentials.default]\n{lines}\n[credentials.base]\n{}",
            pair()
        );
        fs::write(path, text).expect("written");
        let (code, _, errors) = run(&["check", "--config", path], &[]);
        assert_eq!(code, Some(78), "{lines}: {errors}");
        assert!(errors.contains(words), "{lines}: {errors}");
    }
}

/// Returns the environment of a key that assumes [`ROLE`] at this STS, with this variable.
fn of_role<'a>(variable: &'a str, endpoint: &'a str) -> Vec<(&'a str, &'a str)> {
    [&KEY[..], &[(variable, ROLE), ("ALIBABA_CLOUD_STS_ENDPOINT", endpoint)]].concat()
}

#[test]
fn an_identity_that_is_pinned_signs_and_no_other() {
    let oss = oss();
    let sts = sts(&oss);
    let endpoint = format!("http://{}", sts.address);
    let user = "acs:ram::1234567890123456:user/app";
    for (pin, environment, expected) in [
        (ROLE, of_role("OSS_STS_ROLE_ARN", &endpoint), 200),
        (user, of_role("OSS_STS_ROLE_ARN", &endpoint), 503),
        (user, of_role("UNUSED", &endpoint), 200),
        (ROLE, of_role("UNUSED", &endpoint), 503),
    ] {
        let sections = format!("[credentials.default]\ntype = \"chain\"\npin_identity = \"{pin}\"");
        let served = Served::start_with(oss.address, &sections, &[], &environment);
        let before = oss.recorder.count();
        assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, expected, "{pin}");
        assert_eq!(oss.recorder.count() - before, usize::from(expected == 200), "{pin}");
        let told = ask(served.admin(), "GET", "/credentials", b"").text();
        assert_eq!(told.contains("but pin_identity is"), expected == 503, "{told}");
    }
    assert!(sts.calls().iter().any(|call| call.action == "GetCallerIdentity"));
}

#[test]
fn the_general_role_variable_is_meant_for_a_key_only_if_told_so() {
    let oss = oss();
    let sts = sts(&oss);
    let endpoint = format!("http://{}", sts.address);
    let environment = of_role("ALIBABA_CLOUD_ROLE_ARN", &endpoint);
    for (lines, expected) in [("", ID), ("assume_role_from_env = true", "STS.issued1")] {
        let sections = format!("[credentials.default]\ntype = \"chain\"\n{lines}");
        let served = Served::start_with(oss.address, &sections, &[], &environment);
        assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200, "{lines}");
        assert_eq!(signer(&oss), expected, "{lines}");
        served.signal("TERM");
        let (_, log) = served.end();
        assert_eq!(log.contains("assume_role_from_env"), lines.is_empty(), "{log}");
    }
}

#[test]
fn a_role_of_the_configuration_is_assumed_by_the_key_of_the_environment() {
    let oss = oss();
    let sts = sts(&oss);
    let endpoint = format!("http://{}", sts.address);
    for kind in ["chain", "env"] {
        let sections = format!(
            "[credentials.default]\ntype = \"{kind}\"\nrole_arn = \"{ROLE}\"\nsession_name = \"mine\"\nduration = \"15m\"\n\
             sts_endpoint = \"{endpoint}\""
        );
        let served = Served::start_with(oss.address, &sections, &[], &KEY);
        assert_eq!(ask(served.address, "PUT", "/photos/k", b"v").status, 200, "{kind}");
        assert!(signer(&oss).starts_with("STS.issued"), "{kind}");
        let call = sts.calls().pop().expect("a call");
        let parameter = |name: &str| call.parameters[name].as_str();
        assert_eq!((parameter("RoleSessionName"), parameter("DurationSeconds")), ("mine", "900"));
    }
}

#[test]
fn a_policy_is_sent_and_signed_in_either_style() {
    let policy = "{\"Version\": \"1\", \"Statement\": [{\"Resource\": \"acs:oss:*:*:a%b/*\"}]}";
    for style in ["acs3", "rpc"] {
        let oss = oss();
        let sts = sts(&oss);
        let lines = format!("sts_signature = \"{style}\"\npolicy = '''{policy}'''");
        let proxy = assuming(&oss, &sts, &lines, &pair());
        assert_eq!(put(&proxy), 200, "{style}");
        assert_eq!(sts.calls()[0].parameters["Policy"], policy, "{style}");
    }
}

#[test]
fn a_source_whose_key_sts_refuses_is_asked_for_another() {
    let oss = oss();
    let sts = sts(&oss);
    let directory = tempfile::tempdir().expect("a directory");
    let (key, next) = (directory.path().join("key"), directory.path().join("next"));
    let printed = |id: &str| {
        format!("{{\"mode\":\"AK\",\"access_key_id\":\"{id}\",\"access_key_secret\":\"{SECRET}\"}}")
    };
    fs::write(&key, printed("LTAIrevoked")).expect("written");
    fs::write(&next, printed(ID)).expect("written");
    // The first run prints the revoked key and replaces the file. Each later run prints the
    // replaced key.
    let script = format!("cat {key:?}; cp {next:?} {key:?}");
    let base = format!("type = \"process\"\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']");
    let proxy = assuming(&oss, &sts, "", &base);
    assert_eq!(put(&proxy), 200);
    assert_eq!((signer(&oss), sts.calls().len()), ("STS.issued1".to_owned(), 2));
}
