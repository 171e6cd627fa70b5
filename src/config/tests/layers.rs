//! Precedence: flags override the environment, which overrides the file, which overrides defaults.

use super::{UPSTREAM, World, load_in, mistakes};
use crate::address::UpstreamId;
use crate::config::{ConfigErrors, ConfigFile, FlagSetting, ProxyConfig, SettingLayer};
use crate::credentials::{ChainConfig, NamedSpec, SourceEnv};
use crate::policy::AllowedOperations;
use crate::sign::SignatureVersion;
use crate::telemetry::{LogFormat, LogLevel};
use crate::time::{Clock, Timestamp};

/// An environment.
struct Variables(&'static [(&'static str, &'static str)]);

impl Clock for Variables {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(0)
    }
}

impl SourceEnv for Variables {
    fn variable(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    }
}

fn environment(variables: &'static [(&'static str, &'static str)]) -> SettingLayer {
    SettingLayer::from_environment(&Variables(variables))
}

fn flag(setting: FlagSetting, value: &str) -> SettingLayer {
    SettingLayer::flags().set(setting, Some(value))
}

fn without_file(layers: &[SettingLayer]) -> Result<ProxyConfig, ConfigErrors> {
    ProxyConfig::load(None, layers, &World::default())
}

fn region(config: &ProxyConfig) -> Option<&str> {
    let upstream = config.routing_table.get(UpstreamId(0));
    upstream.region.as_ref().map(|region| region.as_str())
}

#[test]
fn a_region_alone_runs_on_defaults() {
    let config = without_file(&[flag(FlagSetting::Region, "cn-hangzhou")]).expect("a configuration");
    let [listen] = &config.listen[..] else { panic!("one listener") };
    assert_eq!(listen.address.to_string(), "127.0.0.1:8770");
    assert_eq!(
        config.admin.as_ref().map(|admin| admin.address.to_string()).as_deref(),
        Some("127.0.0.1:8771")
    );
    assert_eq!(region(&config), Some("cn-hangzhou"));
    assert!(
        matches!(&config.credentials[..], [NamedSpec { name, spec }] if name == "default" && spec.config::<ChainConfig>().is_some())
    );
    assert!(config.warnings.is_empty());
}

#[test]
fn without_a_region_the_flag_is_named() {
    let shown = mistakes(without_file(&[]));
    assert!(matches!(&shown[..], [one] if one.starts_with("--region: missing region")), "{shown:?}");
}

#[test]
fn flags_stand_over_the_environment_and_that_over_the_file() {
    let world = World::default();
    let variables = || environment(&[("OSS_PROXY_REGION", "us-west-1")]);
    let load = |layers: &[SettingLayer]| load_in(&world, UPSTREAM, layers).expect("a configuration");
    assert_eq!(region(&load(&[SettingLayer::flags()])), Some("cn-hangzhou"));
    assert_eq!(region(&load(&[variables(), SettingLayer::flags()])), Some("us-west-1"));
    let both = [variables(), flag(FlagSetting::Region, "eu-central-1")];
    assert_eq!(region(&load(&both)), Some("eu-central-1"));
}

#[test]
fn every_setting_has_a_variable() {
    let world = World { files: [("ca.pem", ("x", false))].into(), ..World::default() };
    let layer = environment(&[
        ("OSS_PROXY_LISTEN", "0.0.0.0:80"),
        ("OSS_PROXY_UNSAFE_OPEN", "true"),
        ("OSS_PROXY_DOMAIN", "a.example, B.example,"),
        ("OSS_PROXY_READ_ONLY", "1"),
        ("OSS_PROXY_ADMIN_LISTEN", "off"),
        ("OSS_PROXY_REGION", "cn-hangzhou"),
        ("OSS_PROXY_INTERNAL", "true"),
        ("OSS_PROXY_ENDPOINT", "https://oss-cn-hangzhou-internal.aliyuncs.com"),
        ("OSS_PROXY_BUCKET", "photos"),
        ("OSS_PROXY_SIGNATURE", "v1"),
        ("OSS_PROXY_CA_FILE", "ca.pem"),
        ("OSS_PROXY_LOG_LEVEL", "trace"),
        ("OSS_PROXY_LOG_FORMAT", "text"),
    ]);
    let config = ProxyConfig::load(None, &[layer], &world).expect("a configuration");
    let listen = &config.listen[0];
    assert_eq!(listen.address.to_string(), "0.0.0.0:80");
    assert_eq!(listen.domains, ["a.example", "b.example"]);
    assert_eq!(listen.policy.operations, AllowedOperations::ReadOnly);
    assert!(config.admin.is_none());
    let upstream = config.routing_table.get(UpstreamId(0));
    assert_eq!(upstream.endpoint.host.as_str(), "oss-cn-hangzhou-internal.aliyuncs.com");
    assert_eq!(upstream.pin.as_ref().map(|pin| pin.as_str()), Some("photos"));
    assert_eq!(config.upstreams[0].signature, SignatureVersion::V1);
    assert_eq!(config.upstreams[0].ca_file.as_deref(), Some("ca.pem".as_ref()));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Trace, LogFormat::Text));
}

#[test]
fn a_mistake_in_a_variable_or_a_flag_names_it() {
    let variables = environment(&[
        ("OSS_PROXY_REGION", "oss-cn-hangzhou"),
        ("OSS_PROXY_READ_ONLY", "yes"),
        ("OSS_PROXY_ADMIN_LISTEN", "x"),
        ("OSS_PROXY_LOG_LEVEL", "loud"),
    ]);
    let flags = flag(FlagSetting::Listen, "0.0.0.0:80").set(FlagSetting::Domain, Some("ok.example,*"));
    let shown = mistakes(without_file(&[variables, flags]));
    let places: Vec<_> = shown.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(
        places,
        [
            "OSS_PROXY_ADMIN_LISTEN",
            "OSS_PROXY_LOG_LEVEL",
            "OSS_PROXY_READ_ONLY",
            "OSS_PROXY_REGION",
            "--domain",
            "--listen",
        ]
    );
}

#[test]
fn settings_of_different_layers_are_compared() {
    let world = World::default();
    let text = "[upstream]\nendpoint = \"https://oss-cn-hangzhou.aliyuncs.com\"";
    let config = load_in(&world, text, &[flag(FlagSetting::Region, "us-west-1")]).expect("a configuration");
    let shown = &config.warnings[0];
    assert!(
        shown.starts_with("proxy.toml:2: upstream.endpoint: ")
            && shown.contains("signed for region us-west-1, set by --region"),
        "{shown}"
    );
}

#[test]
fn the_listen_flag_replaces_the_address_of_one_listener() {
    let world = World::default();
    let one = format!("{UPSTREAM}[[listen]]\naddress = \"127.0.0.1:80\"\nread_only = true\n");
    let layers = [flag(FlagSetting::Listen, "127.0.0.1:81")];
    let config = load_in(&world, &one, &layers).expect("a configuration");
    assert_eq!(config.listen[0].address.to_string(), "127.0.0.1:81");
    assert_eq!(config.listen[0].policy.operations, AllowedOperations::ReadOnly);
    let two = format!("{one}[[listen]]\naddress = \"127.0.0.1:82\"");
    let shown = mistakes(load_in(&world, &two, &layers));
    assert!(
        matches!(&shown[..], [one] if one.starts_with("--listen: the file has 2 listeners")),
        "{shown:?}"
    );
    let wrong = format!("{two}\ncolour = 1\n[admin]\naddress = \"x\"");
    assert_eq!(mistakes(load_in(&world, &wrong, &layers)).len(), 3);
}

#[test]
fn other_flags_of_listeners_hold_for_each() {
    let text =
        format!("{UPSTREAM}[[listen]]\n[[listen]]\naddress = \"127.0.0.1:82\"\ndomains = [\"x.example\"]");
    let layers = [flag(FlagSetting::ReadOnly, "true")
        .set(FlagSetting::Domain, Some("a.example"))
        .set(FlagSetting::Domain, Some("b.example"))];
    let config = load_in(&World::default(), &text, &layers).expect("a configuration");
    for listen in &config.listen {
        assert_eq!(listen.policy.operations, AllowedOperations::ReadOnly);
        assert_eq!(listen.domains, ["a.example", "b.example"]);
    }
}

#[test]
fn flags_say_nothing_about_routes() {
    let text = format!("{UPSTREAM}[[route]]\nmatch.host = \"f.example\"\nregion = \"us-west-1\"");
    let layers = [flag(FlagSetting::Bucket, "photos")];
    let config = load_in(&World::default(), &text, &layers).expect("a configuration");
    assert_eq!(config.routing_table.get(UpstreamId(1)).pin, None);
}

#[test]
fn a_proxy_that_is_alone_has_one_plain_listener_whatever_the_file_says_of_listeners() {
    let text = format!(
        "{UPSTREAM}[admin]\naddress = \"0.0.0.0:1\"\ntoken = \"env:NONE\"\n[[listen]]\naddress = \"0.0.0.0:2\"\nread_only = 3\n\
         [[listen]]\ntls = {{ cert_file = \"/none\" }}\n"
    );
    let config =
        load_in(&World::default(), &text, &[SettingLayer::flags().alone()]).expect("a configuration");
    let [listen] = &config.listen[..] else { panic!("one listener") };
    assert_eq!(listen.address.to_string(), "127.0.0.1:0");
    assert!(listen.tls.is_none() && config.admin.is_none());
    let flags = flag(FlagSetting::ReadOnly, "true").alone();
    let config = load_in(&World::default(), &text, &[flags]).expect("a configuration");
    assert_eq!(config.listen[0].policy.operations, AllowedOperations::ReadOnly);
    let mistake =
        load_in(&World::default(), "[upstream]\nregoin = \"x\"\n", &[SettingLayer::flags().alone()]);
    assert!(mistakes(mistake).iter().any(|mistake| mistake.contains("regoin")));
}

#[test]
fn where_health_is_asked_is_read_without_the_rest() {
    let admin = |text: &str, layers: &[SettingLayer]| {
        let file = Some(ConfigFile { path: std::path::Path::new("proxy.toml"), text });
        let admin = ProxyConfig::admin(file, layers, &World::default()).map_err(|errors| errors.to_string());
        admin.map(|admin| admin.map(|admin| admin.address.to_string()))
    };
    assert_eq!(admin("", &[]), Ok(Some("127.0.0.1:8771".to_owned())));
    assert_eq!(admin("[limits]\nbodyy = 1\n[admin]\naddress = \"off\"\n", &[]), Ok(None));
    let flag = flag(FlagSetting::AdminListen, "unix:/run/admin");
    assert_eq!(admin("[admin]\naddress = \"off\"\n", &[flag]), Ok(Some("unix:/run/admin".to_owned())));
    assert!(admin("[admin]\naddres = \"off\"\n", &[]).is_err_and(|errors| errors.contains("addres")));
    assert!(admin("[admin", &[]).is_err());
}

#[test]
fn an_endpoint_overrides_what_a_lower_layer_says_of_internal() {
    const PUBLIC: &str = "https://oss-cn-hangzhou.aliyuncs.com";
    let file = "[upstream]\nregion = \"cn-hangzhou\"\ninternal = true\n";
    let of_environment = || environment(&[("OSS_PROXY_ENDPOINT", PUBLIC)]);
    let internal_variable = || environment(&[("OSS_PROXY_INTERNAL", "true")]);
    let rows = [
        vec![flag(FlagSetting::Endpoint, PUBLIC)],
        vec![of_environment()],
        vec![internal_variable(), flag(FlagSetting::Endpoint, PUBLIC)],
    ];
    for layers in rows {
        let config = load_in(&World::default(), file, &layers).unwrap_or_else(|errors| panic!("{errors}"));
        let endpoint = &config.routing_table.get(UpstreamId(0)).endpoint;
        assert_eq!(endpoint.host.as_str(), "oss-cn-hangzhou.aliyuncs.com");
    }
    let both = [flag(FlagSetting::Internal, "true"), of_environment()];
    assert!(load_in(&World::default(), file, &both).is_err(), "the flag goes before the variable");
}
