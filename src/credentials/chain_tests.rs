//! The provider chain and the environment: where credentials are found, and what ends the search.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::credentials::test_env::{NOW, TestEnv, ask};
use crate::credentials::{
    ChainConfig, ChainOrder, EnvConfig, NamedSpec, ProvideError, ProviderSpec, RefreshLoop, SetupError,
    build_sources,
};

#[tokio::test]
async fn the_oss_family_comes_before_the_general_one() {
    let all = [
        ("OSS_ACCESS_KEY_ID", "LTAIoss"),
        ("OSS_ACCESS_KEY_SECRET", "s1"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIali"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s2"),
    ];
    let got = ask(ProviderSpec::new(EnvConfig::default()), &all).await;
    assert_eq!(got, Ok(("LTAIoss".to_owned(), false, "env/OSS".to_owned())));
    let got = ask(ProviderSpec::new(ChainConfig::default()), &all[2..]).await;
    assert_eq!(got, Ok(("LTAIali".to_owned(), false, "default/env/ALIBABA_CLOUD".to_owned())));
}

#[tokio::test]
async fn families_are_never_mixed() {
    let got = ask(
        ProviderSpec::new(EnvConfig::default()),
        &[("OSS_ACCESS_KEY_ID", "LTAIoss"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s2")],
    )
    .await;
    let half = SetupError::HalfSet { present: "OSS_ACCESS_KEY_ID", missing: "OSS_ACCESS_KEY_SECRET" };
    assert_eq!(got, Err(ProvideError::Failed(half)));
    let with_foreign_token = ask(
        ProviderSpec::new(EnvConfig::default()),
        &[
            ("OSS_ACCESS_KEY_ID", "LTAIoss"),
            ("OSS_ACCESS_KEY_SECRET", "s1"),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", "token"),
        ],
    )
    .await;
    assert_eq!(with_foreign_token, Ok(("LTAIoss".to_owned(), false, "env/OSS".to_owned())));
}

#[tokio::test]
async fn a_half_set_pair_ends_the_chain() {
    let got =
        ask(ProviderSpec::new(ChainConfig::default()), &[("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")]).await;
    assert!(matches!(got, Err(ProvideError::Failed(SetupError::HalfSet { .. }))), "{got:?}");
}

#[tokio::test]
async fn an_empty_variable_counts_as_not_set() {
    let got = ask(
        ProviderSpec::new(EnvConfig::default()),
        &[("OSS_ACCESS_KEY_ID", ""), ("OSS_ACCESS_KEY_SECRET", "")],
    )
    .await;
    assert!(matches!(got, Err(ProvideError::NotConfigured(_))), "{got:?}");
}

#[tokio::test]
async fn a_role_in_the_environment_needs_a_key_beside_it() {
    let role = ("OSS_STS_ROLE_ARN", "acs:ram::1:role/r");
    let failed = |failure| Err(ProvideError::Failed(failure));
    let got = ask(ProviderSpec::new(EnvConfig::default()), &[role]).await;
    assert_eq!(got, failed(SetupError::RoleWithoutKey { variable: "OSS_STS_ROLE_ARN" }));
    // A key of another family does not apply.
    let other = [role, ("ALIBABA_CLOUD_ACCESS_KEY_ID", "LTAIx"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s")];
    let got = ask(ProviderSpec::new(EnvConfig::default()), &other).await;
    assert_eq!(got, failed(SetupError::RoleWithoutKey { variable: "OSS_STS_ROLE_ARN" }));
    let got = ask(ProviderSpec::new(EnvConfig::default()), &[role, ("OSS_ACCESS_KEY_ID", "LTAIx")]).await;
    let half = SetupError::HalfSet { present: "OSS_ACCESS_KEY_ID", missing: "OSS_ACCESS_KEY_SECRET" };
    assert_eq!(got, failed(half));
}

#[tokio::test]
async fn two_of_the_three_of_a_pod_end_the_chain() {
    let file = ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/nowhere/token");
    let role = ("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r");
    let got = ask(ProviderSpec::new(ChainConfig::default()), &[file, role]).await;
    assert!(matches!(got, Err(ProvideError::Failed(SetupError::IncompleteKey { .. }))), "{got:?}");
    // The role alone may be set for another purpose.
    let got = ask(ProviderSpec::new(ChainConfig::default()), &[role]).await;
    assert!(matches!(got, Err(ProvideError::NotConfigured(_))), "{got:?}");
}

#[tokio::test]
async fn older_families_are_read_whole_and_after_the_others() {
    for (variables, provider) in [
        (
            [("ALIBABACLOUD_ACCESS_KEY_ID", "LTAIx"), ("ALIBABACLOUD_ACCESS_KEY_SECRET", "s")],
            "env/ALIBABACLOUD",
        ),
        ([("ALICLOUD_ACCESS_KEY_ID", "LTAIx"), ("ALICLOUD_ACCESS_KEY_SECRET", "s")], "env/ALICLOUD"),
        ([("ALICLOUD_ACCESS_KEY", "LTAIx"), ("ALICLOUD_SECRET_KEY", "s")], "env/ALICLOUD_ACCESS_KEY"),
    ] {
        let spec = || ProviderSpec::new(EnvConfig::default());
        assert_eq!(ask(spec(), &variables).await, Ok(("LTAIx".to_owned(), false, provider.to_owned())));
        let got = ask(spec(), &variables[..1]).await;
        assert!(matches!(got, Err(ProvideError::Failed(SetupError::HalfSet { .. }))), "{provider}: {got:?}");
    }
    let bare = [("ACCESS_KEY_ID", "LTAIx"), ("ACCESS_KEY_SECRET", "s")];
    let got = ask(ProviderSpec::new(EnvConfig::default()), &bare).await;
    assert!(matches!(got, Err(ProvideError::NotConfigured(_))), "{got:?}");
}

/// Returns a home directory with a file in it.
fn home(path: &str, text: &str) -> (tempfile::TempDir, &'static str) {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join(path);
    std::fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    std::fs::write(file, text).expect("written");
    let path: &'static str = home.path().to_str().expect("a path").to_owned().leak();
    (home, path)
}

const CONFIG: &str = r#"{"current": "a", "profiles": [{"name": "a", "mode": "AK", "access_key_id": "LTAIcli", "access_key_secret": "s"}]}"#;

#[tokio::test]
async fn the_chain_finds_each_file_of_the_home_directory() {
    for (path, text, provider) in [
        (".aliyun/config.json", CONFIG, "default/cli_profile/static_ak"),
        (
            ".alibabacloud/credentials",
            "[default]\ntype=access_key\naccess_key_id=LTAIcli\naccess_key_secret=s",
            "default/profile/static_ak",
        ),
        (
            ".alibabacloud/credentials.ini",
            "[default]\ntype=access_key\naccess_key_id=LTAIcli\naccess_key_secret=s",
            "default/profile/static_ak",
        ),
        (
            ".oss/credentials",
            "[default]\naccess_key_id=LTAIcli\naccess_key_secret=s",
            "default/oss_profile/static_ak",
        ),
        (
            ".ossutilconfig",
            "[Credentials]\naccessKeyID=LTAIcli\naccessKeySecret=s",
            "default/ossutil/static_ak",
        ),
    ] {
        let (_kept, home) = home(path, text);
        let got = ask(ProviderSpec::new(ChainConfig::default()), &[("HOME", home)]).await;
        assert_eq!(got, Ok(("LTAIcli".to_owned(), false, provider.to_owned())), "{path}");
        let with_key = [("HOME", home), ("OSS_ACCESS_KEY_ID", "LTAIenv"), ("OSS_ACCESS_KEY_SECRET", "s")];
        let got = ask(ProviderSpec::new(ChainConfig::default()), &with_key).await;
        assert_eq!(got.map(|(id, ..)| id), Ok("LTAIenv".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_file_of_a_tool_that_is_not_understood_ends_the_chain_and_is_named() {
    for (path, text) in [
        (".aliyun/config.json", "{"),
        (".aliyun/config.json", "{}"),
        (".aliyun/config.json", r#"{"current": "b", "profiles": [{"name": "a", "mode": "AK"}]}"#),
        (".aliyun/config.json", r#"{"current": "a", "profiles": [{"name": "a", "mode": "New"}]}"#),
        (".alibabacloud/credentials", "{}"),
        (".alibabacloud/credentials", "[dev]\ntype=access_key\naccess_key_id=LTAIx\naccess_key_secret=s"),
        (".alibabacloud/credentials.ini", "[default]\ntype=new"),
        (".oss/credentials", "[dev]\naccess_key_id=LTAIx\naccess_key_secret=s"),
        (".oss/credentials", "[default]\nkey=LTAIx"),
        (".ossutilconfig", "[profile dev]\naccess-key-id=LTAIx\naccess-key-secret=s"),
        (".ossutilconfig", "[default]\nmode=New"),
        (".ossutilconfig", "[other]\naccessKeyID=LTAIx\naccessKeySecret=s"),
    ] {
        let (_kept, home) = home(path, text);
        let got = ask(ProviderSpec::new(ChainConfig::default()), &[("HOME", home)]).await;
        let Err(ProvideError::Refused(why)) = &got else { panic!("{path} {text}: {got:?}") };
        assert!(why.contains(path), "{path}: {why}");
    }
    for (path, text) in [
        (".aliyun/config.json", r#"{"current": "", "profiles": []}"#),
        (".alibabacloud/credentials", "# nothing\n"),
        (".alibabacloud/credentials", "[default]\nenable=false"),
        (".oss/credentials", "\n"),
        (".ossutilconfig", "[Credentials]\nlanguage=EN"),
        (".ossutilconfig", "[default]\nregion=cn-hangzhou"),
    ] {
        let (_kept, home) = home(path, text);
        let got = ask(ProviderSpec::new(ChainConfig::default()), &[("HOME", home)]).await;
        assert!(matches!(got, Err(ProvideError::NotConfigured(_))), "{path}: {got:?}");
    }
}

#[tokio::test]
async fn the_file_and_the_profile_of_ossutil_are_chosen_by_its_variables() {
    let text = "[default]\naccess-key-id=LTAIdefault\naccess-key-secret=s\n\
                [profile dev]\naccess-key-id=LTAIdev\naccess-key-secret=s\n";
    let (kept, home) = home(".ossutilconfig", text);
    let file: &'static str = kept.path().join("other").to_str().expect("a path").to_owned().leak();
    std::fs::write(file, text.replace("LTAI", "LTAIother-")).expect("written");
    for (variables, id) in [
        (vec![("HOME", home)], "LTAIdefault"),
        (vec![("HOME", home), ("OSSUTIL_PROFILE", "dev")], "LTAIdev"),
        (vec![("OSSUTIL_CONFIG_FILE", file)], "LTAIother-default"),
        (vec![("OSSUTIL_CONFIG_FILE", file), ("OSSUTIL_PROFILE", "dev")], "LTAIother-dev"),
    ] {
        let got = ask(ProviderSpec::new(ChainConfig::default()), &variables).await.map(|(id, ..)| id);
        assert_eq!(got, Ok(id.to_owned()), "{variables:?}");
    }
    let got =
        ask(ProviderSpec::new(ChainConfig::default()), &[("HOME", home), ("OSSUTIL_PROFILE", "prod")]).await;
    assert!(matches!(&got, Err(ProvideError::Refused(why)) if why.contains("[profile prod]")), "{got:?}");
}

#[tokio::test]
async fn a_file_that_is_named_and_missing_ends_the_chain() {
    let (_kept, home) = home(".ossutilconfig", "[Credentials]\naccessKeyID=LTAIx\naccessKeySecret=s");
    for variable in [
        "ALIBABA_CLOUD_CONFIG_FILE",
        "ALIBABA_CLOUD_CREDENTIALS_FILE",
        "OSS_CREDENTIAL_PROFILES_FILE",
        "OSSUTIL_CONFIG_FILE",
    ] {
        let got =
            ask(ProviderSpec::new(ChainConfig::default()), &[("HOME", home), (variable, "/nowhere/at-all")])
                .await;
        assert!(
            matches!(&got, Err(ProvideError::Unavailable(why)) if why.contains("/nowhere/at-all")),
            "{got:?}"
        );
    }
}

#[tokio::test]
async fn a_profile_that_is_switched_off_or_not_supported() {
    let (_kept, path) = home(".aliyun/config.json", CONFIG);
    for off in ["ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "ALIBABA_CLOUD_IGNORE_PROFILE"] {
        let got = ask(ProviderSpec::new(ChainConfig::default()), &[("HOME", path), (off, "TRUE")]).await;
        assert!(matches!(&got, Err(ProvideError::NotConfigured(why)) if why.contains(off)), "{got:?}");
    }
    let (_kept, path) = home(
        ".aliyun/config.json",
        r#"{"current": "a", "profiles": [{"name": "a", "mode": "External", "process_command": "touch /tmp/never"}]}"#,
    );
    let got = ask(ProviderSpec::new(ChainConfig::default()), &[("HOME", path)]).await;
    assert!(matches!(&got, Err(ProvideError::Refused(why)) if why.contains("allow_process")), "{got:?}");
}

#[tokio::test]
async fn what_the_chain_has_found_stays() {
    let (kept, path) = home(".aliyun/config.json", CONFIG);
    std::fs::write(kept.path().join(".ossutilconfig"), "[Credentials]\naccessKeyID=LTAIy\naccessKeySecret=s")
        .expect("written");
    let sources = build_sources(
        &[NamedSpec::new("default", ProviderSpec::new(ChainConfig::default()))],
        &Arc::default(),
    );
    let (source, world) = (&sources["default"], TestEnv::with(&[("HOME", path)]));
    assert_eq!(source.refresh(&world).await.expect("a key").id, "LTAIcli");
    std::fs::remove_file(kept.path().join(".aliyun/config.json")).expect("removed");
    let got = source.refresh(&world).await.map(|given| given.id.clone());
    assert!(
        matches!(&got, Err(ProvideError::Unavailable(why)) if why.contains("no longer configured")),
        "{got:?}"
    );
    assert_eq!(source.get(NOW).expect("what was there").id, "LTAIcli");
    let lines = source.status(&world).explanation.join("\n");
    for words in ["env             not configured", "cli_profile     SELECTED", "ossutil         not tried"] {
        assert!(lines.contains(words), "{words}: {lines}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_chain_has_found_is_asked_again_only_when_it_changes() {
    let (kept, path) = home(".aliyun/config.json", CONFIG);
    let sources = build_sources(
        &[NamedSpec::new("default", ProviderSpec::new(ChainConfig::default()))],
        &Arc::default(),
    );
    let (source, world) = (&sources["default"], TestEnv::with(&[("HOME", path)]));
    source.refresh(&world).await.expect("a key");
    let asked = async || {
        let some = Duration::from_secs(5);
        assert!(timeout(some, RefreshLoop::new(source, &world).run()).await.is_err(), "it never ends");
        let [(_, given), _] = source.status(&world).refreshes;
        given.count()
    };
    assert_eq!(asked().await, 1, "nothing has changed");
    std::fs::write(kept.path().join(".ossutilconfig"), "[Credentials]\naccessKeyID=LTAIy\naccessKeySecret=s")
        .expect("written");
    assert_eq!(asked().await, 1, "it is not for this one to say");
    std::fs::write(kept.path().join(".aliyun/config.json"), CONFIG.replace("LTAIcli", "LTAIother"))
        .expect("written");
    assert_eq!(asked().await, 2);
    assert_eq!(source.get(NOW).expect("a key").id, "LTAIother");
}

#[tokio::test]
async fn the_vendors_order_has_files_before_the_uri() {
    let (_kept, home) = home(".aliyun/config.json", CONFIG);
    // Nothing listens on this port.
    let variables = [("HOME", home), ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:1/")];
    let got = ask(ProviderSpec::new(ChainConfig::default()), &variables).await;
    assert!(
        matches!(&got, Err(ProvideError::Unavailable(why)) if why.contains("credentials URI")),
        "{got:?}"
    );
    let alibaba = ChainConfig { order: ChainOrder::Alibaba, ..ChainConfig::default() };
    assert_eq!(
        ask(ProviderSpec::new(alibaba), &variables).await.map(|(id, ..)| id),
        Ok("LTAIcli".to_owned())
    );
}
