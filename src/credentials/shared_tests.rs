//! Each type of a section, from the vendor's own files.

use serde_json::Value;

use super::{OssFile, Shared};
use crate::credentials::Edge;
use crate::credentials::ossutil::Ossutil;
use crate::credentials::tool::{Format, Tool, Unfit};
use crate::time::{Clock, Timestamp};

/// An environment without variables.
struct Empty;

impl Clock for Empty {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(1_700_000_000)
    }
}

impl Edge for Empty {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

fn read(format: &dyn Format, text: &str, section: &str) -> Result<String, String> {
    let profile = Some(section.to_owned()).filter(|name| !name.is_empty());
    let tool = Tool { profile, ..Tool::default() };
    match format.read(text, &tool, &Empty) {
        Ok(recipe) => Ok(format!("{recipe:?}")),
        Err(Unfit::Absent(why)) => Err(format!("absent: {why}")),
        Err(Unfit::Wrong(why)) => Err(why),
    }
}

fn check(format: &dyn Format, text: &str, rows: &[(&str, Result<&str, &str>)]) {
    for (section, expected) in rows {
        match (read(format, text, section), expected) {
            (Ok(recipe), Ok(words)) => assert!(recipe.contains(words), "{section}: {recipe}"),
            (Err(why), Err(words)) => assert!(why.contains(words), "{section}: {why}"),
            (got, _) => panic!("{section}: {got:?}"),
        }
    }
}

fn file(name: &str) -> String {
    let files: Value =
        serde_json::from_str(include_str!("../../tests/vectors/tool_files.json")).expect("json");
    files[name]["text"].as_str().expect("a text").to_owned()
}

#[test]
fn each_section_of_the_vendors_files_comes_to_what_it_should() {
    check(
        &Shared,
        &file("shared_ini"),
        &[
            ("", Ok("Key")),
            ("default", Ok("token: None")),
            ("notype", Err("has no type")),
            ("emptyak", Err("has no access_key_id")),
            ("ecs", Ok("Ecs(Instance { role_name: Some(\"EcsRamRoleTest\")")),
            ("noecs", Ok("Ecs(Instance { role_name: None")),
            ("ram", Ok("Role { of: Key")),
            ("rsa", Err("rsa_key_pair, which is withdrawn")),
            ("error_type", Err("a type that nobody knows")),
            ("nobody", Err("no section [nobody]")),
        ],
    );
    check(&Shared, &file("shared_ini_inline_comment"), &[("", Ok("Key"))]);
    check(
        &Shared,
        &file("ack_ini"),
        &[("", Ok("token: Some")), ("uri", Ok("Uri(http://127.0.0.1)")), ("ext", Err("type \"process\""))],
    );
}

#[test]
fn other_sections_of_the_shared_file() {
    let text = "[oidc]\ntype = oidc_role_arn\nrole_arn = r\noidc_provider_arn = p\noidc_token_file_path = /t\n\
                role_session_expiration = 900\n[off]\nenable = False\ntype = access_key\n\
                [exported]\ntype = sts\naccess_key_id = a\naccess_key_secret = s\nsecurity_token = t\n\
                [bad]\ntype = ram_role_arn\naccess_key_id = a\naccess_key_secret = s\nrole_arn = r\nrole_session_expiration = x\n\
                [percent]\ntype = ram_role_arn\naccess_key_id = a\naccess_key_secret = s#1\nrole_arn = r\npolicy = {\"a\":\"%(x)s\"}\n";
    check(
        &Shared,
        text,
        &[
            ("", Err("absent: there is no section [default]")),
            ("oidc", Ok("duration: Some(900s)")),
            ("off", Err("absent: the section [off] says enable = false")),
            // As another tool writes it and cannot read it.
            ("exported", Ok("token: Some")),
            ("bad", Err("no number of seconds")),
            ("percent", Ok("%(x)s")),
        ],
    );
    assert!(read(&Shared, "nonsense", "").expect_err("no file").contains("line 1"));
}

#[test]
fn both_dialects_of_the_file_of_osss_own_libraries() {
    let text = "[default]\noss_access_key_id = a\noss_secret_access_key = s\noss_session_token = t\n\
                [other]\naccessKeyId = a\naccess_key_secret = s\n[half]\naccess_key_id = a\n";
    let rows = [
        ("", Ok("token: Some")),
        ("other", Ok("token: None")),
        ("half", Err("[half] has no access_key_secret")),
    ];
    check(&OssFile, text, &rows);
}

#[test]
fn ossutils_file_with_its_many_names() {
    check(&Ossutil, &file("ossutilconfig"), &[("", Ok("token: Some"))]);
    let of = |lines: &str| format!("[Credentials]\n{lines}\n");
    let key = "access-id=a\naccess_key=s";
    for (lines, expected) in [
        (key.to_owned(), Ok("token: None")),
        (format!("{key}\nmode=AK\nstsToken=t"), Ok("token: None")),
        (format!("{key}\nmode=StsToken"), Err("has no stsToken")),
        (
            format!("{key}\nmode=RamRoleArn\nramRoleArn=r\nstsRegion=sts.cn-beijing.aliyuncs.com\ntokenTimeout=900"),
            Ok("cn-beijing"),
        ),
        ("mode=EcsRamRole\necsRoleName=n".to_owned(), Ok("role_name: Some(\"n\")")),
        ("mode=Else".to_owned(), Err("a mode that nobody knows")),
        ("language=EN".to_owned(), Err("absent: [Credentials] has no access key")),
        (
            "language=EN\n[AkService]\necsAk=http://100.100.100.200/latest/meta-data/Ram/security-credentials/R".to_owned(),
            Ok("Uri(http://100.100.100.200)"),
        ),
    ] {
        check(&Ossutil, &of(&lines), &[("", expected)]);
    }
}

#[test]
fn a_section_as_a_tool_exports_it_is_read_whatever_it_calls_its_token() {
    for token in ["sts_token", "security_token"] {
        let text =
            format!("[default]\ntype = sts\naccess_key_id = STS.a\naccess_key_secret = s\n{token} = t\n");
        check(&Shared, &text, &[("", Ok("token: Some"))]);
    }
}
