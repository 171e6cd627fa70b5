//! Each mode of a profile, from the file of the vendor and from files of these tests.

use std::sync::Arc;

use serde_json::{Value, json};

use super::CliFile;
use crate::credentials::external_file::{ExternalFileConfig, ExternalFormat as _, UnsupportedProfile};
use crate::credentials::test_env::TestEnv;
use crate::credentials::{ProvideError, SourceEnv};
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

fn read(document: &Value, profile: &str, allow_process: bool) -> Result<String, String> {
    let profile = Some(profile.to_owned()).filter(|name| !name.is_empty());
    let tool = ExternalFileConfig { profile, allow_process, ..ExternalFileConfig::default() };
    match CliFile.read(&document.to_string(), &tool, &Empty) {
        Ok(provider) => Ok(format!("{provider:?}")),
        Err(UnsupportedProfile::Absent(why)) => Err(format!("absent: {why}")),
        Err(UnsupportedProfile::Wrong(why)) => Err(why),
    }
}

#[test]
fn each_profile_of_the_vendors_file_comes_to_what_it_should() {
    let files: Value =
        serde_json::from_str(include_str!("../../tests/vectors/tool_files.json")).expect("json");
    let file = &files["aliyun_config_json"]["content"];
    for (profile, expected) in [
        ("", Ok("StaticKeyConfig")),
        ("AK", Ok("StaticKeyConfig")),
        ("StsToken", Ok("token: Some(Secret(..))")),
        ("RamRoleArn", Ok("FileRoleConfig { signer: StaticKeyConfig")),
        ("EcsRamRole", Ok("EcsConfig { role_name: Some(\"rolename\")")),
        ("OIDC", Ok("token_file: Some(\"path/to/oidc/file\")")),
        ("ChainableRamRoleArn", Ok("FileRoleConfig { signer: FileRoleConfig { signer: StaticKeyConfig")),
        ("ChainableRamRoleArn1", Err("has no ram_role_arn")),
        ("ChainableRamRoleArn2", Err("has no ram_role_arn")),
        ("Unsupported", Err("an unknown mode")),
        ("CloudSSO", Err("run `aliyun configure --profile CloudSSO --mode CloudSSO`")),
        ("nobody", Err("the profile \"nobody\" does not exist")),
    ] {
        match (read(file, profile, false), expected) {
            (Ok(provider), Ok(words)) => assert!(provider.contains(words), "{profile}: {provider}"),
            (Err(why), Err(words)) => assert!(why.contains(words), "{profile}: {why}"),
            (got, _) => panic!("{profile}: {got:?}"),
        }
    }
    let role = read(file, "RamRoleArn", false).expect("a role");
    for words in ["policy: Some(\"policy\")", "external_id: Some(\"id\")", "vpc: true", "cn-hangzhou"] {
        assert!(role.contains(words), "{words}: {role}");
    }
}

#[test]
fn profiles_that_need_each_other_in_a_circle_are_refused() {
    let files: Value =
        serde_json::from_str(include_str!("../../tests/vectors/tool_files.json")).expect("json");
    let why = read(&files["aliyun_config_json_cycle"]["content"], "", false).expect_err("a circle");
    assert!(why.contains("\"b\"") && why.contains("uses this profile itself"), "{why}");
}

#[test]
fn other_modes_and_none_at_all() {
    let key = |more: Value| {
        let mut profile =
            json!({"name": "p", "access_key_id": "LTAIa", "access_key_secret": "s", "unknown": {"x": 1}});
        for (name, value) in more.as_object().expect("an object") {
            profile[name] = value.clone();
        }
        json!({"current": "p", "profiles": [profile], "meta_path": ""})
    };
    let role = json!({"mode": "RamRoleArnWithRoleName", "ram_role_arn": "r", "ram_role_name": "n", "expired_seconds": 900});
    let command = json!({"mode": "external", "process_command": "/bin/tool --for 'a b'"});
    for (profile, allow, expected) in [
        (json!({}), false, Ok("StaticKeyConfig")),
        (json!({"sts_token": "t"}), false, Ok("token: Some")),
        (json!({"ram_role_arn": "r"}), false, Ok("FileRoleConfig { signer: StaticKeyConfig")),
        // The vendor's command line looks for a token before it looks for a role.
        (
            json!({"ram_role_arn": "r", "sts_token": "t"}),
            false,
            Ok("StaticKeyConfig { id: Secret(..), secret: Secret(..), token: Some"),
        ),
        (json!({"mode": "RamRoleArn", "ram_role_arn": "r"}), false, Ok("token: None }")),
        (
            json!({"mode": "RamRoleArn", "ram_role_arn": "r", "sts_token": "t"}),
            false,
            Ok("FileRoleConfig { signer: StaticKeyConfig { id: Secret(..), secret: Secret(..), token: Some"),
        ),
        (json!({"mode": "AK", "sts_token": "t"}), false, Ok("token: None }")),
        (json!({"mode": "ak"}), false, Ok("StaticKeyConfig")),
        // Unlike here, the vendor's command line ignores both.
        (
            json!({"mode": "RamRoleArn", "ram_role_arn": "r", "expired_seconds": 900, "policy": "{}"}),
            false,
            Ok("duration: 900s, policy: Some(\"{}\")"),
        ),
        (
            json!({"mode": "OIDC", "ram_role_arn": "r", "oidc_token_file": "t", "oidc_provider_arn": "p", "expired_seconds": 900}),
            false,
            Ok("duration: Some(900s)"),
        ),
        (role, false, Ok("FileRoleConfig { signer: EcsConfig { role_name: Some(\"n\")")),
        (command.clone(), true, Ok("command: [\"/bin/tool\", \"--for\", \"a b\"]")),
        (command, false, Err("allow_process = true")),
        (json!({"mode": "External", "process_command": "'"}), true, Err("split into words")),
        (
            json!({"mode": "CredentialsURI", "credentials_uri": "http://127.0.0.1:1/x"}),
            false,
            Ok("UriConfig {"),
        ),
        (json!({"mode": "CredentialsURI", "credentials_uri": "http://h/x"}), false, Err("unencrypted")),
        (json!({"mode": "OAuth"}), false, Err("run `aliyun configure --profile p --mode OAuth`")),
        (
            json!({"cloud_sso_sign_in_url": "u", "access_key_id": ""}),
            false,
            Err("run `aliyun configure --profile p --mode CloudSSO`"),
        ),
        (json!({"mode": "BearerToken"}), false, Err("does not support bearer tokens")),
        (json!({"mode": "StsToken"}), false, Err("no sts_token")),
        (json!({"mode": "AK", "access_key_secret": ""}), false, Err("no access_key_secret")),
    ] {
        match (read(&key(profile.clone()), "", allow), expected) {
            (Ok(provider), Ok(words)) => assert!(provider.contains(words), "{profile}: {provider}"),
            (Err(why), Err(words)) => assert!(why.contains(words), "{profile}: {why}"),
            (got, _) => panic!("{profile}: {got:?}"),
        }
    }
}

#[test]
fn a_file_without_the_wanted_profile_is_wrong_unless_it_has_none() {
    let none = json!({"current": "", "profiles": []});
    assert_eq!(read(&none, "", false).expect_err("none"), "absent: the file has no profiles");
    let one = json!({"name": "p", "mode": "AK", "access_key_id": "LTAIa", "access_key_secret": "s"});
    for (current, words) in
        [("", "no current profile is set"), ("q", "the current profile \"q\" does not exist")]
    {
        let why = read(&json!({"current": current, "profiles": [one]}), "", false).expect_err("none");
        assert!(why.contains(words) && why.contains("aliyun configure list"), "{why}");
    }
    let why = read(&json!({"profiles": [one]}), "", false).expect_err("none");
    assert!(why.contains("the current profile \"default\" does not exist"), "{why}");
    for foreign in [json!({}), json!({"auths": {}}), json!({"current": "p"})] {
        let why = read(&foreign, "", false).expect_err("another tool's");
        assert!(why.contains("no list of profiles"), "{foreign}: {why}");
    }
    let Err(UnsupportedProfile::Wrong(why)) =
        CliFile.read("{\"current\": \"planted-secret", &ExternalFileConfig::default(), &Empty)
    else {
        panic!("no JSON");
    };
    assert!(why.contains("line 1") && !why.contains("planted"), "{why}");
}

#[test]
fn the_profile_default_is_current_where_the_file_names_none() {
    let profile =
        json!({"name": "default", "mode": "AK", "access_key_id": "LTAIa", "access_key_secret": "s"});
    for file in [json!({"profiles": [profile]}), json!({"current": null, "profiles": [profile]})] {
        let got = read(&file, "", false);
        assert!(got.as_ref().is_ok_and(|provider| provider.contains("StaticKeyConfig")), "{file}: {got:?}");
    }
}

#[test]
fn a_current_profile_without_any_credentials_is_absent_unless_it_was_chosen_by_name() {
    let empty = json!({"name": "default", "mode": "AK", "access_key_id": "", "access_key_secret": "",
        "sts_token": "", "ram_role_arn": "", "region_id": "cn-hangzhou", "expired_seconds": 0});
    let with = |name: &str, value: &str| {
        let mut profile = empty.clone();
        profile[name] = value.into();
        json!({"current": "default", "profiles": [profile]})
    };
    let absent = "absent: the current profile \"default\" has no credentials";
    for file in [with("mode", "AK"), with("mode", "ak"), with("mode", "")] {
        assert_eq!(read(&file, "", false).expect_err("no key"), absent, "{file}");
        let why = read(&file, "default", false).expect_err("no key");
        assert!(why.starts_with("the profile \"default\" has no"), "{file}: {why}");
        let variables = TestEnv::with(&[("ALIBABA_CLOUD_PROFILE", "default")]);
        let got = CliFile.read(&file.to_string(), &ExternalFileConfig::default(), &variables);
        assert!(matches!(got, Err(UnsupportedProfile::Wrong(_))), "{file}");
    }
    for (name, value) in [
        ("access_key_id", "LTAIa"),
        ("access_key_secret", "s"),
        ("sts_token", "t"),
        ("ram_role_arn", "r"),
        ("source_profile", "p"),
        ("mode", "StsToken"),
        ("mode", "New"),
    ] {
        let why = read(&with(name, value), "", false).expect_err("half a key");
        assert!(!why.starts_with("absent"), "{name}: {why}");
    }
}

#[test]
fn times_of_a_login_that_are_no_whole_numbers_leave_the_file_readable() {
    for value in [json!(null), json!("soon"), json!("1700000060"), json!(1.5), json!(u64::MAX), json!([])] {
        let mut other = json!({"name": "other", "mode": "CloudSSO", "access_key_id": "STS.a",
            "access_key_secret": "s", "sts_token": "t"});
        for name in [
            "sts_expiration",
            "cloud_sso_access_token_expire",
            "oauth_access_token_expire",
            "oauth_refresh_token_expire",
        ] {
            other[name] = value.clone();
        }
        let one = json!({"name": "p", "mode": "AK", "access_key_id": "LTAIa", "access_key_secret": "s"});
        let file = json!({"current": "p", "profiles": [other, one]});
        assert!(read(&file, "", false).is_ok_and(|provider| provider.contains("StaticKeyConfig")), "{file}");
        let why = read(&file, "other", false).expect_err("no time");
        assert!(why.contains("no login credentials"), "{file}: {why}");
    }
}

#[test]
fn a_profile_keeps_its_duration_its_policy_and_its_session_name() {
    let base = json!({"name": "p", "access_key_id": "LTAIa", "access_key_secret": "s", "ram_role_arn": "r",
        "oidc_provider_arn": "o", "oidc_token_file": "/t", "expired_seconds": 900, "policy": "{}"});
    for (mode, session) in
        [("RamRoleArn", "ram_session_name"), ("OIDC", "ram_session_name"), ("OIDC", "role_session_name")]
    {
        let mut profile = base.clone();
        (profile["mode"], profile[session]) = (mode.into(), "mine".into());
        let provider = read(&json!({"current": "p", "profiles": [profile]}), "", false).expect("a role");
        for words in ["900s", "policy: Some(\"{}\")", "session_name: Some(\"mine\")"] {
            assert!(provider.contains(words), "{mode} {words}: {provider}");
        }
    }
}

/// The current time in these tests, in seconds since 1970.
const NOW_S: i64 = 1_700_000_000;

#[tokio::test]
async fn the_keys_of_a_login_sign_until_they_expire_and_then_the_command_that_renews_them_is_named() {
    let renew = "aliyun sts GetCallerIdentity --profile p`";
    let again = "run `aliyun configure --profile p --mode";
    for (mode, provider, login_key) in [
        ("CloudSSO", "cloud_sso", "cloud_sso_access_token_expire"),
        ("OAuth", "oauth", "oauth_refresh_token_expire"),
        ("oauth", "oauth", "oauth_access_token_expire"),
    ] {
        for (sts_expiration, login_expires, expected) in [
            (NOW_S + 60, NOW_S + 600, Ok(())),
            (NOW_S + 60, NOW_S - 600, Ok(())),
            (NOW_S, NOW_S + 600, Err([renew, "expired at 2023-11-14T22:13:20Z; run `aliyun sts"])),
            (NOW_S - 60, NOW_S - 1, Err([again, renew])),
            (0, NOW_S + 600, Err(["no login credentials; run `aliyun sts", renew])),
        ] {
            let mut profile = json!({"name": "p", "mode": mode, "access_key_id": "STS.a",
                "access_key_secret": "s", "sts_token": "t", "sts_expiration": sts_expiration});
            profile[login_key] = login_expires.into();
            let text = json!({"current": "p", "profiles": [profile]}).to_string();
            let got = match CliFile.read(&text, &ExternalFileConfig::default(), &Empty) {
                Ok(config) => config.build(&Arc::default()).provide(&Empty).await.map_err(|error| {
                    assert!(matches!(error, ProvideError::Refused(_)), "{error:?}");
                    error.to_string()
                }),
                Err(UnsupportedProfile::Absent(why) | UnsupportedProfile::Wrong(why)) => Err(why),
            };
            let at = format!("{mode} {sts_expiration} {login_expires}: {got:?}");
            match (got, expected) {
                (Ok(given), Ok(())) => {
                    let expires = given.expires.map(Timestamp::unix_s);
                    assert_eq!((given.id.as_str(), expires), ("STS.a", Some(sts_expiration)), "{at}");
                    assert_eq!((&*given.provider, given.token.is_some()), (provider, true), "{at}");
                }
                (Err(why), Err(words)) => {
                    assert!(words.iter().all(|words| why.contains(words)), "{at}");
                }
                _ => panic!("{at}"),
            }
        }
    }
}

#[test]
fn a_profile_is_chosen_by_the_variables_in_the_order_of_the_command_line() {
    let profile = |name: &str| json!({"name": name, "mode": "EcsRamRole", "ram_role_name": name});
    let profiles = ["current", "first", "second", "third", "named"].map(profile);
    let text = json!({"current": "current", "profiles": profiles}).to_string();
    let variables = [
        ("ALIBABACLOUD_PROFILE", "first"),
        ("ALIBABA_CLOUD_PROFILE", "second"),
        ("ALICLOUD_PROFILE", "third"),
    ];
    let read = |tool: &ExternalFileConfig, world: &TestEnv| match CliFile.read(&text, tool, world) {
        Ok(provider) => format!("{provider:?}"),
        Err(UnsupportedProfile::Absent(why) | UnsupportedProfile::Wrong(why)) => why,
    };
    for (from, expected) in [(0, "first"), (1, "second"), (2, "third"), (3, "current")] {
        let provider = read(&ExternalFileConfig::default(), &TestEnv::with(&variables[from..]));
        assert!(provider.contains(&format!("{expected:?}")), "{expected}: {provider}");
    }
    let named = ExternalFileConfig { profile: Some("named".to_owned()), ..ExternalFileConfig::default() };
    let provider = read(&named, &TestEnv::with(&variables));
    assert!(provider.contains("\"named\""), "{provider}");
    let other = read(&ExternalFileConfig::default(), &TestEnv::with(&[("ALICLOUD_PROFILE", "other")]));
    assert!(other.contains("the profile \"other\" does not exist"), "{other}");
}
