//! Each type of section, from the files of the vendor.

use serde_json::Value;

use super::{OssFile, SharedFile};
use crate::credentials::SourceEnv;
use crate::credentials::external_file::{ExternalFileConfig, ExternalFormat, UnsupportedProfile};
use crate::credentials::ossutil::OssutilFile;
use crate::time::{Clock, Timestamp};

/// An environment without variables.
struct Empty;

impl Clock for Empty {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(1_700_000_000)
    }
}

impl SourceEnv for Empty {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
}

fn read(format: &dyn ExternalFormat, text: &str, section: &str) -> Result<String, String> {
    read_with(format, text, section, false)
}

fn read_with(
    format: &dyn ExternalFormat,
    text: &str,
    section: &str,
    allow_process: bool,
) -> Result<String, String> {
    let profile = Some(section.to_owned()).filter(|name| !name.is_empty());
    let tool = ExternalFileConfig { profile, allow_process, ..ExternalFileConfig::default() };
    match format.read(text, &tool, &Empty) {
        Ok(provider) => Ok(format!("{provider:?}")),
        Err(UnsupportedProfile::Absent(why)) => Err(format!("absent: {why}")),
        Err(UnsupportedProfile::Wrong(why)) => Err(why),
    }
}

fn check(format: &dyn ExternalFormat, text: &str, rows: &[(&str, Result<&str, &str>)]) {
    for (section, expected) in rows {
        match (read(format, text, section), expected) {
            (Ok(provider), Ok(words)) => assert!(provider.contains(words), "{section}: {provider}"),
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
        &SharedFile,
        &file("shared_ini"),
        &[
            ("", Ok("StaticKeyConfig")),
            ("default", Ok("token: None")),
            ("notype", Err("has no type")),
            ("emptyak", Err("has no access_key_id")),
            ("ecs", Ok("EcsConfig { role_name: Some(\"EcsRamRoleTest\")")),
            ("noecs", Ok("EcsConfig { role_name: None")),
            ("ram", Ok("FileRoleConfig { signer: StaticKeyConfig")),
            ("rsa", Err("rsa_key_pair, which the vendor has withdrawn")),
            ("error_type", Err("an unknown type")),
            ("nobody", Err("the section [nobody] does not exist")),
        ],
    );
    check(&SharedFile, &file("shared_ini_inline_comment"), &[("", Ok("StaticKeyConfig"))]);
    check(
        &SharedFile,
        &file("ack_ini"),
        &[
            ("", Ok("token: Some")),
            ("uri", Ok("UriConfig { url: Some(http://127.0.0.1)")),
            ("ext", Err("type \"process\"")),
        ],
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
        &SharedFile,
        text,
        &[
            (
                "",
                Err(
                    "the section [default] does not exist; the file has [oidc], [off], [exported], [bad], [percent]; set profile",
                ),
            ),
            ("oidc", Ok("duration: Some(900s)")),
            ("off", Err("absent: the section [off] is disabled (enable = false)")),
            // Another tool writes this form but cannot read it.
            ("exported", Ok("token: Some")),
            ("bad", Err("expected a number of seconds")),
            ("percent", Ok("%(x)s")),
        ],
    );
    let nothing = "# nothing yet\n\n";
    assert_eq!(read(&SharedFile, nothing, "").expect_err("nothing"), "absent: the file is empty");
    assert_eq!(read(&OssFile, nothing, "").expect_err("nothing"), "absent: the file is empty");
    let why = read(&OssFile, "access_key_id = a\n", "").expect_err("no section");
    assert!(why.contains("the file has no sections; set profile or OSS_PROFILE"), "{why}");
    assert!(read(&SharedFile, "nonsense", "").expect_err("no file").contains("line 1"));
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
    check(&OssutilFile, &file("ossutilconfig"), &[("", Ok("token: Some"))]);
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
        ("mode=Else".to_owned(), Err("an unknown mode")),
        ("language=EN".to_owned(), Err("absent: [Credentials] has no access key")),
        (
            "language=EN\n[AkService]\necsAk=http://100.100.100.200/latest/meta-data/Ram/security-credentials/R".to_owned(),
            Ok("UriConfig { url: Some(http://100.100.100.200)"),
        ),
    ] {
        check(&OssutilFile, &of(&lines), &[("", expected)]);
    }
}

#[test]
fn a_section_as_a_tool_exports_it_is_read_whatever_it_calls_its_token() {
    for token in ["sts_token", "security_token"] {
        let text =
            format!("[default]\ntype = sts\naccess_key_id = STS.a\naccess_key_secret = s\n{token} = t\n");
        check(&SharedFile, &text, &[("", Ok("token: Some"))]);
    }
}

/// A file of ossutil 2 with each of its modes.
const PROFILES: &str = "[default]\naccessKeyID = LTAIdefault\naccessKeySecret = s # of the user\nregion = cn-hangzhou\n\
    [Profile  sts]\naccess-key-id=STS.a\naccess_key_secret=s\nstsToken=t\n\
    [profile mode]\nmode = stsToken\naccesskeyid=STS.a\naccesskeysecret=s\nsts-token=t\n\
    [profile notoken]\nmode = StsToken\naccess-key-id=STS.a\naccess-key-secret=s\n\
    [profile ak]\nmode = AK\naccess-key-id=LTAIa\naccess-key-secret=s\nsts-token=t\n\
    [profile role]\nmode = RamRoleArn\nroleArn = r\nroleSessionName = mine\nsource-profile = default\n\
    [profile chained]\nregion = cn-beijing\nsource_profile = role\n\
    [profile own]\naccess-key-id = LTAIown\naccess-key-secret = s\nsourceProfile = sts\n\
    [profile half]\naccess-key-id = LTAIhalf\nsource-profile = sts\n\
    [profile norole]\nmode = RamRoleArn\naccess-key-id=a\naccess-key-secret=s\n\
    [profile ecs]\nmode = EcsRamRole\n[profile ecs2]\nmode = Ali-EcsRamRole\necsRoleName = n\n\
    [profile pod]\nmode = oidcRoleArn\nOIDCProviderArn = p\nOIDCTokenFilePath = /t\nroleArn = r\n\
    [profile uri]\nmode = Uri\ncredential-uri = http://127.0.0.1/keys\n\
    [profile plain]\nmode = Uri\ncredential-uri = http://keys.example.com/\n\
    [profile process]\nmode = Process\ncredentialProcess = tool --for 'a b'\n\
    [profile nobody]\nmode = Anonymous\n[profile other]\nmode = Else\n\
    [profile modeless]\nrole-arn = r\n[profile settings]\nregion = cn-beijing\n\
    [profile a]\nsource-profile = b\n[profile b]\nsource-profile = A\n\
    [profile lost]\nsource-profile = nowhere\n\
    [buckets dev]\nphotos =\n  region=cn-beijing\n";

#[test]
fn each_profile_of_ossutil_2_comes_to_what_it_should() {
    let key = "StaticKeyConfig { id: Secret(..), secret: Secret(..), token: None }";
    let triple = "StaticKeyConfig { id: Secret(..), secret: Secret(..), token: Some(Secret(..)) }";
    check(
        &OssutilFile,
        PROFILES,
        &[
            ("", Ok(key)),
            ("default", Ok(key)),
            ("DEFAULT", Ok(key)),
            ("sts", Ok(triple)),
            ("mode", Ok(triple)),
            ("notoken", Err("the profile \"notoken\" has no sts-token")),
            ("ak", Ok(key)),
            (
                "role",
                Ok(
                    "FileRoleConfig { signer: StaticKeyConfig { id: Secret(..), secret: Secret(..), token: None }",
                ),
            ),
            ("role", Ok("arn: \"r\", session_name: Some(\"mine\")")),
            ("chained", Ok("FileRoleConfig { signer: StaticKeyConfig")),
            // The token of another profile belongs to another key.
            ("own", Ok(key)),
            ("half", Err("has no accessKeySecret")),
            ("norole", Err("has no role-arn")),
            ("ecs", Ok("EcsConfig { role_name: None")),
            ("ecs2", Ok("EcsConfig { role_name: Some(\"n\")")),
            ("pod", Ok("provider_arn: Some(\"p\"), token_file: Some(\"/t\")")),
            ("uri", Ok("UriConfig { url: Some(http://127.0.0.1)")),
            ("plain", Err("unencrypted")),
            ("process", Err("allow_process = true")),
            ("nobody", Err("type \"anonymous\"")),
            ("other", Err("an unknown mode; expected one of AK, StsToken")),
            ("modeless", Err("has no mode and no access-key-id")),
            ("settings", Err("absent: the profile \"settings\" has no credentials")),
            ("a", Err("the profile \"A\", which inherits from this one")),
            ("lost", Err("\"nowhere\", which does not exist")),
            (
                "nobody-knows",
                Err("[profile nobody-knows] does not exist; the file has [default], [Profile  sts]"),
            ),
        ],
    );
    let provider = read_with(&OssutilFile, PROFILES, "process", true).expect("allowed");
    assert!(provider.contains("command: [\"tool\", \"--for\", \"a b\"]"), "{provider}");
}

#[test]
fn a_file_of_ossutil_that_is_not_understood_is_never_taken_for_an_empty_one() {
    let one = "[Credentials]\naccessKeyID = LTAIa\naccessKeySecret = s\n";
    let two = "[default]\naccess-key-id = LTAIa\naccess-key-secret = s\n";
    for (text, expected) in [
        (format!("{one}{two}"), Ok("StaticKeyConfig")),
        (
            format!("{one}{}", two.replace("LTAIa", "LTAIb")),
            Err("have different access keys; set profile or OSSUTIL_PROFILE"),
        ),
        (format!("{one}[default]\nregion = cn-hangzhou\n"), Ok("StaticKeyConfig")),
        (format!("[Credentials]\nlanguage = EN\n{two}"), Ok("StaticKeyConfig")),
        (
            two.replace("default", "profile dev"),
            Err("neither [default] nor [Credentials] exists; the file has [profile dev]; set profile"),
        ),
        (one.replace("Credentials", "Credential"), Err("the file has [Credential]")),
        ("accessKeyID = LTAIa\n".to_owned(), Err("the file has no sections")),
        ("[Credentials]\naccessKeySecret = s\n".to_owned(), Err("has no accessKeyID and no mode")),
        ("[Credentials]\necsRoleName = r\n".to_owned(), Err("has no accessKeyID and no mode")),
        ("{\"current\": \"default\"}".to_owned(), Err("line 1")),
        ("# nothing\n".to_owned(), Err("absent: the file is empty")),
        (
            "[default]\nregion = cn-hangzhou\n".to_owned(),
            Err("absent: the profile \"default\" has no credentials"),
        ),
        // Endpoints of buckets are not credentials.
        (
            "[Bucket-Endpoint]\nb = e\n[Bucket-Cname]\nb = c\n".to_owned(),
            Err("absent: the file has only bucket endpoints"),
        ),
        (
            "[buckets b]\nmine =\nregion = cn-hangzhou\n".to_owned(),
            Err("absent: the file has only bucket endpoints"),
        ),
        (
            "[Bucket-Endpoint]\nb = e\n[profile dev]\nmode = AK\n".to_owned(),
            Err("the file has [Bucket-Endpoint]"),
        ),
        ("[AkService]\necsAk = http://127.0.0.1:1/\n".to_owned(), Ok("UriConfig {")),
        ("[AkService]\necsAk = http://h/\n".to_owned(), Err("[AkService] ecsAk")),
        ("[AkService]\n[Bucket-Endpoint]\nb = e\n".to_owned(), Err("absent: [AkService] has no ecsAk")),
        // A mode that the key implies does not make it a different key.
        (format!("{one}{two}mode = AK\n"), Ok("StaticKeyConfig")),
        (format!("{one}mode = ak\n{two}mode = AK\n"), Ok("StaticKeyConfig")),
        (format!("{one}stsToken = t\n{two}mode = StsToken\nsts-token = t\n"), Ok("token: Some")),
        (format!("{one}stsToken = t\n{two}mode = AK\nsts-token = t\n"), Err("have different access keys")),
        (format!("{one}{two}mode = EcsRamRole\n"), Err("have different access keys")),
    ] {
        check(&OssutilFile, &text, &[("", expected)]);
    }
}
