//! `docs/reference.md` names every setting, flag, variable, metric, log field, error code, exit
//! code and admin path that exists, and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use oss_signing_proxy::emulator::issuer::CredentialIssuer;
use oss_signing_proxy::internals::config::READ_VARIABLES;
use serde_json::Value;

use crate::support::{ID, KEY, SECRET, Served, ask, oss, run};

const REFERENCE: &str = include_str!("../../docs/reference.md");

type Words = BTreeSet<String>;

/// Returns the cells of the table under this heading, row by row. Each cell is the list of its
/// words in backticks.
fn table(heading: &str) -> Vec<Vec<Vec<&'static str>>> {
    let mut lines = REFERENCE.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "there is no heading {heading:?}");
    let rows = lines.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| `"));
    let cells =
        |row: &'static str| row.trim_matches('|').split('|').map(|cell| ticked(cell).collect()).collect();
    rows.map(cells).collect()
}

/// Returns the words in backticks.
fn ticked(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the words of the first column.
fn named(heading: &str) -> Words {
    table(heading).into_iter().flat_map(|row| row[0].clone()).map(str::to_owned).collect()
}

/// Fails with the words that are only in one of the two.
fn same(what: &str, named: &Words, real: &Words) {
    let missing: Vec<_> = real.difference(named).collect();
    let invented: Vec<_> = named.difference(real).collect();
    assert!(!real.is_empty(), "{what}: nothing was found in the code");
    assert!(
        missing.is_empty() && invented.is_empty(),
        "docs/reference.md, {what}: missing {missing:?}, and there are no {invented:?}"
    );
}

fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Words {
    words.into_iter().map(str::to_owned).collect()
}

/// Returns the flags in the help of a command, except `--help`.
fn flags(command: &str) -> Words {
    let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
    let (code, help, _) = run(&words, &[]);
    assert_eq!(code, Some(0), "{command}");
    let flag = |line: &str| {
        let at = line.trim_start();
        let at = at
            .strip_prefix('-')
            .filter(|rest| !rest.starts_with('-'))
            .map_or(at, |rest| &rest[3.min(rest.len())..]);
        let name = at.strip_prefix("--")?;
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(name.len());
        Some(format!("--{}", &name[..end]))
    };
    help.lines().filter_map(flag).filter(|flag| flag != "--help").collect()
}

#[test]
fn every_flag_and_its_variable_are_in_the_reference_and_no_other() {
    let serve = flags("serve");
    same("flags of serve", &named("### Flags of `serve`"), &serve);
    for row in table("### Flags of `serve`") {
        let variable = format!("OSS_PROXY_{}", row[0][0][2..].replace('-', "_").to_uppercase());
        assert_eq!(row[1], [variable.as_str()], "the variable of {}", row[0][0]);
    }
    let own = REFERENCE.lines().filter_map(|line| line.strip_prefix("### Flags of `")?.strip_suffix('`'));
    for command in own.filter(|command| *command != "serve") {
        let mut real = flags(command);
        // Commands that accept the flags of `serve` accept all of them. The exception is `run`,
        // whose listeners are not configurable.
        let listeners =
            if command == "run" { &["--listen", "--admin-listen", "--unsafe-open"][..] } else { &[] };
        if serve.iter().all(|flag| real.contains(flag) != listeners.contains(&flag.as_str())) {
            real.retain(|flag| !serve.contains(flag));
        }
        same(command, &named(&format!("### Flags of `{command}`")), &real);
    }
    let (_, help, _) = run(&["--help"], &[]);
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands = named("### Commands");
    for command in listed.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        assert!(commands.contains(command), "the command {command} is not in docs/reference.md");
    }
}

/// Returns the code of the program, without its tests.
fn code(of: &Path, into: &mut String) {
    for entry in fs::read_dir(of).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        if path.is_dir() && !["tests", "emulator"].contains(&name) {
            code(&path, into);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).expect("text");
            into.push_str(text.split("#[cfg(test)]").next().unwrap_or_default());
        }
    }
}

#[test]
fn every_variable_of_the_environment_is_in_the_reference_and_no_other() {
    let mut source = String::new();
    code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    let of_ours = [
        "OSS_",
        "OSSUTIL_",
        "ALIBABA_CLOUD_",
        "ALIBABACLOUD_",
        "ALICLOUD_",
        "CREDENTIALS_DIRECTORY",
        "LISTEN_",
        "HOME",
    ];
    let is_name = |text: &&str| {
        of_ours.iter().any(|prefix| text.starts_with(prefix))
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            && !text.ends_with('_')
            && !text.starts_with("OSS_PROXY_")
    };
    let real: Words = source.split('"').filter(is_name).map(str::to_owned).collect();
    // The variables of the flags correspond to them one to one.
    same("variables", &named("### Variables"), &real);
    // These are only set, and not read.
    let read: Words =
        real.into_iter().filter(|name| !["OSS_ENDPOINT", "OSS_REGION"].contains(&name.as_str())).collect();
    assert_eq!(read, words(READ_VARIABLES), "those whose value is checked");
}

#[test]
fn every_error_code_exit_code_and_admin_path_is_in_the_reference_and_no_other() {
    let refusals = include_str!("../../src/telemetry/rejection_code.rs");
    let code = |line: &'static str| line.split_once(" => \"")?.1.strip_suffix("\",");
    let real = words(refusals.lines().filter_map(code));
    same("error codes", &named("## Error codes"), &real);

    let exits = include_str!("../../src/cli/exit.rs");
    let number =
        |line: &'static str| line.trim().strip_prefix("Self::")?.split_once(" => ")?.1.strip_suffix(',');
    let real = words(exits.lines().filter_map(number).filter(|number| number.parse::<u8>().is_ok()));
    same("exit codes", &named("## Exit codes"), &real);

    let admin = include_str!("../../src/admin/mod.rs");
    let path = |line: &'static str| {
        line.trim().strip_prefix('"').filter(|_| line.contains(" => Self::"))?.split('"').next()
    };
    let real = words(admin.lines().filter_map(path).filter(|path| path.starts_with('/')));
    same("admin paths", &named("## Admin paths"), &real);
}

/// Returns the metrics of a scrape: each with its kind and the names of its labels.
fn scraped(text: &str) -> BTreeMap<String, (String, Words)> {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut metrics: BTreeMap<String, (String, Words)> =
        kinds.map(|(name, kind)| (name.to_owned(), (kind.to_owned(), Words::new()))).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (sample, labels) = line.split_once('{').map_or((line, ""), |(name, rest)| (name, rest));
        let sample = sample.split(' ').next().unwrap_or_default();
        let suffixes = ["", "_total", "_bucket", "_sum", "_count"];
        let family = suffixes.iter().filter_map(|suffix| sample.strip_suffix(suffix));
        let family = family.filter(|name| metrics.contains_key(*name)).max_by_key(|name| name.len());
        let family = family.unwrap_or_else(|| panic!("a sample of no metric: {line}")).to_owned();
        // The text before `="` is a name. The bounds of histograms need no documentation.
        let names = labels.split("=\"").filter_map(|before| before.rsplit(['"', ',']).next());
        let names = names.filter(|name| !name.is_empty() && *name != "le" && !name.contains(['}', ' ']));
        metrics.entry(family).or_default().1.extend(names.map(str::to_owned));
    }
    metrics
}

/// Runs a proxy through most events. Returns its metrics, and the fields of its access events.
fn busy() -> (String, Words) {
    let oss = oss();
    let sts = CredentialIssuer::spawn(([127, 0, 0, 1], 0).into(), oss.service.clone()).expect("an STS");
    sts.role("acs:ram::1:role/r", None);
    let dead = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let sections = format!(
        "[credentials.default]\ntype = \"assume_role\"\nsource = \"base\"\nrole_arn = \"acs:ram::1:role/r\"\nsts_endpoint = \"http://{}\"\n\
         [credentials.base]\ntype = \"static\"\naccess_key_id = \"{ID}\"\naccess_key_secret = \"{SECRET}\"\n\
         [[route]]\nmatch = {{ bucket = \"nowhere\" }}\nregion = \"cn-hangzhou\"\nendpoint = \"http://oss-cn-hangzhou.aliyuncs.com\"\nconnect = \"{dead}\"\n\
         [audit]\nsink = \"file:/dev/null\"\n",
        sts.address
    );
    let rule = |bucket: &str, prefix: &str| {
        format!("{{ group = [\"read\", \"write\"], bucket = \"{bucket}\", prefix = \"{prefix}\" }}")
    };
    let rules = [rule("photos", ""), rule("nowhere", ""), rule("files", "a/")].join(", ");
    let sections = format!("{sections}[[caller]]\nname = \"a\"\nopen = true\nallow = [{rules}]\n");
    let served = Served::start_with(oss.address, &sections, &[], &KEY);
    for (method, path, status) in [
        ("PUT", "/photos/k", 200),
        ("GET", "/photos/k", 200),
        ("GET", "/photos/missing", 404),
        ("GET", "/photos/%zz", 400),
        ("GET", "/nowhere/k", 502),
        ("HEAD", "/files", 200),
    ] {
        assert_eq!(ask(served.address, method, path, b"").status, status, "{method} {path}");
    }
    // A reload that is applied has a time.
    served.rewrite(oss.address, &format!("{sections}[limits]\nrequests = 100\n"));
    assert_eq!(ask(served.admin(), "POST", "/-/reload", b"").status, 200);
    let metrics = ask(served.admin(), "GET", "/metrics", b"").text();
    served.signal("TERM");
    let (_, log) = served.end();
    let events = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("json"));
    let events = events.filter(|event| event["msg"] == "request");
    let fields =
        events.flat_map(|event| event.as_object().expect("an object").keys().cloned().collect::<Vec<_>>());
    (metrics, fields.collect())
}

#[test]
fn every_metric_and_every_field_of_the_log_is_in_the_reference_and_no_other() {
    let (metrics, fields) = busy();
    same("log fields", &named("## Log fields"), &fields);
    let real = scraped(&metrics);
    let name = |(name, (kind, _)): (&String, &(String, Words))| {
        format!("{name}{}", if kind == "counter" { "_total" } else { "" })
    };
    same("metrics", &named("## Metrics"), &real.iter().map(name).collect());
    for row in table("## Metrics") {
        let family = row[0][0].strip_suffix("_total").unwrap_or(row[0][0]);
        let (written, labels) = (words(row[1].iter().copied()), &real[family].1);
        // Labels can only be compared where there is a sample.
        let sampled = metrics.lines().any(|line| line.starts_with(family));
        assert!(
            !sampled || written == *labels,
            "docs/reference.md, labels of {family}: {written:?}, and they are {labels:?}"
        );
    }
}
