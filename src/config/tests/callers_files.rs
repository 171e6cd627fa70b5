//! `callers_file` and `callers_dir`: which file a caller comes from, which file is broken, and which
//! callers are kept.

use std::path::Path;

use super::{UPSTREAM, World, load_in, mistakes};
use crate::config::{BrokenCallersFile, CallerSources, ConfigErrors, ProxyConfig, caller_changes};
use crate::policy::CallerRights;

const A: &str = "[[caller]]\nname = \"a\"\nallow = \"read\"\n\
                 key = [{ id = \"a-1\", secret = \"0123456789abcdef0123456789aaaaaa\" }]\n";
const B: &str = "[[caller]]\nname = \"b\"\nallow = \"everything\"\n\
                 key = [{ id = \"b-1\", secret = \"0123456789abcdef0123456789bbbbbb\" }]\n";
const B_TWICE: &str = "[[caller]]\nname = \"b2\"\nallow = \"read\"\n\
                       key = [{ id = \"b-1\", secret = \"0123456789abcdef0123456789cccccc\" }]\n";
const BROKEN: &str = "[[caller]]\nname = \"b\"\nallow = \"evrything\"\n";

/// The main file without callers.
fn main_text(top: &str) -> String {
    format!("{top}\n{UPSTREAM}[[listen]]\nidentify = [\"key\"]\n")
}

fn world(files: &[(&'static str, &'static str)]) -> World {
    let files = files.iter().map(|(path, text)| (*path, (*text, false)));
    World { files: files.collect(), ..World::default() }
}

const DIRECTORY: &str = "callers_dir = \"d\"";

/// Loads the configuration, with these files of callers.
fn load_with(top: &str, files: &[(&'static str, &'static str)]) -> Result<ProxyConfig, ConfigErrors> {
    load_in(&world(files), &main_text(top), &[])
}

#[track_caller]
fn started(top: &str, files: &[(&'static str, &'static str)]) -> ProxyConfig {
    load_with(top, files).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Loads the configuration as a reload does.
#[track_caller]
fn reloaded(top: &str, files: &[(&'static str, &'static str)], running: &CallerSources) -> ProxyConfig {
    started(top, files).after(running).unwrap_or_else(|errors| panic!("{errors}"))
}

fn names(config: &ProxyConfig) -> Vec<&str> {
    config.callers.as_ref().expect("callers").iter().map(|caller| &*caller.name).collect()
}

fn faults(config: &ProxyConfig) -> Vec<String> {
    config.caller_sources.broken().into_iter().map(|BrokenCallersFile { fault, .. }| fault).collect()
}

#[test]
fn callers_come_from_the_main_file_then_the_callers_file_then_the_directory_by_name() {
    let top = "callers_file = \"c.toml\"\ncallers_dir = { path = \"d\" }";
    let files = [("c.toml", A), ("d/b.toml", B), ("d/a.toml", ""), ("d/.hidden.toml", "x"), ("d/b.txt", "x")];
    let config = started(top, &files);
    assert_eq!(names(&config), ["a", "b"]);
    let origins: Vec<String> =
        config.callers.iter().flatten().map(|caller| caller.origin.to_string()).collect();
    assert_eq!(origins, ["c.toml:1", "d/b.toml:1"]);
    let [fault] = &faults(&config)[..] else { panic!("{:?}", faults(&config)) };
    assert!(fault.starts_with("d/a.toml: the file is empty"), "{fault}");
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    // All of them are watched.
    let watched: Vec<&Path> = config.caller_files.iter().map(|file| &*file.path).collect();
    assert_eq!(watched, [Path::new("c.toml"), Path::new("d"), Path::new("d/a.toml"), Path::new("d/b.toml")]);
}

#[test]
fn a_directory_without_callers_does_not_open_the_listener() {
    let config = started(DIRECTORY, &[("d/readme.txt", "none")]);
    assert!(config.callers.as_ref().is_some_and(Vec::is_empty) && !config.listen[0].is_open);
    let shown =
        mistakes(load_in(&world(&[("d/readme.txt", "none")]), &format!("{DIRECTORY}\n{UPSTREAM}"), &[]));
    assert!(shown.len() == 1 && shown[0].contains("would reject all requests"), "{shown:?}");
    // Neither does one that is missing.
    let config = started(DIRECTORY, &[]);
    assert!(config.callers.as_ref().is_some_and(Vec::is_empty) && !config.listen[0].is_open);
    let [fault] = &faults(&config)[..] else { panic!("{:?}", faults(&config)) };
    assert!(fault.starts_with("proxy.toml:1: callers_dir: cannot read \"d\""), "{fault}");
}

#[test]
fn a_broken_file_is_reported_with_line_and_remedy_and_the_rest_is_used() {
    let rows = [
        ("name", "d/b.toml:1: invalid TOML"),
        (BROKEN, "d/b.toml:3: caller.allow: invalid value \"evrything\"; expected one of everything, read"),
        ("[upstream]\nregion = \"x\"\n", "d/b.toml:1: upstream: unknown key; expected one of caller"),
        ("[[caller]]\nname = \"x\"\nopen = true\n", "d/b.toml:3: caller.open: only a caller of the main"),
        ("\n \n", "d/b.toml: the file is empty, so its callers are unknown; write its callers"),
        ("[[caller]]\nname = \"x\"\ntoken = \"env:T\"\n", "d/b.toml:3: caller.token: a file of callers_dir"),
        ("[[caller]]\nname = \"x\"\ntoken = \"credential:t\"\n", "d/b.toml:3: caller.token: a file of"),
        (
            "[[caller]]\nname = \"x\"\ntoken = \"file:d/no\"\n",
            "d/b.toml:3: caller.token: cannot read the file",
        ),
        ("[[caller]]\nname = \"x\"\ntoken = \"short\"\n", "d/b.toml:3: caller.token: the token has fewer"),
        ("[[caller]]\nname = \"x\"\nlimits = { rate = 9 }\n", "d/b.toml:3: caller.limits: a team cannot set"),
        ("[[caller]]\nname = \"x\"\njwt = {}\n", "d/b.toml:3: caller.jwt: JSON Web Tokens are possible only"),
    ];
    for (text, words) in rows {
        let config = started(DIRECTORY, &[("d/a.toml", A), ("d/b.toml", text)]);
        assert_eq!(names(&config), ["a"], "{text}");
        let faults = faults(&config);
        assert!(faults.iter().any(|fault| fault.contains(words)), "{text}: {faults:#?}");
        assert_eq!(faults.len(), 1, "{faults:#?}");
    }
    // Variables are those of the operator, who owns callers_file.
    let mut world = world(&[("c.toml", "[[caller]]\nname = \"x\"\nallow = \"read\"\ntoken = \"env:T\"\n")]);
    world.variables.insert("T", "0123456789abcdef0123456789abcdef");
    let config = load_in(&world, &main_text("callers_file = \"c.toml\""), &[]).expect("valid");
    assert_eq!((names(&config), faults(&config)), (vec!["x"], vec![]));
}

#[test]
fn the_callers_of_a_broken_file_stay_as_they_were_and_those_of_a_deleted_one_go() {
    let first = started(DIRECTORY, &[("d/a.toml", A), ("d/b.toml", B)]);
    let broken = reloaded(DIRECTORY, &[("d/a.toml", A), ("d/b.toml", BROKEN)], &first.caller_sources);
    assert_eq!(names(&broken), ["a", "b"]);
    assert!(broken.caller_sources.broken().iter().all(|file| file.has_callers));
    // Still so after another reload.
    let again = reloaded(DIRECTORY, &[("d/b.toml", BROKEN)], &broken.caller_sources);
    assert_eq!(names(&again), ["b"]);
    let whole = reloaded(DIRECTORY, &[("d/b.toml", B)], &again.caller_sources);
    assert_eq!((names(&whole), faults(&whole).len()), (vec!["b"], 0));
    let deleted = reloaded(DIRECTORY, &[("d/a.toml", A)], &again.caller_sources);
    assert_eq!((names(&deleted), faults(&deleted).len()), (vec!["a"], 0));
}

#[test]
fn the_callers_of_a_directory_that_cannot_be_listed_stay_as_they_were() {
    let top = "callers_file = \"c.toml\"\ncallers_dir = \"d\"";
    let first = started(top, &[("c.toml", A), ("d/b.toml", B)]);
    let unlisted = reloaded(top, &[("c.toml", A)], &first.caller_sources);
    assert_eq!((names(&unlisted), faults(&unlisted).len()), (vec!["a", "b"], 1));
    let back = reloaded(top, &[("c.toml", A), ("d/b.toml", BROKEN)], &unlisted.caller_sources);
    assert_eq!((names(&back), faults(&back).len()), (vec!["a", "b"], 1));
    assert!(faults(&back)[0].starts_with("d/b.toml:1"), "{:?}", faults(&back));
}

#[test]
fn what_two_files_claim_belongs_to_the_first_at_the_start_and_to_its_owner_afterwards() {
    // By file name.
    let both = [("d/b.toml", B), ("d/c.toml", B_TWICE)];
    let start = started(DIRECTORY, &both);
    assert_eq!(names(&start), ["b"]);
    let words = "d/c.toml:1: caller: another caller already has this key id \"b-1\" (d/b.toml:1)";
    assert!(faults(&start)[0].starts_with(words), "{:?}", faults(&start));
    // The owner keeps it, although the other file is before it.
    let running = started(DIRECTORY, &[("d/c.toml", B_TWICE)]);
    let reload = reloaded(DIRECTORY, &both, &running.caller_sources);
    assert_eq!(names(&reload), ["b2"]);
    assert!(faults(&reload)[0].starts_with("d/b.toml:1: caller: another caller"), "{:?}", faults(&reload));
    // What the owner gives up can be taken.
    let given_up = reloaded(DIRECTORY, &[("d/b.toml", B), ("d/c.toml", A)], &reload.caller_sources);
    assert_eq!((names(&given_up), faults(&given_up).len()), (vec!["b", "a"], 0));
}

#[test]
fn a_file_that_takes_what_is_another_s_keeps_its_own_callers() {
    let running = started(DIRECTORY, &[("d/a.toml", A), ("d/b.toml", B)]);
    let thief = "[[caller]]\nname = \"b\"\nallow = \"read\"\n\
                 key = [{ id = \"a-9\", secret = \"0123456789abcdef0123456789aaaaaa\" }]\n";
    let config = reloaded(DIRECTORY, &[("d/a.toml", thief), ("d/b.toml", B)], &running.caller_sources);
    assert_eq!(names(&config), ["a", "b"]);
    assert!(faults(&config)[0].contains("already has this name \"b\" (d/b.toml:1)"), "{:?}", faults(&config));
    // A token is an identity too, and is not shown.
    let token = "[[caller]]\nname = \"t\"\nallow = \"read\"\ntoken = \"0123456789abcdef0123456789token\"\n";
    let other = "[[caller]]\nname = \"u\"\nallow = \"read\"\ntoken = \"0123456789abcdef0123456789token\"\n";
    let config = started(DIRECTORY, &[("d/a.toml", token), ("d/b.toml", other)]);
    assert_eq!(names(&config), ["t"]);
    let fault = &faults(&config)[0];
    assert!(fault.contains("already has this token (d/a.toml:1)") && !fault.contains("0123"), "{fault}");
}

#[test]
fn the_main_file_has_precedence_at_the_start_and_cannot_take_what_is_in_use() {
    let main = format!("{}\n{B}", main_text(DIRECTORY));
    let files = world(&[("d/b.toml", B_TWICE)]);
    let config = load_in(&files, &main, &[]).expect("valid");
    assert_eq!(names(&config), ["b"]);
    assert!(faults(&config)[0].starts_with("d/b.toml:1: caller: another caller"), "{:?}", faults(&config));
    let running = started(DIRECTORY, &[("d/b.toml", B_TWICE)]);
    let errors = load_in(&files, &main, &[]).expect("valid").after(&running.caller_sources);
    let errors = errors.expect_err("it is in use").to_string();
    assert!(errors.starts_with("proxy.toml:7: caller: another caller already has"), "{errors}");
}

#[test]
fn revocations_of_the_main_file_apply_to_every_file_even_to_broken_ones() {
    let two = "[[caller]]\nname = \"b\"\nallow = \"everything\"\nkey = [\n\
               { id = \"b-1\", secret = \"0123456789abcdef0123456789bbbbbb\" },\n\
               { id = \"b-2\", secret = \"0123456789abcdef0123456789bbbbbb\" }]\n";
    let running = started(DIRECTORY, &[("d/a.toml", A), ("d/b.toml", two)]);
    let broken = [("d/a.toml", A), ("d/b.toml", BROKEN)];
    for files in [&[("d/a.toml", A), ("d/b.toml", two)], &broken] {
        let config =
            reloaded("revoked = [\"a\", \"b-1\"]\ncallers_dir = \"d\"", files, &running.caller_sources);
        assert_eq!(names(&config), ["b"]);
        let callers = config.callers.expect("callers");
        let ids: Vec<&str> = callers[0].keys.iter().map(|key| &*key.id).collect();
        assert_eq!(ids, ["b-2"]);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
    let config = reloaded("revoked = [\"b\"]\ncallers_dir = \"d\"", &broken, &running.caller_sources);
    assert_eq!(names(&config), ["a"]);
    // An entry may be of a file that is broken, so it causes no warning.
    let start = started("revoked = [\"b-1\"]\ncallers_dir = \"d\"", &broken);
    assert!(start.warnings.is_empty(), "{:?}", start.warnings);
    let start = started("revoked = [\"nobody\"]\ncallers_dir = \"d\"", &[("d/a.toml", A)]);
    assert!(start.warnings.len() == 1 && start.warnings[0].contains("neither"), "{:?}", start.warnings);
}

#[test]
fn no_file_of_the_directory_grants_more_than_the_ceiling() {
    let top = "callers_dir = { path = \"d\", ceiling = \"file:ceiling.toml\" }";
    let read = ("ceiling.toml", "# the most\nallow = \"read\"\n");
    let files = [read, ("d/a.toml", A), ("d/b.toml", B)];
    let start = started(top, &files);
    assert_eq!(names(&start), ["a"]);
    let words =
        "d/b.toml:3: caller.allow: \"everything\" is above the ceiling \"read\" (ceiling.toml:2: allow)";
    assert!(faults(&start)[0].starts_with(words), "{:?}", faults(&start));
    let open = started(top, &[("ceiling.toml", "allow = \"everything\"\n"), files[1], files[2]]);
    assert_eq!((names(&open), faults(&open).len()), (vec!["a", "b"], 0));
    // A lower ceiling applies to callers that are kept, too.
    let lowered = reloaded(top, &files, &open.caller_sources);
    let rights: Vec<CallerRights> =
        lowered.callers.iter().flatten().map(|caller| caller.rights.clone()).collect();
    assert_eq!(rights, [CallerRights::read(), CallerRights::read()]);
    for (ceiling, words) in [
        ("allow = \"all\"", "ceiling.toml:1: allow: invalid value \"all\"; expected one of everything, read"),
        ("", "ceiling.toml: allow: missing; write allow"),
        ("deny = 1", "ceiling.toml:1: deny: unknown key; expected one of allow"),
        ("allow =", "ceiling.toml:1: invalid TOML"),
    ] {
        let shown = mistakes(load_with(top, &[("ceiling.toml", ceiling), ("d/a.toml", A)]));
        assert!(shown.iter().any(|line| line.starts_with(words)), "{shown:?}");
    }
    let shown = mistakes(load_with(top, &[("d/a.toml", A)]));
    assert!(shown.len() == 1 && shown[0].contains("cannot read \"ceiling.toml\""), "{shown:?}");
    let shown = mistakes(load_with(&top.replace("file:", ""), &files));
    assert!(shown.len() == 1 && shown[0].contains("write file:PATH"), "{shown:?}");
}

#[test]
fn a_team_cannot_allow_itself_callbacks() {
    let file = "[[caller]]\nname = \"a\"\nallow = \"everything\"\ncallbacks = true\nuid = 7\n";
    let start = started("callers_dir = \"d\"", &[("d/a.toml", file)]);
    let words = "d/a.toml:4: caller.callbacks: a file of callers_dir cannot set `callbacks`";
    assert!(faults(&start)[0].starts_with(words), "{:?}", faults(&start));
}

#[test]
fn a_caller_is_revoked_although_its_policy_is_gone() {
    let text = "revoked = [\"a\"]\n[[caller]]\nname = \"a\"\nopen = true\npolicy = [\"file:gone.json\"]\n";
    let loaded = load_with(text, &[]).expect("the policy is not read");
    assert!(loaded.callers.iter().flatten().next().is_none());
}

#[test]
fn a_change_in_a_document_is_a_change_of_the_caller() {
    let text = "[[caller]]\nname = \"a\"\nopen = true\npolicy = [\"file:p.json\"]\n";
    let with = |action: &str| {
        let document = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"ACTION","Resource":"*"}]}"#;
        let document: &'static str = document.replace("ACTION", action).leak();
        load_with(text, &[("p.json", document)]).expect("a configuration")
    };
    let (before, after) = (with("oss:GetObject"), with("oss:PutObject"));
    let changes = |a: &ProxyConfig, b: &ProxyConfig| {
        caller_changes(a.callers.as_deref().unwrap_or_default(), b.callers.as_deref().unwrap_or_default())
    };
    assert_eq!(changes(&before, &after), ["caller a changed: its rights"]);
    assert_eq!(changes(&before, &with("oss:GetObject")), Vec::<String>::new());
}

#[test]
fn a_missing_policy_of_a_team_is_watched() {
    let file = "[[caller]]\nname = \"a\"\npolicy = [\"file:d/p.json\"]\nuid = 7\n";
    let start = started("callers_dir = \"d\"", &[("d/a.toml", file)]);
    assert!(faults(&start)[0].contains("cannot read \"d/p.json\""), "{:?}", faults(&start));
    let watched = |path: &str| start.caller_files.iter().any(|file| file.path.ends_with(path));
    assert!(watched("d/a.toml") && watched("d/p.json"), "{:?}", start.caller_files);
}

#[test]
fn rights_are_rules_or_documents_and_mistakes_in_them_have_a_line() {
    let caller = |rights: &str| {
        format!(
            "[[caller]]\nname = \"a\"\nuid = 7\n{rights}\n[[listen]]\naddress = \"unix:/run/x.sock\"\nidentify = [\"uid\"]\n"
        )
    };
    let document = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let files = [("p.json", document)];
    for (rights, expected) in [
        ("policy = [\"file:p.json\"]", "policy"),
        ("allow = [{ group = [\"read\"], bucket = \"team-data\" }]", "policy"),
        ("allow = \"read\"\npolicy = [\"file:p.json\"]", "policy"),
        ("allow = \"read\"", "read"),
    ] {
        let loaded = load_with(&caller(rights), &files).expect(rights);
        let rights: Vec<&str> = loaded.callers.iter().flatten().map(|one| one.rights.as_str()).collect();
        assert_eq!(rights, [expected]);
    }
    const NAMED: &str =
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"acs:oss:*:42:*"}]}"#;
    let with_account = |top: &str| {
        load_with(&format!("{top}\n{}", caller("policy = [\"file:p.json\"]")), &[("p.json", NAMED)])
    };
    assert!(with_account("account = \"42\"").is_ok());
    for (top, words) in [
        ("account = \"43\"", "the account \"42\" is not \"43\""),
        ("", "the account \"42\" cannot be checked"),
        ("account = \"x\"", "an account id has only digits"),
    ] {
        let shown = mistakes(with_account(top));
        assert!(shown.iter().any(|line| line.contains(words)), "{words}: {shown:?}");
    }
    for (rights, words) in [
        ("policy = [\"p.json\"]", "proxy.toml:4: caller.policy: a policy is file:PATH, or"),
        ("policy = [\"file:q.json\"]", "proxy.toml:4: caller.policy: cannot read \"q.json\""),
        (
            "policy = ['{\"Version\":\"1\"}']",
            "proxy.toml:4: caller.policy: invalid policy document: the document has no statement",
        ),
        (
            "allow = [{ group = [\"all\"], bucket = \"team-data\" }]",
            "proxy.toml:4: caller.allow.group: invalid value \"all\"",
        ),
        ("allow = [{ group = [\"read\"] }]", "proxy.toml:4: caller.allow.bucket: missing; write bucket"),
        (
            "allow = [{ group = [\"read\"], bucket = \"team-data\", prefix = \"a*\" }]",
            "proxy.toml:4: caller.allow.prefix: a prefix is matched",
        ),
        ("allow = \"write\"", "proxy.toml:4: caller.allow: invalid value \"write\""),
    ] {
        let shown = mistakes(load_with(&caller(rights), &files));
        assert!(shown.iter().any(|line| line.starts_with(words)), "{words}: {shown:?}");
    }
}

#[test]
fn a_file_with_secrets_that_others_can_read_is_reported_once() {
    let mut files = world(&[]);
    files.files.insert("c.toml", (B, true));
    let text = main_text("callers_file = \"c.toml\"");
    let config = load_in(&files, &text, &[]).expect("valid");
    let [only] = &config.warnings[..] else { panic!("{:?}", config.warnings) };
    assert!(only.starts_with("c.toml: the file \"c.toml\" is readable by other users"), "{only}");
    let strict = load_in(&files, &format!("strict_file_modes = true\n{text}"), &[]).expect("valid");
    assert!(names(&strict).is_empty() && faults(&strict)[0].contains("strict_file_modes is set"));
}

#[test]
fn a_key_id_of_the_credentials_is_rejected_in_every_file() {
    let real = "[credentials.x]\ntype = \"static\"\naccess_key_id = \"b-1\"\naccess_key_secret = \"x\"\n";
    let files = world(&[("d/a.toml", A), ("d/b.toml", B)]);
    let text = format!("{}{real}", main_text(DIRECTORY));
    let config = load_in(&files, &text, &[]).expect("valid");
    assert_eq!(names(&config), ["a"]);
    assert!(faults(&config)[0].contains("the id is the access key id of the credentials"));
    // The callers that are kept lose the key.
    let running = started(DIRECTORY, &[("d/a.toml", A), ("d/b.toml", B)]);
    let config = load_in(&files, &text, &[]).expect("valid").after(&running.caller_sources).expect("valid");
    let callers = config.callers.expect("callers");
    assert_eq!((callers.len(), callers[1].keys.len()), (2, 0));
}

#[test]
fn a_route_for_a_caller_of_another_file_does_not_depend_on_that_file() {
    let route = "[[route]]\nmatch.caller = \"b\"\nregion = \"cn-beijing\"\n";
    let text = format!("{}{route}", main_text(DIRECTORY));
    for (b, warnings) in [(B, 0), (BROKEN, 0), (A, 1)] {
        let config = load_in(&world(&[("d/b.toml", b)]), &text, &[]).expect("valid");
        assert_eq!(config.warnings.len(), warnings, "{:?}", config.warnings);
    }
}

#[test]
fn the_callers_of_a_file_are_the_same_whether_they_are_parsed_together_or_not() {
    let together =
        "caller = [\n{ name = \"a\", allow = \"read\", token = \"0123456789abcdef0123456789aaaaaa\" }]\n";
    assert_eq!(names(&started(DIRECTORY, &[("d/a.toml", together)])), ["a"]);
    let both: &str = "caller = []\n[[caller]]\nname = \"x\"\nopen = true\n";
    let config = started(DIRECTORY, &[("d/a.toml", both)]);
    assert!(faults(&config)[0].contains("invalid TOML"), "{:?}", faults(&config));
    // A mistake in the syntax hides the other mistakes of the file.
    let text = format!("{}[[caller]]\nname = \"x\nopen = 1\n[log]\nlevel = 1\n", main_text("revoked = []"));
    let shown = mistakes(load_in(&World::default(), &text, &[]));
    assert!(shown.iter().all(|line| line.contains("invalid TOML")), "{shown:?}");
    assert!(shown[0].starts_with("proxy.toml:7"), "{shown:?}");
    let text =
        format!("{}[[caller]]\nname = \"x\"\nname = \"y\"\n[log]\nlevel = 1\n", main_text("revoked = []"));
    let shown = mistakes(load_in(&World::default(), &text, &[]));
    assert!(shown.len() == 1 && shown[0].starts_with("proxy.toml:8: invalid TOML"), "{shown:?}");
}

#[test]
fn a_proxy_that_ignores_the_listeners_of_the_file_reads_no_file_of_callers() {
    use crate::config::SettingLayer;
    let text = main_text("callers_file = \"none\"\ncallers_dir = \"none\"");
    let config = load_in(&World::default(), &text, &[SettingLayer::flags().alone()]).expect("valid");
    assert!(config.callers.is_none() && faults(&config).is_empty() && config.caller_files.is_empty());
}

#[test]
fn names_that_teams_choose_are_matched_by_no_pattern() {
    let text = |top: &str, pattern: &str| {
        let route = format!("[[route]]\nmatch = {{ caller = \"{pattern}\" }}\nregion = \"cn-beijing\"\n");
        format!("{}{route}", main_text(top))
    };
    let world = world(&[("d/a.toml", A), ("c.toml", A)]);
    let shown = mistakes(load_in(&world, &text(DIRECTORY, "a*"), &[]));
    let [only] = &shown[..] else { panic!("{shown:#?}") };
    assert!(only.contains("route.match.caller: teams choose names in callers_dir"), "{only}");
    load_in(&world, &text(DIRECTORY, "a"), &[]).expect("the whole name");
    load_in(&world, &text("callers_file = \"c.toml\"", "a*"), &[]).expect("the operator chooses these names");
}
