//! Planted secrets in configurations that a running proxy reloads: no output of the proxy contains
//! one.

use crate::secrets::{STS, TRACE, log_of, search};
use crate::support::{Client, SECRET, Served, ask, oss};

#[test]
fn nothing_shows_of_configurations_that_are_refused_or_taken_while_it_runs() {
    let oss = oss();
    let served = Served::start(oss.address, &TRACE, &STS);
    let fixed = format!(
        "[credentials.a]\ntype = \"static\"\naccess_key_id = \"LTAIother\"\naccess_key_secret = \"{SECRET}\"\n"
    );
    let uri = |url: &str| format!("[credentials.a]\ntype = \"uri\"\nurl = \"{url}\"\n");
    let role = |arn: &str, id: &str| {
        format!(
            "[credentials.a]\ntype = \"assume_role\"\nrole_arn = \"{arn}\"\nexternal_id = \"{id}\"\nsource = \"b\"\n{}",
            fixed.replace("credentials.a", "credentials.b")
        )
    };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("an address");
    for (refused, sections) in [
        ("no end of a text", fixed.trim_end().trim_end_matches('"').to_owned()),
        ("no quotes", fixed.replace(&format!("{SECRET:?}"), SECRET)),
        ("something behind it", fixed.replace(&format!("{SECRET:?}"), &format!("{SECRET:?} {SECRET}"))),
        ("a line of its own", format!("{fixed}{SECRET}\n")),
        ("twice", format!("{fixed}access_key_secret = \"{SECRET}\"\n")),
        ("a key misspelt", fixed.replace("access_key_secret", "acces_key_secret")),
        ("a list", fixed.replace(&format!("{SECRET:?}"), &format!("[{SECRET:?}]"))),
        ("no id", fixed.replace("LTAIother", &format!("{SECRET} {SECRET}"))),
        ("a source that does not answer", uri(&format!("http://{silent}/none?key={SECRET}"))),
        ("a source that may not be asked", uri(&format!("http://source.example.com/none?key={SECRET}"))),
        ("a source with a user", uri(&format!("http://user:{SECRET}@127.0.0.1:9/none"))),
        ("a source that is nowhere", uri(&format!("127.0.0.1?key={SECRET}"))),
        ("no external id", role("acs:ram::1:role/r", &format!("{SECRET} {SECRET}"))),
        ("no role", role("nobody", SECRET)),
        ("a token beside a mistake", format!("[admin]\ntoken = \"{SECRET}\"\nquit = \"{SECRET}\"\n")),
        (
            "an endpoint with a user",
            format!(
                "[[route]]\nmatch = {{ bucket = \"b\" }}\nendpoint = \"https://user:{SECRET}@oss.example.com\"\n"
            ),
        ),
        (
            "a program that fails",
            format!("[credentials.a]\ntype = \"process\"\ncommand = [\"/bin/false\", \"{SECRET}\"]\n"),
        ),
    ] {
        served.rewrite(oss.address, &sections);
        let (status, told) = served.reload();
        assert_eq!(status, 400, "{refused}: {told}");
        search(refused, &told);
    }
    let token = format!("[admin]\ntoken = \"{SECRET}\"\n");
    served.rewrite(oss.address, &format!("{fixed}{token}"));
    let (status, told) = served.reload();
    assert_eq!(status, 200, "{told}");
    search("what has changed", &told);
    let with = format!("Authorization: Bearer {SECRET}\r\n");
    for target in ["/config", "/", "/credentials", "/metrics"] {
        let to = served.admin();
        let answer = Client::connect(to).ask("GET", target, &to.to_string(), &with, b"");
        assert_eq!(answer.status, 200, "{target}");
        search(target, &answer.text());
    }
    search("the log", &log_of(served));
}

#[test]
fn nothing_shows_in_the_settings_of_sources_that_give_nothing() {
    let oss = oss();
    let sections = format!(
        "[credentials.a]\ntype = \"uri\"\nurl = \"http://127.0.0.1:9/none?key={SECRET}\"\n\
         [credentials.b]\ntype = \"assume_role\"\nrole_arn = \"acs:ram::1:role/r\"\nexternal_id = \"{SECRET}\"\nsource = \"a\"\n\
         [credentials.c]\ntype = \"process\"\ncommand = [\"/bin/false\", \"{SECRET}\"]\n"
    );
    let served = Served::start_with(oss.address, &sections, &TRACE, &STS);
    for target in ["/config", "/", "/credentials"] {
        let answer = ask(served.admin(), "GET", target, b"");
        assert!(answer.status == 200 && answer.text().contains("credentials"), "{target}");
        search(target, &answer.text());
    }
    search("the log", &log_of(served));
}

#[test]
fn nothing_shows_of_the_secrets_of_callers() {
    let oss = oss();
    let served = Served::start(oss.address, &TRACE, &STS);
    let caller =
        |key: &str| format!("[[caller]]\nname = \"a\"\nallow = \"read\"\nopen = true\nkey = [{key}]\n");
    let valid = format!("{{ id = \"a\", secret = \"{SECRET}-{SECRET}\" }}");
    for (rejected, key) in [
        ("a short secret", format!("{{ id = \"a\", secret = \"{SECRET}\" }}")),
        ("a secret as the id", format!("{{ id = \"{SECRET} {SECRET}\", secret = \"{SECRET}\" }}")),
        ("an id that looks real", format!("{{ id = \"LTAI{SECRET}\", secret = \"{SECRET}-{SECRET}\" }}")),
        ("a key without its parts", format!("\"{SECRET}\"")),
        ("a key misspelt", format!("{{ id = \"a\", secrt = \"{SECRET}\" }}")),
        ("one key twice", format!("{valid}, {valid}")),
    ] {
        served.rewrite(oss.address, &caller(&key));
        let (status, reason) = served.reload();
        assert_eq!(status, 400, "{rejected}: {reason}");
        search(rejected, &reason);
    }
    served.rewrite(oss.address, &caller(&valid));
    let (status, changes) = served.reload();
    assert!(status == 200 && changes.contains("caller a added: allow read"), "{changes}");
    search("the changes", &changes);
    let settings = ask(served.admin(), "GET", "/config", b"").text();
    assert!(settings.contains("caller.a.key.id"), "{settings}");
    search("the settings", &settings);
    search("the log", &log_of(served));
}
